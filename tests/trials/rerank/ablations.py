"""Ablations of the reranker: the test queries with other searches and with masked evidence.

Candidates come from the real search flow with all exclusions; evidence is masked afterwards. The
choice is the refined position with most of the scores' mass within the radius, before any
calibration. So arms differ only in their input.

Letters: N queries, K candidates, B queries in a batch, R radii.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinpoint import bootstrap
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
from pinpoint.geo.distance import pairwise_m
from pinpoint.geo.points import lat_lon
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.reranker.bundle_reranker import load_reranker
from pinpoint.nets.reranker.inputs import offset_positions
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.ports import VectorIndex
from pinpoint.records import DEFAULT_ORGANIZATION, Hit, IndexQuery, SearchFilter
from pinpoint.training.reranker.examples import (
    ExampleGallery,
    Examples,
    TrainingQuery,
    cache_examples,
    split_table,
)
from pinpoint.training.reranker.objective import collate
from trials.rerank.bench_run import ALONE, KINDS, RERANKED, BenchRun, say

NONE, SAME, OTHER, BOTH = EVIDENCE = ("none", "same kind", "other kind", "both")
"""Evidence of the query's kind, of the other kind, of both."""
BEST, VOTE, ORACLE, BY_THEMSELVES = "best image", "vote", "oracle", "candidates alone"
RADII_KM = (1.0, 25.0)
_AT_ONCE, _TELL = 32, 20


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of a search."""

    name: str
    candidates: int
    kind: str | None = None
    """The only kind of candidates; evidence has both kinds in any case."""
    evidence: Sequence[str] = (BOTH,)


FULL = Search(name="both", candidates=48, evidence=EVIDENCE)
SEARCHES = (
    FULL,
    Search(name="both-12", candidates=12),
    *(Search(name=kind, candidates=48, kind=kind, evidence=EVIDENCE) for kind in KINDS),
)


class OneKind:
    """An index that returns hits of one kind only."""

    def __init__(self, index: VectorIndex, kind: str) -> None:
        self._index, self._kind = index, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        wanted = [each.filter.source_kinds == (self._kind,) for each in queries]
        answers = iter(
            self._index.search([each for each, own in zip(queries, wanted, strict=True) if own])
        )
        return [next(answers) if own else [] for own in wanted]


def run_searches(bench: BenchRun) -> dict[str, int]:
    """Run all searches and save the choices of their arms; returns the queries of each search."""
    learners = ablation_queries(bench)
    services = bootstrap.build_services(bench.settings, "api")
    try:
        for search in SEARCHES:
            path = picks_file(bench, search)
            if not path.is_file():
                examples = _examples(bench, search, learners, services)
                if examples.rejected:
                    raise RuntimeError(f"images that cannot be read: {examples.rejected}")
                _keep(path, picks(bench, search, examples))
    finally:
        services.close()
    return {search.name: len(learners) for search in SEARCHES}


def picks_file(bench: BenchRun, search: Search) -> Path:
    """File with the choices of the arms of a search."""
    return bench.ablations / f"{search.name}.npz"


def ablation_queries(bench: BenchRun) -> list[TrainingQuery]:
    """The ablation queries of the role `test`, in the order of the labels."""
    queries = bench.planet / "queries"
    labeled = read_labels(PROTOCOLS["synthetic"], queries / "labels.csv")
    own = [each for each in labeled.queries if each.strata["role"] == "test"]
    kept = some([each.query_kind or "" for each in own], bench.of_each)
    return [TrainingQuery(query=own[row], images=queries / "images") for row in kept]


def some(kinds: Sequence[str], of_each: int | None) -> list[int]:
    """Rows of at most `of_each` queries of each kind, evenly spaced, in order."""
    kept: list[int] = []
    for kind in KINDS:
        rows = [row for row, own in enumerate(kinds) if own == kind]
        few = len(rows) if of_each is None else min(of_each, len(rows))
        kept += [rows[number * len(rows) // few] for number in range(few)]
    return sorted(kept)


def _examples(
    bench: BenchRun, search: Search, learners: list[TrainingQuery], services: bootstrap.Services
) -> Examples:
    """The example rows of each query."""
    organization_id = services.api_keys.caller_for(DEFAULT_ORGANIZATION).organization_id
    with services.database.read(organization_id) as catalog:
        source_ids = tuple(catalog.source(f"test-{kind}").id for kind in KINDS)
    part = read_bundle(bench.bundle(RERANKED)).contract.reranker
    index = services.index if search.kind is None else OneKind(services.index, search.kind)
    settings = services.settings.search.model_copy(update={"candidates": search.candidates})
    gallery = ExampleGallery(
        config=RunConfig(
            organization_id=organization_id,
            images=Path(),
            search_filter=SearchFilter(source_ids=source_ids),
        ),
        components=EvaluationComponents(
            decoder=services.decoder,
            encoder=services.encoder,
            index=index,
            database=services.database,
            search=settings,
            max_bytes=services.settings.media.max_bytes,
        ),
        evidence_radius_m=part.evidence_radius_m,
        evidence_per_kind=part.evidence_per_kind,
        balanced=False,
        concurrency=bench.concurrency,
    )
    folder = bench.ablations / f"examples-{search.name}"
    told = _telling(f"ablation {search.name}")
    return cache_examples(folder, learners, split_table(learners, 3), gallery, told)


def picks(bench: BenchRun, search: Search, examples: Examples) -> dict[str, np.ndarray]:
    """Positions by arm, `[N, 2]` or, for each radius, `[N, R, 2]`; and the ground truth."""
    nets = {name: load_reranker(read_bundle(bench.bundle(name))) for name in (RERANKED, ALONE)}
    positions = {"ground_truth": np.array(examples.rows["ground_truth"])}
    positions |= _unlearned(examples)
    for evidence in search.evidence:
        positions[evidence] = _chosen(nets[RERANKED], examples, evidence)
        say(f"ablation {search.name}: judged with evidence {evidence}")
    if search is FULL:
        positions[BY_THEMSELVES] = _chosen(nets[ALONE], examples, BOTH)
    return positions


def _unlearned(examples: Examples) -> dict[str, np.ndarray]:
    """Arms without weights; candidates are in order of similarity."""
    positions = {name: np.empty((len(examples.rows), 2)) for name in (BEST, VOTE, ORACLE)}
    for start in range(0, len(examples.rows), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(examples.rows)))
        shown, row_numbers = collate(examples, rows), np.arange(len(rows))
        place = shown.inputs.position.numpy()
        away_km = np.where(shown.inputs.present.numpy(), shown.distance_km(), np.inf)
        voted = np.maximum(examples.rows[rows]["vote_choice"], 0)
        for name, pick in ((BEST, 0), (VOTE, voted), (ORACLE, away_km.argmin(1))):
            positions[name][rows] = place[row_numbers, pick]
    return positions


@torch.inference_mode()
def _chosen(net: RerankerNetwork, examples: Examples, evidence: str) -> np.ndarray:
    """Refined positions with the most mass within each radius, `[N, R, 2]`."""
    positions = np.empty((len(examples.rows), len(RADII_KM), 2))
    for start in range(0, len(positions), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(positions)))
        given = collate(examples, rows).inputs
        own = given.evidence_kind == given.query_kind[:, None, None]
        every = torch.ones_like(own)
        kept = {NONE: ~every, SAME: own, OTHER: ~own, BOTH: every}[evidence]
        said = net(replace(given, evidence_present=given.evidence_present & kept))
        mass, offset_km = said.logits.double().softmax(1).numpy(), said.offset_km.double().numpy()
        for row, at, own_mass, way in zip(
            rows, given.position.numpy(), mass, offset_km, strict=True
        ):
            places = lat_lon(offset_positions(at, way))
            away_km = pairwise_m(places, places) / 1_000.0
            held = [(away_km <= km) @ own_mass for km in RADII_KM]
            positions[row] = places[np.argmax(held, axis=1)]
    return positions


def _keep(path: Path, positions: dict[str, np.ndarray]) -> None:
    part = path.with_suffix(".part.npz")
    np.savez(part, **positions)
    part.replace(path)


def _telling(what: str) -> Callable[[int, int], None]:
    """A progress callback that prints from time to time."""
    told = [0]

    def moved_on(done: int, total: int) -> None:
        if done * _TELL >= (told[0] + 1) * total or done == total:
            told[0] = done * _TELL // max(1, total)
            say(f"{what}: {done} of {total} queries asked")

    return moved_on
