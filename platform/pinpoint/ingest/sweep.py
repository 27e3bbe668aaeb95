"""Sweep: find again what a crash, a full broker or a dead worker left behind, and send it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from uuid import UUID

from pinpoint import jobs
from pinpoint.fault_isolation import Failures
from pinpoint.jobs import JobName
from pinpoint.ports import JobQueue, Ledger, VectorIndex
from pinpoint.records import Swept

_PAGE = 10_000
_BUILD = re.compile(r"(\d{8}T\d{6})\d{3}Z-")
"""How the name of a build begins: when it was begun."""


def sweep(
    *,
    ledger: Ledger,
    queue: JobQueue,
    index: VectorIndex,
    contract: str,
    chunk: int,
    tombstone_s: float,
    is_alive: Callable[[str], bool],
    rebuild: Callable[[], None] | None = None,
) -> Swept:
    """Free the leases of dead workers and send lost work again.

    Only an empty queue proves that an item without a lease is lost rather than waiting, so nothing
    is sent while jobs wait.

    Args:
        ledger: The rows.
        queue: Where lost work goes.
        index: Where old tombstones are.
        contract: Digest of the bundle in use.
        chunk: Items in one job.
        tombstone_s: Age at which a tombstone may go.
        is_alive: Whether the worker that holds a lease still runs; True where that is unknown.
        rebuild: Makes the index anew, where its files keep the bytes of deleted points until then.
    """
    released = sum(ledger.release(worker) for worker in ledger.leases() if not is_alive(worker))
    if queue.waiting():
        return Swept(released=released, items=0, images=0, graves=0, forgotten=0)
    failures = Failures()
    images: list[UUID] = []
    lost: list[tuple[UUID, int]] = []
    graves: list[UUID] = []
    old: list[UUID] = []
    # First the rows that only wait for the index: their items are then settled without being read.
    with failures.apart("images"):
        images = ledger.lost_images(contract, _PAGE)
        _send(queue, jobs.INDEX_IMAGES, images, chunk)
    with failures.apart("items"):
        lost = ledger.lost_items(_PAGE)
        _send_items(queue, lost, chunk)
    with failures.apart("graves"):
        graves = ledger.lost_graves(_PAGE)
        _send(queue, jobs.ERASE_IMAGES, graves, chunk)
    with failures.apart("tombstones"):
        with ledger.forgetting(tombstone_s) as expired:
            index.forget(expired)
        old = expired
        # A build that began after these points were deleted never held them.
        if old and rebuild is not None and _age_s(index) > tombstone_s:
            rebuild()
    failures.raise_first()
    return Swept(
        released=released,
        items=len(lost),
        images=len(images),
        graves=len(graves),
        forgotten=len(old),
    )


def _send_items(queue: JobQueue, lost: Sequence[tuple[UUID, int]], chunk: int) -> None:
    """Send lost items; what was tried before goes alone.

    If it kills its worker, it takes no neighbor along. Least tried first: a file that kills workers
    lets the others pass, and a worker that is killed from outside again and again is not caught
    with the same file each time.
    """
    _send(queue, jobs.INGEST_ITEMS, [item for item, tries in lost if tries == 0], chunk)
    tried = sorted((one for one in lost if one[1] > 0), key=itemgetter(1))
    _send(queue, jobs.INGEST_ITEMS, [item for item, _ in tried], 1)


def _age_s(index: VectorIndex) -> float:
    """Seconds since the build that serves was begun; endless where its name does not tell."""
    began = _BUILD.match(index.info().build or "")
    if began is None:
        return math.inf
    at = datetime.strptime(began[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return (datetime.now(UTC) - at).total_seconds()


def _send(queue: JobQueue, name: JobName, ids: Sequence[UUID], chunk: int) -> None:
    for start in range(0, len(ids), chunk):
        queue.send(name, ids[start : start + chunk])
