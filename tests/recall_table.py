"""Recall@48 and latency per filter shape and search strategy on a seeded gallery."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from clustered import OWNERS, START, Clustered, clustered, questions, shapes
from pinpoint.records import IndexFilter, IndexQuery, IndexSpec
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex
from pinpoint.store.vectors.strategy import SearchStrategy, choose_by_matches

BEST, CHANNEL, SEED = 48, "image", 7
ENOUGH = 0.98
"""Recall@48 against exact that every shape must hold."""
FULL = 0.99
"""Recall@48 of a graph that loses nothing worth mentioning."""
_EARTH_M, _SLICE = 6_371_008.8, 2_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `chosen` marks the search strategy of the product."""

    engine: str
    shape: str
    matched: int
    way: SearchStrategy
    chosen: bool
    recall: float
    worst: float
    p50_ms: float
    p95_ms: float

    def __str__(self) -> str:
        """The line as it is printed."""
        return (
            f"{self.engine:12} {self.shape:24} {self.matched:>7} {self.way:5} "
            f"{'<-' if self.chosen else '  '} {self.recall:.3f} {self.worst:.2f} "
            f"{self.p50_ms:7.1f} {self.p95_ms:7.1f}"
        )


HEAD = f"{'engine':12} {'filter':24} {'matched':>7} way      recall worst  p50 ms  p95 ms"


class Switch:
    """A strategy chooser that is set from outside, to query one index with each strategy."""

    way: SearchStrategy = "exact"

    def __call__(self, matched: int) -> SearchStrategy:
        """The strategy that was set."""
        return self.way


def allowed(gallery: Clustered, where: IndexFilter) -> np.ndarray:
    """`[n]` bool: images that pass the filter, computed without the index."""
    mask = gallery.organization == OWNERS.index(where.organization_id)
    if where.source_kinds:
        mask &= np.isin(
            gallery.kind, [("photo", "street").index(kind) for kind in where.source_kinds]
        )
    if where.captured_after is not None and where.captured_before is not None:
        first, last = (
            (t - START).total_seconds() / 86_400
            for t in (where.captured_after, where.captured_before)
        )
        mask &= (gallery.day >= first) & (gallery.day < last)
    if where.circle is not None:
        lat, lon = np.radians(gallery.lat), np.radians(gallery.lon)
        lat_0, lon_0 = np.radians((where.circle.center.lat, where.circle.center.lon))
        half = np.sin((lat - lat_0) / 2) ** 2
        half += np.cos(lat) * np.cos(lat_0) * np.sin((lon - lon_0) / 2) ** 2
        mask &= 2 * _EARTH_M * np.arcsin(np.sqrt(half)) <= where.circle.radius_m
    return mask


def truth(gallery: Clustered, where: IndexFilter, queries: np.ndarray) -> list[set[UUID]]:
    """Best images per query by brute force over the filtered images."""
    rows = np.flatnonzero(allowed(gallery, where))
    scores = gallery.vectors[rows] @ queries.T
    best = np.argsort(-scores, axis=0)[:BEST]
    return [{UUID(int=int(rows[i]) + 1) for i in best[:, q]} for q in range(len(queries))]


def table(
    engine: str, index: Any, switch: Switch | None, gallery: Clustered, n_asked: int
) -> Iterator[Row]:
    """Rows for all filter shapes and search strategies of an engine."""
    queries = questions(gallery, n_asked, SEED + 1)
    for shape, where in shapes(gallery).items():
        best, matched = truth(gallery, where, queries), index.count(where)
        if matched != allowed(gallery, where).sum():
            raise AssertionError(f"{engine}: {shape} lets {matched} through")
        ways: tuple[SearchStrategy, ...] = ("exact", "hnsw", "acorn") if switch else ("exact",)
        for way in ways:
            if switch:
                switch.way = way
            shares, took_ms = _ask(index, where, queries, best)
            yield Row(
                engine,
                shape,
                matched,
                way,
                switch is None or choose_by_matches(matched) == way,
                float(np.mean(shares)),
                min(shares),
                float(np.median(took_ms)),
                float(np.percentile(took_ms, 95)),
            )


def _ask(
    index: Any, where: IndexFilter, queries: np.ndarray, best: list[set[UUID]]
) -> tuple[list[float], list[float]]:
    shares, took_ms = [], []
    for vector, expected in zip(queries, best, strict=True):
        query = IndexQuery(channel=CHANNEL, vector=vector, filter=where, limit=BEST)
        start = time.perf_counter()
        (hits,) = index.search([query])
        took_ms.append((time.perf_counter() - start) * 1e3)
        shares.append(len({hit.id for hit in hits} & expected) / len(expected))
    return shares, took_ms


def _fill(index: Any, gallery: Clustered) -> None:
    n, width = gallery.vectors.shape
    index.ensure(IndexSpec(contract="clustered", dims={CHANNEL: width}))
    for start in range(0, n, _SLICE):
        index.upsert(gallery.points(start, min(start + _SLICE, n), CHANNEL))


@contextmanager
def edge(folder: Path, gallery: Clustered) -> Iterator[tuple[EdgeIndex, Switch]]:
    """An optimized embedded index."""
    switch = Switch()
    index = EdgeIndex(folder, chooser=switch)
    try:
        _fill(index, gallery)
        index.optimize()
        if index.info().indexed_vectors < len(gallery.vectors):
            raise AssertionError("not all vectors are in the graph: this would measure a scan")
        yield index, switch
    finally:
        index.close()


@contextmanager
def memory(gallery: Clustered) -> Iterator[tuple[QdrantIndex, None]]:
    """qdrant-client without a server: numpy, exact search only."""
    index = QdrantIndex(":memory:")
    try:
        _fill(index, gallery)
        yield index, None
    finally:
        index.close()


@contextmanager
def server(gallery: Clustered, wait_s: float = 600.0) -> Iterator[tuple[QdrantIndex, Switch]]:
    """A server's collection once its graph is built; PINPOINT_TEST_QDRANT_URL names the server."""
    switch = Switch()
    url = os.environ["PINPOINT_TEST_QDRANT_URL"]
    index = QdrantIndex(url, alias=f"recall-{secrets.token_hex(4)}", chooser=switch)
    try:
        _fill(index, gallery)
        until = time.monotonic() + wait_s
        # A server keeps its last, small segment without a graph.
        while index.info().indexed_vectors < 0.9 * len(gallery.vectors):
            if time.monotonic() > until:
                raise AssertionError(f"the server indexed {index.info()} in {wait_s} s")
            time.sleep(0.5)
        yield index, switch
    finally:
        index.drop()
        index.close()


def show(rows: list[Row], record: Callable[[str, object], None]) -> None:
    """Print the table and keep it with the test's record."""
    for row in rows:
        record(f"{row.engine} {row.shape} {row.way}", str(row))
    sys.stdout.write("\n".join(["", HEAD, *map(str, rows), ""]))


def check(rows: list[Row]) -> None:
    """The way the product takes and the way it takes above the exact size hold recall."""
    low = [str(row) for row in rows if (row.chosen or row.way != "hnsw") and row.recall < ENOUGH]
    if low:
        raise AssertionError("recall@48 under 0.98:\n" + "\n".join(low))


def check_that_the_plain_graph_loses(rows: list[Row]) -> None:
    """Raise when plain HNSW has full recall: such vectors are too easy for the comparison.

    The graph differs from build to build, because its threads race; so does its recall.
    """
    least = min(row.recall for row in rows if row.way == "hnsw")
    if least >= FULL:
        raise AssertionError(f"plain HNSW holds {least:.3f} everywhere: the vectors are too easy")


def gallery_of(n: int, width: int, big: float = 0.6) -> Clustered:
    """The gallery for all engines."""
    return clustered(n, width, SEED, big)
