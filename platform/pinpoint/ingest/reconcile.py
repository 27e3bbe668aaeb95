"""Reconciliation: compares the ids and versions of the index with PostgreSQL."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final
from uuid import UUID

from pinpoint import tasks
from pinpoint.fault_isolation import Failures, process_with_bisection, raise_if_index_down
from pinpoint.iteration import batched
from pinpoint.ports import IngestRepository, TaskQueue, VectorIndex
from pinpoint.records import Drift

_IDS_PER_PAGE: Final = 2_000

IndexState = tuple[int, bool]
"""Version in the index, and whether the point is live or a tombstone."""


@dataclass(slots=True)
class _Differences:
    """Differences between the index and PostgreSQL."""

    checked: int = 0
    missing: set[UUID] = field(default_factory=set)
    stale: set[UUID] = field(default_factory=set)
    extra: set[UUID] = field(default_factory=set)
    above: dict[UUID, IndexState] = field(default_factory=dict)
    """Missing and stale points with a version in the index that the row cannot replace."""


def reconcile_index_rows(
    *,
    repository: IngestRepository,
    index: VectorIndex,
    queue: TaskQueue | None,
    contract: str,
    chunk: int,
) -> Drift:
    """Compare the index with PostgreSQL and, with a queue, repair it.

    Missing and stale points are indexed again, and extra points are deleted. If the index has a
    higher version than PostgreSQL, as after a restore of PostgreSQL alone, the row gets a higher
    version, because the index never replaces a higher version, including tombstones. Rows that
    change during the comparison may be reported; repairing them has no effect, because every write
    has a version.

    Args:
        repository: Rows in PostgreSQL, the source of truth.
        index: The derived index.
        queue: Queue for repair tasks; None only reports.
        contract: Digest of the bundle in use.
        chunk: Number of images per task.
    """
    differences = _compare_versions(repository, index, contract)
    _recheck_differences(differences, repository)
    num_repaired = (
        0 if queue is None else _repair_index(differences, repository, index, queue, chunk)
    )
    return Drift(
        checked=differences.checked,
        missing=len(differences.missing),
        stale=len(differences.stale),
        extra=len(differences.extra),
        repaired=num_repaired,
    )


def _compare_versions(
    repository: IngestRepository, index: VectorIndex, contract: str
) -> _Differences:
    differences = _Differences()
    for image_id, row_version, stored in _merge_join(
        _scan_rows(repository, contract), _scan_points(index)
    ):
        version, is_live = stored or (0, False)
        if row_version is None:
            # A tombstone without a row is the normal state after a deletion.
            if is_live:
                differences.checked += 1
                differences.extra.add(image_id)
            continue
        differences.checked += 1
        if not is_live:
            differences.missing.add(image_id)
        elif version != row_version:
            differences.stale.add(image_id)
        if stored is not None and version >= row_version + is_live:
            differences.above[image_id] = stored
    return differences


def _recheck_differences(differences: _Differences, repository: IngestRepository) -> None:
    """Drop differences that exist only because a row was written between the two scans."""
    rows = repository.live_versions([*differences.extra, *differences.above])
    # The point of a pending or new row is correct.
    differences.extra -= rows.keys()
    for image_id, (version, is_live) in list(differences.above.items()):
        if image_id not in rows or rows[image_id] >= version + (not is_live):
            del differences.above[image_id]
            differences.missing.discard(image_id)
            differences.stale.discard(image_id)


def _repair_index(
    differences: _Differences,
    repository: IngestRepository,
    index: VectorIndex,
    queue: TaskQueue,
    chunk: int,
) -> int:
    """Repair the index; the error of an image is raised after all others are done."""
    failures = Failures()
    failed_ids: set[UUID] = set()

    def record_failure(image_id: UUID, error: Exception) -> None:
        raise_if_index_down(error, index)
        failed_ids.add(image_id)
        failures.note("reconcile", error, image=str(image_id))

    def bump_versions(ids: Sequence[UUID]) -> None:
        repository.bump_versions({image_id: differences.above[image_id][0] for image_id in ids})

    process_with_bisection(sorted(differences.above), bump_versions, record_failure)
    to_index = sorted((differences.missing | differences.stale) - failed_ids)
    for ids in batched(to_index, chunk):
        repository.mark_pending(ids)
        queue.send(tasks.INDEX_IMAGES, ids)
    extra = sorted(differences.extra)
    for page in batched(extra, _IDS_PER_PAGE):
        process_with_bisection(
            page,
            lambda chunk_ids: _delete_points(chunk_ids, repository, index),
            record_failure,
        )
    failures.raise_first()
    return len(to_index) + len(extra)


def _delete_points(ids: Sequence[UUID], repository: IngestRepository, index: VectorIndex) -> None:
    """Delete points without a row, by source, while locks prevent new rows."""
    by_source = sorted(index.fetch(ids), key=attrgetter("source_id"))
    for source_id, points in groupby(by_source, key=attrgetter("source_id")):
        with repository.orphaned_points(source_id, [point.id for point in points]) as (
            deleted_ids,
            tombstones,
        ):
            # If PostgreSQL has no version, a new row starts at version 1 and could never replace
            # a tombstone, so the point is deleted without one.
            index.delete_points(deleted_ids)
            index.write_tombstones(tombstones)


def _scan_rows(repository: IngestRepository, contract: str) -> Iterator[tuple[UUID, int]]:
    after: UUID | None = None
    while page := repository.versions(after, _IDS_PER_PAGE, contract):
        yield from page
        after = page[-1][0]


def _scan_points(index: VectorIndex) -> Iterator[tuple[UUID, IndexState]]:
    """Points of the index, in id order."""
    after: UUID | None = None
    while page := index.scroll(after, _IDS_PER_PAGE):
        yield from ((image_id, (version, is_live)) for image_id, version, is_live in page)
        after = page[-1][0]


def _merge_join(
    rows: Iterator[tuple[UUID, int]], points: Iterator[tuple[UUID, IndexState]]
) -> Iterator[tuple[UUID, int | None, IndexState | None]]:
    """Merge two streams in id order into `(id, version in PostgreSQL, state in the index)`."""
    merged = heapq.merge(
        ((image_id, version, None) for image_id, version in rows),
        ((image_id, None, stored) for image_id, stored in points),
        key=itemgetter(0),
    )
    for image_id, group in groupby(merged, key=itemgetter(0)):
        entries = list(group)
        yield (
            image_id,
            next((version for _, version, _ in entries if version is not None), None),
            next((stored for _, _, stored in entries if stored is not None), None),
        )
