"""Locate of an encoded query against its parts called directly, alternating in one run."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

import numpy as np

from bench import gallery as seeded
from bench.baseline import Baseline
from bench.baseline_reranked import open_baseline
from bench.files import files, tower
from bench.stack import Say, Stack, Tower, measure_mib, stack
from pinpoint.bootstrap import Services, build_services
from pinpoint.ports import Reranker
from pinpoint.records import GPS_CHANNEL, Answer, IndexFilter, SearchFilter
from pinpoint.search.context import SearchContext
from pinpoint.search.pipeline import locate_encoded
from pinpoint.store.vectors import strategy

WARM_UP = 30
TARGET_RATIO = 1.5
TARGET_P50_MS = 60.0
PERCENTILES = (50, 95, 99)
OWNERS = (*seeded.ORGANIZATIONS, seeded.DENSE)
_DENSE, _DENSE_SHARE = 5_000, 20
"""Images in the crowded square, but never more than one in so many."""
_PHOTOS = 64


@dataclass(frozen=True)
class Prepared:
    """Both sides over one gallery, ready for queries."""

    stack: Stack
    rows: int
    vectors: tuple[np.ndarray, ...]
    """Query vectors `[Q, D]` of each of `OWNERS`."""
    photos: list[bytes]
    services: Services
    """The API's, in this process."""
    baseline: Baseline
    empty_mib: dict[str, float]
    """Memory and disk of the stack before it had the gallery, MiB."""


@contextmanager
def prepared(images: int, num_queries: int, say: Say, bundle: Tower = tower) -> Iterator[Prepared]:
    """A stack with a gallery of this size and its index, and a copy for the baseline."""
    with stack(bundle) as running:
        running.stop_background()
        services = build_services(running.settings, "api")
        contract = services.encoder.contract
        # Rebuild the empty index first: what the owner loads for it is not part of a gallery.
        running.rebuild(lambda _: None)
        empty_mib = measure_mib(running)
        vectors = _fill(running, services, images, num_queries, say)
        begun = perf_counter()
        running.rebuild(say)
        info = running.index.info()
        say(
            f"index: {info.points} points of {contract.dims['image']} values, "
            f"{info.indexed_vectors} in the graph, in {perf_counter() - begun:.0f} s"
        )
        copy = running.paths.home / "bare"
        shutil.copytree(running.paths.index_dir / "builds" / str(info.build), copy)
        baseline = open_baseline(copy / "shard", running.paths.owner_url(), services.encoder)
        paths, _ = files(running.paths.home / "files", _PHOTOS)
        try:
            photos = [path.read_bytes() for path in paths]
            yield Prepared(running, images, vectors, photos, services, baseline, empty_mib)
        finally:
            baseline.close()
            services.close()


def _fill(
    running: Stack, services: Services, images: int, num_queries: int, say: Say
) -> tuple[np.ndarray, ...]:
    """Write rows to PostgreSQL; of the vectors only the queries stay in memory."""
    begun, contract = perf_counter(), services.encoder.contract
    dense = min(_DENSE, images // _DENSE_SHARE)
    gallery = seeded.make(images - dense, contract.dims["image"], dense)
    say(f"gallery: {len(gallery.ids)} rows, positions from {gallery.positions_from}")
    gps_vectors = None
    if GPS_CHANNEL in contract.dims:
        gps_vectors = services.encoder.encode_positions(gallery.positions).astype(np.float16)
    seeded.fill(gallery, running.paths.owner_url(), contract.digest, say, gps_vectors)
    say(f"postgresql: filled after {perf_counter() - begun:.0f} s")
    return tuple(gallery.queries(WARM_UP + num_queries, number) for number in range(len(OWNERS)))


def measure(ready: Prepared, num_queries: int, organization: int = 0) -> dict[str, object]:
    """Measure both sides with the same queries, alternating which side is first."""
    owner = OWNERS[organization]
    exact = is_exact_search(ready, owner)
    vectors = ready.vectors[organization][: WARM_UP + num_queries]
    sides: dict[str, list[dict[str, float]]] = {"pinpoint": [], "bare": []}
    same = evidence = 0
    gc.collect()
    for number, vector in enumerate(vectors):
        best = {}
        for side in ("pinpoint", "bare") if number % 2 else ("bare", "pinpoint"):
            begun = perf_counter()
            if side == "bare":
                answer = ready.baseline.locate(vector, owner, exact)
                best[side], stages = answer.best, answer.took_ms
                evidence += answer.evidence
            else:
                located = ask(ready, vector, owner)
                best[side] = located.ranked[0].candidate.id
                stages = {k: v for k, v in located.timings_ms.items() if k != "total"}
            total = (perf_counter() - begun) * 1e3
            if number >= WARM_UP:
                rest = total - sum(stages.values())
                sides[side].append({**stages, "between": rest, "total": total})
        same += best["bare"] == best["pinpoint"]
    return {
        "rows": ready.rows,
        "search": "exact" if exact else "graph",
        "questions": num_queries,
        "evidence_rows": round(evidence / len(vectors), 1),
        "same_best": round(same / len(vectors), 3),
        **compare_sides(sides),
    }


def is_exact_search(ready: Prepared, owner: UUID) -> bool:
    """Whether the product compares all images of this organization."""
    num_images = ready.stack.index.count(IndexFilter(organization_id=owner))
    return strategy.choose_by_matches(num_images) == "exact"


def ask(ready: Prepared, vector: np.ndarray, owner: UUID) -> Answer:
    """Locate one query by the real flow: owner's socket, API's role, views."""
    return locate_encoded(
        vector,
        SearchFilter(),
        context_of(ready.services, owner, reranker=ready.services.encoder.reranker),
        kind="photo",
    )


def context_of(services: Services, owner: UUID, reranker: Reranker | None = None) -> SearchContext:
    """Context of one query in the product's search flow."""
    return SearchContext(
        organization_id=owner,
        decoder=services.decoder,
        encoder=services.encoder,
        index=services.index,
        database=services.database,
        settings=services.settings.search,
        reranker=reranker,
    )


def compare_sides(sides: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Percentiles of the total, median and share of each stage, and the ratio of both sides."""
    figures: dict[str, object] = {}
    for side, samples in sides.items():
        mean_total_ms = float(np.mean([sample["total"] for sample in samples]))
        stages = [name for name in samples[0] if name != "total"]
        figures[side] = {
            **{
                f"p{percent}_ms": round(_percentile(samples, percent), 2) for percent in PERCENTILES
            },
            "stages_p50_ms": {
                name: round(float(np.median([sample[name] for sample in samples])), 3)
                for name in stages
            },
            "shares": {
                name: round(float(np.mean([sample[name] for sample in samples])) / mean_total_ms, 4)
                for name in stages
            },
        }
    for percent in PERCENTILES:
        ratio = _percentile(sides["pinpoint"], percent) / _percentile(sides["bare"], percent)
        figures[f"ratio_p{percent}"] = round(ratio, 3)
    return figures


def _percentile(samples: list[dict[str, float]], percent: float) -> float:
    return float(np.percentile([sample["total"] for sample in samples], percent))
