"""Whether a build that is to serve finds what it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from pinpoint.errors import IndexUnavailable
from pinpoint.ports import PointSource
from pinpoint.records import Hit, IndexFilter, IndexPoint, IndexQuery

SAMPLE: Final = 200
"""Stored images that are looked for."""
BEST: Final = 10
ENOUGH: Final = 0.98
"""Share of the exact best that the graph must find, over the whole sample."""
_SAME: Final = 1e-3
"""Cosine of a stored vector with itself may differ from 1 by this: it is kept as fp16."""
_TIE: Final = 1e-5


class Build(Protocol):
    """What is looked at: a build that does not serve yet."""

    def scroll(self, after: UUID | None, limit: int) -> list[tuple[UUID, int, bool]]:
        """As `ports.VectorIndex`."""
        ...

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """As `ports.VectorIndex`."""
        ...

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """As `ports.VectorIndex`; by the graph where a question is not forced to be exact."""
        ...


def verify(build: Build, report: Callable[[int], None] | None = None) -> float:
    """Look for stored vectors by the graph and exactly; the share that the graph found.

    Args:
        build: Whole and optimised.
        report: Told how many images were looked for so far.

    Raises:
        IndexUnavailable: An image is not found by its own vector, or recall is under `ENOUGH`.
    """
    found = wanted = 0
    points = build.fetch(_spread(build), vectors=True)
    for number, point in enumerate(points, start=1):
        for channel, vector in point.vectors.items():
            where = IndexFilter(organization_id=point.organization_id)
            asked = IndexQuery(channel=channel, vector=vector, filter=where, limit=BEST)
            # One by one: the engine holds the interpreter's lock for as long as a call takes.
            (graph,) = build.search([asked])
            (exact,) = build.search([replace(asked, exact=True)])
            if not exact or exact[0].score < 1.0 - _SAME:
                raise IndexUnavailable(
                    f"the new index does not find image {point.id} by its own {channel} vector; "
                    "it was not switched to",
                    reason="build_not_verified",
                )
            # By score: of equal ones any may stand in another's place.
            found += sum(hit.score >= exact[-1].score - _TIE for hit in graph)
            wanted += len(exact)
        if report is not None:
            report(number)
    recall = found / wanted if wanted else 1.0
    if recall < ENOUGH:
        raise IndexUnavailable(
            f"the new index finds {recall:.3f} of the {BEST} nearest images, {ENOUGH} is wanted; "
            "it was not switched to",
            reason="build_not_verified",
        )
    return recall


def check_count(held: int, bounds: tuple[int, int], moved: int) -> None:
    """Whether a build holds as many points as PostgreSQL has rows for.

    Args:
        held: Live points of the build.
        bounds: Of `PointSource.bounds`.
        moved: Rows and tombstones that changed while this was asked.

    Raises:
        IndexUnavailable: It does not.
    """
    fewest, most = bounds
    if not fewest - moved <= held <= most + moved:
        raise IndexUnavailable(
            f"the new index holds {held} images, PostgreSQL {fewest} to {most}; it was not "
            "switched to",
            reason="build_not_verified",
        )


def check_whole(count: Callable[[], int], source: PointSource, mark: int) -> None:
    """`check_count` of a build that has everything up to a mark of its source."""
    held, bounds = count(), source.bounds()
    moved = sum(len(points) for points in source.stream(since=mark))
    check_count(held, bounds, moved + len(source.tombstones(since=mark)))


def _spread(build: Build) -> list[UUID]:
    """Ids at even distances: they are hashes, so that is a sample at random."""
    starts = [UUID(int=2**128 * number // SAMPLE) for number in range(SAMPLE)]
    return sorted({row[0] for start in starts for row in build.scroll(start, 1)})
