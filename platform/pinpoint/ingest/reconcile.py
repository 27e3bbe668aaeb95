"""Reconcile: the index against PostgreSQL, id by id and version by version."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final
from uuid import UUID

from pinpoint import jobs
from pinpoint.fault_isolation import Failures, do_apart, raise_if_index_is_down
from pinpoint.ports import JobQueue, Ledger, VectorIndex
from pinpoint.records import Drift

_PAGE: Final = 2_000

Stored = tuple[int, bool]
"""Version in the index, and whether the point is live or a tombstone."""


@dataclass(slots=True)
class _Found:
    """What is not as PostgreSQL says."""

    checked: int = 0
    missing: set[UUID] = field(default_factory=set)
    stale: set[UUID] = field(default_factory=set)
    extra: set[UUID] = field(default_factory=set)
    above: dict[UUID, Stored] = field(default_factory=dict)
    """Of the missing and the stale those that the row's version cannot replace."""


def reconcile(
    *, ledger: Ledger, index: VectorIndex, queue: JobQueue | None, contract: str, chunk: int
) -> Drift:
    """Compare and, with a queue, mend.

    What is missing or stale is indexed again, what is extra is forgotten. Where the index holds a
    higher version than PostgreSQL, as after a restore of PostgreSQL alone, the row is raised above
    it: an index never lets a lower version replace a higher one, tombstones included. Rows that
    change meanwhile may be reported; mending them changes nothing, because every write carries its
    version.

    Args:
        ledger: The truth.
        index: What is derived from it.
        queue: Where mending goes; None only reports.
        contract: Digest of the bundle in use.
        chunk: Images in one job.
    """
    found = _compare(ledger, index, contract)
    _ask_again(found, ledger)
    mended = 0 if queue is None else _mend(found, ledger, index, queue, chunk)
    return Drift(
        checked=found.checked,
        missing=len(found.missing),
        stale=len(found.stale),
        extra=len(found.extra),
        mended=mended,
    )


def _compare(ledger: Ledger, index: VectorIndex, contract: str) -> _Found:
    found = _Found()
    for image_id, wanted, stored in _side_by_side(_rows(ledger, contract), _points(index)):
        version, alive = stored or (0, False)
        if wanted is None:
            # A tombstone without a row is what deletion leaves.
            if alive:
                found.checked += 1
                found.extra.add(image_id)
            continue
        found.checked += 1
        if not alive:
            found.missing.add(image_id)
        elif version != wanted:
            found.stale.add(image_id)
        if stored is not None and version >= wanted + alive:
            found.above[image_id] = stored
    return found


def _ask_again(found: _Found, ledger: Ledger) -> None:
    """Leave out what only seems wrong because it was written between the two scans."""
    rows = ledger.live([*found.extra, *found.above])
    # A row that waits for the index, or came since, has its point by right.
    found.extra -= rows.keys()
    for image_id, (version, alive) in list(found.above.items()):
        if image_id not in rows or rows[image_id] >= version + (not alive):
            del found.above[image_id]
            found.missing.discard(image_id)
            found.stale.discard(image_id)


def _mend(found: _Found, ledger: Ledger, index: VectorIndex, queue: JobQueue, chunk: int) -> int:
    """Mend; what cannot be mended of one image is raised after all others had their turn."""
    failures = Failures()
    unmended: set[UUID] = set()

    def fail(image_id: UUID, error: Exception) -> None:
        raise_if_index_is_down(error, index)
        unmended.add(image_id)
        failures.note("reconcile", error, image=str(image_id))

    def overtake(ids: Sequence[UUID]) -> None:
        ledger.overtake({image_id: found.above[image_id][0] for image_id in ids})

    do_apart(sorted(found.above), overtake, fail)
    wrong = sorted((found.missing | found.stale) - unmended)
    for start in range(0, len(wrong), chunk):
        ids = wrong[start : start + chunk]
        ledger.mark_pending(ids)
        queue.send(jobs.INDEX_IMAGES, ids)
    extra = sorted(found.extra)
    for start in range(0, len(extra), _PAGE):
        do_apart(extra[start : start + _PAGE], lambda some: _drop(some, ledger, index), fail)
    failures.raise_first()
    return len(wrong) + len(extra)


def _drop(ids: Sequence[UUID], ledger: Ledger, index: VectorIndex) -> None:
    """Forget points without a row, source by source, while none can get a row."""
    by_source = sorted(index.fetch(ids), key=attrgetter("source_id"))
    for source_id, points in groupby(by_source, key=attrgetter("source_id")):
        with ledger.strays(source_id, [point.id for point in points]) as (gone, tombstones):
            # Where PostgreSQL knows no version, one that comes back starts at the first, and
            # nothing would ever lift a tombstone from it.
            index.forget(gone)
            index.delete(tombstones)


def _rows(ledger: Ledger, contract: str) -> Iterator[tuple[UUID, int]]:
    after: UUID | None = None
    while page := ledger.versions(after, _PAGE, contract):
        yield from page
        after = page[-1][0]


def _points(index: VectorIndex) -> Iterator[tuple[UUID, Stored]]:
    """What is stored, in id order."""
    after: UUID | None = None
    while page := index.scroll(after, _PAGE):
        yield from ((image_id, (version, alive)) for image_id, version, alive in page)
        after = page[-1][0]


def _side_by_side(
    rows: Iterator[tuple[UUID, int]], points: Iterator[tuple[UUID, Stored]]
) -> Iterator[tuple[UUID, int | None, Stored | None]]:
    """Merge two streams in id order into `(id, version in PostgreSQL, what the index holds)`."""
    merged = heapq.merge(
        ((image_id, version, None) for image_id, version in rows),
        ((image_id, None, stored) for image_id, stored in points),
        key=itemgetter(0),
    )
    for image_id, sides in groupby(merged, key=itemgetter(0)):
        both = list(sides)
        yield (
            image_id,
            next((version for _, version, _ in both if version is not None), None),
            next((stored for _, _, stored in both if stored is not None), None),
        )
