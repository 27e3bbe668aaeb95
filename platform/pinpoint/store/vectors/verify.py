"""Verification of a new index build before it serves: self-retrieval and number of points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from pinpoint.errors import IndexUnavailableError
from pinpoint.ports import PointSource
from pinpoint.records import Hit, IndexFilter, IndexPoint, IndexQuery

SAMPLE_SIZE: Final = 200
"""Number of stored images in the self-retrieval sample."""
SELF_TOP_K: Final = 10
MIN_SELF_RECALL: Final = 0.98
"""Minimum share of the exact best hits that the graph must find over the whole sample."""
_SELF_COSINE_TOLERANCE: Final = 1e-3
"""Maximum deviation from 1 of a stored vector's cosine with itself: it is stored as fp16."""
_SCORE_TOLERANCE: Final = 1e-5


class Build(Protocol):
    """A build under verification, before it serves."""

    def scroll(self, after: UUID | None, limit: int) -> list[tuple[UUID, int, bool]]:
        """See `ports.VectorIndex`."""
        ...

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """See `ports.VectorIndex`."""
        ...

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """See `ports.VectorIndex`; non-exact queries use the graph."""
        ...


def verify_self_retrieval(build: Build, report: Callable[[int], None] | None = None) -> float:
    """Query stored vectors by graph and exactly; returns the recall of the graph.

    Args:
        build: Complete and optimized.
        report: Receives the number of images queried so far.

    Raises:
        IndexUnavailableError: An image is not found by its own vector, or recall is under
            `MIN_SELF_RECALL`.
    """
    hits_found = hits_expected = 0
    points = build.fetch(_sample_ids(build), vectors=True)
    for number, point in enumerate(points, start=1):
        for channel, vector in point.vectors.items():
            where = IndexFilter(organization_id=point.organization_id)
            query = IndexQuery(channel=channel, vector=vector, filter=where, limit=SELF_TOP_K)
            # One query per call: the engine holds the interpreter's lock during a call.
            (graph_hits,) = build.search([query])
            (exact_hits,) = build.search([replace(query, exact=True)])
            if not exact_hits or exact_hits[0].score < 1.0 - _SELF_COSINE_TOLERANCE:
                raise IndexUnavailableError(
                    f"the new index does not find image {point.id} by its own {channel} vector; "
                    "it was not activated",
                    reason="build_not_verified",
                )
            # Compared by score: equal scores may be in any order.
            hits_found += sum(
                hit.score >= exact_hits[-1].score - _SCORE_TOLERANCE for hit in graph_hits
            )
            hits_expected += len(exact_hits)
        if report is not None:
            report(number)
    recall = hits_found / hits_expected if hits_expected else 1.0
    if recall < MIN_SELF_RECALL:
        raise IndexUnavailableError(
            f"the new index finds {recall:.3f} of the {SELF_TOP_K} nearest images, "
            f"{MIN_SELF_RECALL} is required; it was not activated",
            reason="build_not_verified",
        )
    return recall


def check_count(point_count: int, bounds: tuple[int, int], num_changed: int) -> None:
    """Check that a build holds as many points as PostgreSQL has rows.

    Args:
        point_count: Live points of the build.
        bounds: Result of `PointSource.bounds`.
        num_changed: Rows and tombstones that changed during the counts.

    Raises:
        IndexUnavailableError: The numbers differ.
    """
    fewest, most = bounds
    if not fewest - num_changed <= point_count <= most + num_changed:
        raise IndexUnavailableError(
            f"the new index holds {point_count} images, PostgreSQL {fewest} to {most}; it was not "
            "activated",
            reason="build_not_verified",
        )


def check_counts(count: Callable[[], int], source: PointSource, mark: int) -> None:
    """Apply `check_count` to a build that contains all changes up to a mark of its source."""
    point_count, bounds = count(), source.bounds()
    num_changed = sum(len(points) for points in source.stream(since=mark))
    check_count(point_count, bounds, num_changed + len(source.tombstones(since=mark)))


def _sample_ids(build: Build) -> list[UUID]:
    """Ids at even distances: ids are hashes, so this is a random sample."""
    starts = [UUID(int=2**128 * number // SAMPLE_SIZE) for number in range(SAMPLE_SIZE)]
    return sorted({row[0] for start in starts for row in build.scroll(start, 1)})
