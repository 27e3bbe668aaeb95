"""The figures behind the tables, from what the evaluations and ablations left on disk.

Letters: N questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pinpoint.evaluation.metrics import arm_measures, calibration_metrics
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.run.results import read_results
from pinpoint.evaluation.run.rows import EXCLUDED
from pinpoint.metrics.abstention import abstention_auroc
from pinpoint.metrics.conventions import CONVENTIONS, distances_km
from pinpoint.metrics.geolocation import within
from pinpoint.metrics.intervals import Interval, bootstrap, cluster_codes, paired_bootstrap, ratio
from pinpoint.synthetic.capture_patterns import generate_shots
from pinpoint.synthetic.pictures import scene_appearance
from pinpoint.synthetic.presets import PRESETS
from pinpoint.synthetic.regions import choose_sites
from trials.rerank.ablations import RADII_KM, SEARCHES, picks_file, questions
from trials.rerank.bench_run import KINDS, BenchRun
from trials.rerank.radius_answers import answers_within

CONVENTION = CONVENTIONS["pinpoint"]
CITY_KM = 25.0
EVERYTHING = "all"


@dataclass(frozen=True, kw_only=True)
class Run:
    """An evaluation's answers without what knows the photo, `[N]` each."""

    of: ArmMetrics
    files: list[str]
    truth: np.ndarray
    """`[N, 2]`."""
    role: np.ndarray
    kind: np.ndarray

    def hits(self, km: float, depth: int | None = None) -> np.ndarray:
        return arm_measures.hits(self.of, km, depth)

    @property
    def deepest(self) -> int:
        return max(self.of.best_km)


@cache
def read_run(bench: BenchRun, name: str) -> Run:
    """An evaluation that is finished; its geodesics take half a minute, so they are kept."""
    arm = read_results(bench.run(name))[EXCLUDED]
    if not arm.read.all():
        raise RuntimeError(f"{name}: {int((~arm.read).sum())} pictures could not be read")
    of = arm_measures.compute_metrics(
        arm, CONVENTION, arm_measures.recall_depths(arm.candidates.shape[1])
    )
    return Run(
        of=of,
        files=list(arm.files),
        truth=arm.ground_truth,
        role=np.array([own["role"] for own in of.strata]),
        kind=np.array([own["kind"] for own in of.strata]),
    )


@cache
def read_decided(bench: BenchRun, name: str, km: float) -> Run:
    """The same, had its answers been chosen for accuracy within a radius."""
    run = read_run(bench, name)
    answers = answers_within(bench, name, km)
    return replace(run, of=replace(run.of, error_km=distances_km(run.truth, answers, CONVENTION)))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far from the best picture to the oracle each ranker goes."""

    questions: int
    authors: int
    top1: Interval
    vote: Interval
    rerank: Interval
    oracle: Interval
    closed_by_vote: Interval
    closed: Interval
    ahead: Interval
    """Of the reranker beyond the vote, as a share of the same gap."""
    gained: Interval
    """Points of the reranker beyond the best picture."""


def gap(vote: Run, rerank: Run, rows: np.ndarray, km: float) -> Gap:
    """Of some of the questions, which are those of both runs."""
    if vote.files != rerank.files:
        raise RuntimeError("the runs of both rankers were asked different questions")
    codes = rerank.of.clusters[rows]
    top1, oracle = (rerank.hits(km, depth)[rows] for depth in (1, rerank.deepest))
    voted, ranked = (each.hits(km)[rows] for each in (vote, rerank))
    how: dict[str, Any] = {"seed": arm_measures.BOOTSTRAP_SEED, "resamples": arm_measures.RESAMPLES}
    means = {
        name: bootstrap(hit, codes, **how)
        for name, hit in (("top1", top1), ("vote", voted), ("rerank", ranked), ("oracle", oracle))
    }
    return Gap(
        questions=len(codes),
        authors=len(np.unique(codes)),
        closed_by_vote=ratio(voted - top1, oracle - top1, codes, **how),
        closed=ratio(ranked - top1, oracle - top1, codes, **how),
        ahead=ratio(ranked - voted, oracle - top1, codes, **how),
        gained=bootstrap(ranked - top1, codes, **how),
        **means,
    )


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """How far off each arm of each search was, and whose question it was, `[N]` each."""

    off_km: dict[tuple[str, str], np.ndarray]
    """By name of search and arm, `[N, R]` where each radius has its own choice, else `[N, 1]`."""
    kind: np.ndarray
    clusters: np.ndarray

    def hits(self, search: str, arm: str, km: float) -> np.ndarray:
        off_km = self.off_km[search, arm]
        own = off_km[:, RADII_KM.index(km) if off_km.shape[1] > 1 else 0]
        return within(own, km, CONVENTION).astype(np.float64)

    def share(self, search: str, arm: str, kind: str, km: float) -> Interval:
        rows = self.kind == kind
        hit = self.hits(search, arm, km)[rows]
        return bootstrap(
            hit,
            self.clusters[rows],
            seed=arm_measures.BOOTSTRAP_SEED,
            resamples=arm_measures.RESAMPLES,
        )

    def less(
        self, one: tuple[str, str], other: tuple[str, str], kind: str, km: float = CITY_KM
    ) -> Interval:
        """One search and arm less another on the same questions, in shares."""
        rows = self.kind == kind
        pair = (self.hits(*each, km)[rows] for each in (one, other))
        how: dict[str, Any] = {
            "seed": arm_measures.BOOTSTRAP_SEED,
            "resamples": arm_measures.RESAMPLES,
        }
        return paired_bootstrap(*pair, self.clusters[rows], **how).difference


def read_ablation(bench: BenchRun) -> Ablation:
    """All searches, whose questions are the same."""
    asked = [each.query for each in questions(bench)]
    truth = np.array([(one.ground_truth.lat, one.ground_truth.lon) for one in asked])
    off_km = {}
    for search in SEARCHES:
        with np.load(picks_file(bench, search)) as found:
            if not np.array_equal(found["truth"], truth):
                raise RuntimeError(f"{search.name} was asked other questions")
            for arm in found.files:
                places = found[arm].reshape(len(truth), -1, 2)
                off_km[search.name, arm] = distances_km(truth[:, None], places, CONVENTION)
    return Ablation(
        off_km=off_km,
        kind=np.array([one.query_kind for one in asked]),
        clusters=cluster_codes([one.creator for one in asked]),
    )


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What was stated of some questions, against what is true."""

    questions: int
    authors: int
    debiased_ece: float
    """Of the stated probability to be within 25 km."""
    held: dict[str, Interval]
    """How often the areas hold the truth, by their share."""


def kept_promises(run: Run) -> dict[str, Promise]:
    """Of supported questions, all of them and by stratum of the calibration."""
    own = run.role == "test"
    found = {EVERYTHING: own} | {kind: own & (run.kind == kind) for kind in KINDS}
    for value in arm_measures.stratum_values(run.of).get("calibration", []):
        found[value] = own & arm_measures.stratum_mask(run.of, "calibration", value)
    return {name: _promise(run.of, rows) for name, rows in found.items() if rows.any()}


def _promise(of: ArmMetrics, rows: np.ndarray) -> Promise:
    how: dict[str, Any] = {"seed": arm_measures.BOOTSTRAP_SEED, "resamples": arm_measures.RESAMPLES}
    stated = calibration_metrics.reliability_metrics(of, CITY_KM, rows)
    if stated is None or not of.credible_region_covers:
        raise RuntimeError("the answers state no probabilities: is there a calibration?")
    return Promise(
        questions=int(rows.sum()),
        authors=len(np.unique(of.clusters[rows])),
        debiased_ece=stated["debiased_ece"],
        held={
            share: bootstrap(held[rows], of.clusters[rows], **how)
            for share, held in of.credible_region_covers.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Whether the ranker knows what the gallery does not cover."""

    unsupported: int
    informative: int
    """Supported questions whose picture shows the place."""
    auroc: float
    auroc_all: float
    """Against all supported questions, those that show nothing among them."""
    withheld: dict[str, tuple[float, int]]
    """Share whose answer is withheld, and of how many, by case."""


def doubts(run: Run, shows: np.ndarray) -> dict[str, Doubt]:
    """By kind of the question, and of all."""
    groups = {EVERYTHING: np.ones(len(run.role), bool)} | {k: run.kind == k for k in KINDS}
    return {name: _doubt(run, shows, rows) for name, rows in groups.items()}


def _doubt(run: Run, shows: np.ndarray, rows: np.ndarray) -> Doubt:
    null, covered = rows & (run.role == "null-test"), rows & (run.role == "test")
    informative = covered & shows
    reached = run.hits(CITY_KM, run.deepest) > 0
    cases = {
        "unsupported": null,
        "unsupported, informative": null & shows,
        "supported, informative": informative,
        "… found": informative & reached,
        "… missed by the index": informative & ~reached,
        "supported, shows nothing": covered & ~shows,
    }
    doubt, withheld = run.of.p_not_in_gallery, run.of.withheld

    def auroc(supported: np.ndarray) -> float:
        both = null | supported
        return abstention_auroc(doubt[both], null[both])

    return Doubt(
        unsupported=int(null.sum()),
        informative=int(informative.sum()),
        auroc=auroc(informative),
        auroc_all=auroc(covered),
        withheld={
            name: (float(withheld[own].mean()) if own.any() else float("nan"), int(own.sum()))
            for name, own in cases.items()
        },
    )


@cache
def showing(preset: str, seed: int) -> frozenset[str]:
    """Files of the queries that show their place, as the planet knows and no label says."""
    wanted, found = PRESETS[preset], set()
    for site in choose_sites(seed, wanted):
        own = generate_shots(seed, site, wanted.towns[site.role], wanted.habits)
        asked = [shot for shot in own if shot.use == "query"]
        if asked:
            # A subject of this size fills the picture (`world.looks`).
            radius = scene_appearance(seed, asked, wanted).subject_shape[:, 2]
            shown = [shot for shot, size in zip(asked, radius, strict=True) if size < 3.0]
            found |= {f"{site.role}/{shot.file}" for shot in shown}
    return frozenset(found)
