"""Recovery: sends work again that was lost by a crash, a full broker or a dead worker."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from uuid import UUID

from pinpoint import tasks
from pinpoint.fault_isolation import Failures
from pinpoint.iteration import batched
from pinpoint.ports import BucketListings, IngestRepository, TaskQueue, VectorIndex
from pinpoint.records import RecoveryReport
from pinpoint.tasks import TaskName

_MAX_PER_RUN = 10_000
_BUILD_NAME = re.compile(r"(\d{8}T\d{6})\d{3}Z-")
"""Prefix of the name of a build: its start time."""


def recover_lost_work(  # noqa: PLR0913 - see long_functions.toml
    *,
    repository: IngestRepository,
    queue: TaskQueue,
    index: VectorIndex,
    contract: str,
    chunk: int,
    tombstone_ttl_s: float,
    is_alive: Callable[[str], bool],
    listings: BucketListings | None = None,
    rebuild: Callable[[], None] | None = None,
) -> RecoveryReport:
    """Release the leases of dead workers and send lost work again.

    An item without a lease is lost only if the queue is empty; otherwise it may be waiting.
    Therefore nothing is sent while the queue has tasks.

    Args:
        repository: The rows.
        queue: Queue for lost work.
        index: Index with old tombstones.
        contract: Digest of the bundle in use.
        chunk: Number of items per task.
        tombstone_ttl_s: Age in seconds at which a tombstone is deleted.
        is_alive: Whether the worker of a lease still runs; True if that is unknown.
        listings: Bucket listings; None sends none.
        rebuild: Rebuilds the index, if its files contain deleted points until a rebuild.
    """
    released = sum(
        repository.release_worker(worker)
        for worker in repository.active_workers()
        if not is_alive(worker)
    )
    if queue.waiting():
        return RecoveryReport(released=released, items=0, images=0, deletions=0, tombstones=0)
    failures = Failures()
    images: list[UUID] = []
    expired_items: list[tuple[UUID, int]] = []
    deleted_images: list[UUID] = []
    old_tombstones: list[UUID] = []
    # First the rows that only need indexing: their items are then finished without being read.
    with failures.isolate("images"):
        images = repository.unindexed_images(contract, _MAX_PER_RUN)
        _send_chunks(queue, tasks.INDEX_IMAGES, images, chunk)
    with failures.isolate("items"):
        expired_items = repository.expired_items(_MAX_PER_RUN)
        _send_expired_items(queue, expired_items, chunk)
    with failures.isolate("bucket listings"):
        if listings is not None:
            _send_chunks(queue, tasks.LIST_BUCKET, listings.unfinished(_MAX_PER_RUN), 1)
    with failures.isolate("deletions"):
        deleted_images = repository.pending_deletions(_MAX_PER_RUN)
        _send_chunks(queue, tasks.ERASE_IMAGES, deleted_images, chunk)
    with failures.isolate("tombstones"):
        with repository.expired_tombstones(tombstone_ttl_s) as expired:
            index.delete_points(expired)
        old_tombstones = expired
        # A build that began after these points were deleted never contained them.
        if old_tombstones and rebuild is not None and _build_age_s(index) > tombstone_ttl_s:
            rebuild()
    failures.raise_first()
    return RecoveryReport(
        released=released,
        items=len(expired_items),
        images=len(images),
        deletions=len(deleted_images),
        tombstones=len(old_tombstones),
    )


def _send_expired_items(
    queue: TaskQueue, expired_items: Sequence[tuple[UUID, int]], chunk: int
) -> None:
    """Send expired items; items with earlier attempts are sent alone.

    If such an item kills its worker, no other item is affected. Items with fewer attempts are sent
    first, so that a file that kills workers does not block others. A worker that is repeatedly
    killed from outside then does not have the same file each time.
    """
    _send_chunks(
        queue,
        tasks.INGEST_ITEMS,
        [item for item, attempts in expired_items if attempts == 0],
        chunk,
    )
    retried_items = sorted((entry for entry in expired_items if entry[1] > 0), key=itemgetter(1))
    _send_chunks(queue, tasks.INGEST_ITEMS, [item for item, _ in retried_items], 1)


def _build_age_s(index: VectorIndex) -> float:
    """Age of the serving build in seconds; infinite if its name does not contain a time."""
    match = _BUILD_NAME.match(index.info().build or "")
    if match is None:
        return math.inf
    started_at = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return (datetime.now(UTC) - started_at).total_seconds()


def _send_chunks(queue: TaskQueue, name: TaskName, ids: Sequence[UUID], chunk: int) -> None:
    for chunk_ids in batched(ids, chunk):
        queue.send(name, chunk_ids)
