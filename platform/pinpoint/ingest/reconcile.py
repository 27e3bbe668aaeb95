"""Reconcile: the index against PostgreSQL, id by id and version by version."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from pinpoint import jobs
from pinpoint.ports import JobQueue, Ledger, VectorIndex
from pinpoint.records import Drift

_PAGE = 2_000


def reconcile(
    *, ledger: Ledger, index: VectorIndex, queue: JobQueue | None, contract: str, chunk: int
) -> Drift:
    """Compare and, with a queue, mend.

    What is missing or stale is indexed again, what is extra is forgotten. Rows that change
    meanwhile may be reported; mending them changes nothing, because every write carries its
    version.

    Args:
        ledger: The truth.
        index: What is derived from it.
        queue: Where mending goes; None only reports.
        contract: Digest of the bundle in use.
        chunk: Images in one job.
    """
    missing: list[UUID] = []
    stale: list[UUID] = []
    extra: dict[UUID, int] = {}
    checked = 0
    for image_id, wanted, found in _side_by_side(_rows(ledger, contract), _points(index)):
        checked += 1
        if wanted is None and found is not None:
            extra[image_id] = found
        elif found is None:
            missing.append(image_id)
        elif wanted is not None and found < wanted:
            stale.append(image_id)
    # A row that waits for the index, or was written since the scan, has its point by right.
    for image_id in ledger.live(list(extra)):
        del extra[image_id]
    mended = 0
    if queue is not None:
        mended = _mend(missing + stale, extra, ledger, index, queue, chunk)
    return Drift(
        checked=checked, missing=len(missing), stale=len(stale), extra=len(extra), mended=mended
    )


def _mend(
    behind: list[UUID],
    extra: dict[UUID, int],
    ledger: Ledger,
    index: VectorIndex,
    queue: JobQueue,
    chunk: int,
) -> int:
    for start in range(0, len(behind), chunk):
        ids = behind[start : start + chunk]
        ledger.mark_pending(ids)
        queue.send(jobs.INDEX_IMAGES, ids)
    # Not a tombstone: PostgreSQL knows no version of these ids, so one that comes back starts at
    # the first, and nothing would ever lift the stone from it.
    index.forget(list(extra))
    return len(behind) + len(extra)


def _rows(ledger: Ledger, contract: str) -> Iterator[tuple[UUID, int]]:
    after: UUID | None = None
    while page := ledger.versions(after, _PAGE, contract):
        yield from page
        after = page[-1][0]


def _points(index: VectorIndex) -> Iterator[tuple[UUID, int]]:
    """Live points in id order; tombstones are no drift."""
    after: UUID | None = None
    while page := index.scroll(after, _PAGE):
        yield from ((image_id, version) for image_id, version, alive in page if alive)
        after = page[-1][0]


def _side_by_side(
    rows: Iterator[tuple[UUID, int]], points: Iterator[tuple[UUID, int]]
) -> Iterator[tuple[UUID, int | None, int | None]]:
    """Merge two streams in id order into `(id, version in PostgreSQL, version in the index)`."""
    tagged = heapq.merge(
        ((image_id, "row", version) for image_id, version in rows),
        ((image_id, "point", version) for image_id, version in points),
    )
    for image_id, sides in groupby(tagged, key=itemgetter(0)):
        versions = {side: version for _, side, version in sides}
        yield image_id, versions.get("row"), versions.get("point")
