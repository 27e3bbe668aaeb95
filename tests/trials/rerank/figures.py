"""The figures of the tables, from the files of the evaluations and ablations.

Letters: N queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pinpoint.evaluation.metrics import calibration_metrics, summary
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.run.results import read_results
from pinpoint.evaluation.run.rows import EXCLUDED
from pinpoint.metrics.abstention import abstention_auroc
from pinpoint.metrics.conventions import CONVENTIONS, distances_km
from pinpoint.metrics.geolocation import within
from pinpoint.metrics.intervals import Interval, bootstrap, cluster_codes, paired_bootstrap, ratio
from pinpoint.synthetic.capture_patterns import generate_shots
from pinpoint.synthetic.presets import PRESETS
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.shot_rendering import scene_appearance
from trials.rerank.ablations import RADII_KM, SEARCHES, ablation_queries, picks_file
from trials.rerank.bench_run import KINDS, BenchRun
from trials.rerank.radius_answers import answers_within

CONVENTION = CONVENTIONS["pinpoint"]
CITY_KM = 25.0
EVERYTHING = "all"


@dataclass(frozen=True, kw_only=True)
class Run:
    """An evaluation's answers with all exclusions, `[N]` each."""

    of: ArmMetrics
    files: list[str]
    ground_truth: np.ndarray
    """`[N, 2]`."""
    role: np.ndarray
    kind: np.ndarray

    def hits(self, km: float, depth: int | None = None) -> np.ndarray:
        return summary.hits(self.of, km, depth)

    @property
    def deepest(self) -> int:
        return max(self.of.best_km)


@cache
def read_run(bench: BenchRun, name: str) -> Run:
    """A finished evaluation; cached, because its geodesics take half a minute."""
    arm = read_results(bench.run(name))[EXCLUDED]
    if not arm.readable.all():
        raise RuntimeError(f"{name}: {int((~arm.readable).sum())} images could not be read")
    of = summary.compute_metrics(arm, CONVENTION, summary.recall_depths(arm.candidates.shape[1]))
    return Run(
        of=of,
        files=list(arm.files),
        ground_truth=arm.ground_truth,
        role=np.array([own["role"] for own in of.strata]),
        kind=np.array([own["kind"] for own in of.strata]),
    )


@cache
def read_decided(bench: BenchRun, name: str, km: float) -> Run:
    """The run with answers chosen for accuracy within a radius."""
    run = read_run(bench, name)
    answers = answers_within(bench, name, km)
    return replace(
        run, of=replace(run.of, error_km=distances_km(run.ground_truth, answers, CONVENTION))
    )


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The share of the gap from the best image to the oracle that each ranker closes."""

    num_queries: int
    num_creators: int
    top1: Interval
    vote: Interval
    rerank: Interval
    oracle: Interval
    closed_by_vote: Interval
    closed: Interval
    ahead: Interval
    """Reranker minus vote, as a share of the same gap."""
    gained: Interval
    """Reranker minus best image, in points."""


def gap(vote: Run, rerank: Run, rows: np.ndarray, km: float) -> Gap:
    """The gap over some queries of two runs with the same queries."""
    if vote.files != rerank.files:
        raise RuntimeError("the runs of both rankers were asked different queries")
    codes = rerank.of.clusters[rows]
    top1, oracle = (rerank.hits(km, depth)[rows] for depth in (1, rerank.deepest))
    voted, ranked = (each.hits(km)[rows] for each in (vote, rerank))
    how: dict[str, Any] = {"seed": summary.BOOTSTRAP_SEED, "resamples": summary.RESAMPLES}
    means = {
        name: bootstrap(hit, codes, **how)
        for name, hit in (("top1", top1), ("vote", voted), ("rerank", ranked), ("oracle", oracle))
    }
    return Gap(
        num_queries=len(codes),
        num_creators=len(np.unique(codes)),
        closed_by_vote=ratio(voted - top1, oracle - top1, codes, **how),
        closed=ratio(ranked - top1, oracle - top1, codes, **how),
        ahead=ratio(ranked - voted, oracle - top1, codes, **how),
        gained=bootstrap(ranked - top1, codes, **how),
        **means,
    )


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Errors of each arm of each search, and kind and creator of the queries, `[N]` each."""

    off_km: dict[tuple[str, str], np.ndarray]
    """By search and arm, `[N, R]` if each radius has its own choice, else `[N, 1]`."""
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
            seed=summary.BOOTSTRAP_SEED,
            resamples=summary.RESAMPLES,
        )

    def minus(
        self, one: tuple[str, str], other: tuple[str, str], kind: str, km: float = CITY_KM
    ) -> Interval:
        """Difference of two searches and arms on the same queries, in shares."""
        rows = self.kind == kind
        first, second = (self.hits(*each, km)[rows] for each in (one, other))
        compared = paired_bootstrap(
            first,
            second,
            self.clusters[rows],
            seed=summary.BOOTSTRAP_SEED,
            resamples=summary.RESAMPLES,
        )
        return compared.difference


def read_ablation(bench: BenchRun) -> Ablation:
    """Read the ablation of all searches, which have the same queries."""
    queries = [each.query for each in ablation_queries(bench)]
    ground_truth = np.array([(one.ground_truth.lat, one.ground_truth.lon) for one in queries])
    off_km = {}
    for search in SEARCHES:
        with np.load(picks_file(bench, search)) as saved:
            if not np.array_equal(saved["ground_truth"], ground_truth):
                raise RuntimeError(f"{search.name} was asked other queries")
            for arm in saved.files:
                places = saved[arm].reshape(len(ground_truth), -1, 2)
                off_km[search.name, arm] = distances_km(ground_truth[:, None], places, CONVENTION)
    return Ablation(
        off_km=off_km,
        kind=np.array([one.query_kind for one in queries]),
        clusters=cluster_codes([one.creator for one in queries]),
    )


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """Stated probabilities and areas of some queries, compared with the ground truth."""

    num_queries: int
    num_creators: int
    debiased_ece: float
    """Calibration error of the stated probability to be within 25 km."""
    held: dict[str, Interval]
    """Share of areas that contain the ground truth, by their stated probability."""


def calibration_figures(run: Run) -> dict[str, CalibrationFigures]:
    """Figures of queries in the gallery, for all and by stratum of the calibration."""
    own = run.role == "test"
    rows_by_name = {EVERYTHING: own} | {kind: own & (run.kind == kind) for kind in KINDS}
    for value in summary.stratum_values(run.of).get("calibration", []):
        rows_by_name[value] = own & summary.stratum_mask(run.of, "calibration", value)
    return {
        name: _calibration_figures(run.of, rows)
        for name, rows in rows_by_name.items()
        if rows.any()
    }


def _calibration_figures(of: ArmMetrics, rows: np.ndarray) -> CalibrationFigures:
    how: dict[str, Any] = {"seed": summary.BOOTSTRAP_SEED, "resamples": summary.RESAMPLES}
    stated = calibration_metrics.reliability_metrics(of, CITY_KM, rows)
    if stated is None or not of.credible_region_covers:
        raise RuntimeError("the answers state no probabilities: is there a calibration?")
    return CalibrationFigures(
        num_queries=int(rows.sum()),
        num_creators=len(np.unique(of.clusters[rows])),
        debiased_ece=stated["debiased_ece"],
        held={
            share: bootstrap(held[rows], of.clusters[rows], **how)
            for share, held in of.credible_region_covers.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class AbstentionFigures:
    """How well the ranker detects queries that the gallery does not cover."""

    not_in_gallery: int
    informative: int
    """Number of queries in the gallery whose image shows the location."""
    auroc: float
    auroc_all: float
    """AUROC against all queries in the gallery, including those that show nothing."""
    withheld: dict[str, tuple[float, int]]
    """Share of withheld answers and number of queries, by case."""


def abstention_figures(run: Run, shows: np.ndarray) -> dict[str, AbstentionFigures]:
    """Figures by query kind, and for all queries."""
    groups = {EVERYTHING: np.ones(len(run.role), bool)} | {k: run.kind == k for k in KINDS}
    return {name: _abstention_figures(run, shows, rows) for name, rows in groups.items()}


def _abstention_figures(run: Run, shows: np.ndarray, rows: np.ndarray) -> AbstentionFigures:
    null, covered = rows & (run.role == "null-test"), rows & (run.role == "test")
    informative = covered & shows
    reached = run.hits(CITY_KM, run.deepest) > 0
    cases = {
        "not in gallery": null,
        "not in gallery, informative": null & shows,
        "in gallery, informative": informative,
        "… retrieved": informative & reached,
        "… not retrieved": informative & ~reached,
        "in gallery, shows nothing": covered & ~shows,
    }
    no_match_probability, withheld = run.of.p_not_in_gallery, run.of.withheld

    def auroc(in_gallery: np.ndarray) -> float:
        both = null | in_gallery
        return abstention_auroc(no_match_probability[both], null[both])

    return AbstentionFigures(
        not_in_gallery=int(null.sum()),
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
    """Files of the queries that show their location, from the planet's generator."""
    wanted, files = PRESETS[preset], set()
    for site in choose_sites(seed, wanted):
        own = generate_shots(seed, site, wanted.towns[site.role], wanted.habits)
        queries = [shot for shot in own if shot.use == "query"]
        if queries:
            # A subject of this size fills the image (`synthetic.appearance`).
            radius = scene_appearance(seed, queries, wanted).subject_shape[:, 2]
            shown = [shot for shot, size in zip(queries, radius, strict=True) if size < 3.0]
            files |= {f"{site.role}/{shot.file}" for shot in shown}
    return frozenset(files)
