"""Leases of batch items: claim, finish, renew, release and expiry.

One worker at a time processes an item, under a lease that expires by itself. Any worker may claim
an item without a valid lease: everything a worker does to a row can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    bindparam,
    cast,
    func,
    or_,
    select,
    text,
    update,
)

from pinpoint.fault_isolation import INTERNAL_ERROR
from pinpoint.records import (
    ClaimedItem,
    FinalStatus,
    Rejected,
    limits,
)
from pinpoint.records.limits import UnstorableError
from pinpoint.store.db.job_tables import job_items
from pinpoint.store.db.rows import is_any_of, parse_override, to_source
from pinpoint.store.db.tables import batch_items, batches, embeddings, images, item_images, sources


def has_no_valid_lease(ends: ColumnElement[Any], lease_ttl_s: float) -> ColumnElement[bool]:
    """Condition for an item without a valid lease, given the column with the end of the lease.

    A lease that ends much later than a new one would was created before the clock was set back. It
    would hold the item until the clock has caught up.
    """
    implausible_end = func.now() + timedelta(seconds=2 * lease_ttl_s)
    return or_(ends.is_(None), ends < func.now(), ends > implausible_end)


# Literal, so that the planner can prove that the partial index over open items applies.
OPEN_ITEMS: Final = text("batch_items.status IN ('received', 'stored')")
"""Condition for an item without a final status."""
_MAX_OVERRIDE_CHARS: Final = 8 * limits.MAX_ATTRIBUTES_BYTES
"""Maximum characters of a stored override that are read: a longer override is cut off and cannot be
parsed."""


def claim_items(
    connection: Connection,
    ids: Sequence[UUID],
    worker: str,
    *,
    lease_ttl_s: float,
    max_attempts: int,
) -> list[Row[Any]]:
    """Claim free items, in order; fail items with too many attempts.

    Returns rows with overrides as text: `to_claimed` parses one, outside this transaction, so that
    the attempt is counted whatever a row contains.

    Of several ids, only items without an attempt are claimed. A worker that dies with a chunk gives
    no information about a single file, and a broker may deliver the same chunk again. So each file
    of the chunk loses one attempt, and the recovery task then sends the files one by one.
    """
    free = (
        select(batch_items.c.id)
        .where(
            is_any_of(batch_items.c.id, ids),
            OPEN_ITEMS,
            has_no_valid_lease(batch_items.c.lease_until, lease_ttl_s),
        )
        .order_by(batch_items.c.ingest_seq)
        .with_for_update(skip_locked=True)
    )
    if len(ids) > 1:
        free = free.where(batch_items.c.attempts == 0)
    claimed_ids = list(connection.execute(free).scalars())
    _fail_exhausted(connection, claimed_ids, max_attempts)
    connection.execute(
        update(batch_items)
        .where(is_any_of(batch_items.c.id, claimed_ids), OPEN_ITEMS)
        .values(
            attempts=batch_items.c.attempts + 1,
            lease_owner=worker,
            lease_until=func.now() + timedelta(seconds=lease_ttl_s),
        )
    )
    return _select_claimed(connection, claimed_ids)


def _fail_exhausted(connection: Connection, ids: Sequence[UUID], max_attempts: int) -> None:
    """Fail items with too many attempts."""
    exhausted = connection.execute(
        select(batch_items.c.id, batch_items.c.file, batch_items.c.error_code).where(
            is_any_of(batch_items.c.id, ids), batch_items.c.attempts >= max_attempts
        )
    )
    rejections = {row.id: _too_many_attempts(row, max_attempts) for row in exhausted}
    finish_items(connection, rejections, "failed")


def _too_many_attempts(row: Any, max_attempts: int) -> Rejected:
    lost_workers = f"{max_attempts} workers stopped before the item was finished"
    internal_errors = (
        f"{max_attempts} attempts failed with an error; the log of the workers contains it"
    )
    return Rejected(
        file=row.file,
        error_stage="read",
        error_code=INTERNAL_ERROR if row.error_code == INTERNAL_ERROR else "too_many_attempts",
        error_message=(
            f"given up: {internal_errors if row.error_code == INTERNAL_ERROR else lost_workers}; "
            "`pinpoint batches retry` sends it again"
        ),
    )


def _select_claimed(connection: Connection, ids: Sequence[UUID]) -> list[Row[Any]]:
    rows = connection.execute(
        select(
            batch_items.c.id.label("item_id"),
            batch_items.c.batch_id,
            batch_items.c.external_id,
            batch_items.c.file,
            batch_items.c.uri,
            # As text: one unreadable override would fail the rows of all other items.
            func.left(cast(batch_items.c.metadata_override, Text), _MAX_OVERRIDE_CHARS).label(
                "metadata_override"
            ),
            batch_items.c.attempts,
            batch_items.c.ingest_seq,
            sources,
        )
        .join(batches, batches.c.id == batch_items.c.batch_id)
        .join(sources, sources.c.id == batches.c.source_id)
        .where(is_any_of(batch_items.c.id, ids), OPEN_ITEMS)
        .order_by(batch_items.c.ingest_seq)
    )
    return list(rows)


def to_claimed(row: Row[Any]) -> ClaimedItem:
    """Convert a row of `claim_items` to an item.

    Raises:
        UnstorableError: Its override cannot be parsed, or a value cannot be stored.
    """
    limits.check_item(row.external_id, row.file, row.uri, None)
    return ClaimedItem(
        id=row.item_id,
        organization_id=row.organization_id,
        source=to_source(row),
        external_id=row.external_id,
        file=row.file,
        uri=row.uri,
        metadata_override=parse_override(row.metadata_override),
        attempts=row.attempts,
        ingest_seq=row.ingest_seq,
        batch_id=row.batch_id,
    )


def rejection_of(row: Row[Any], error: UnstorableError) -> Rejected:
    """Final status of a row of `claim_items` that `to_claimed` rejects."""
    return Rejected(
        file=row.file, error_stage="read", error_code=error.reason, error_message=error.detail
    )


def finish_items(
    connection: Connection, rejections: Mapping[UUID, Rejected], status: FinalStatus
) -> None:
    """Set the final status of open items; items that already have one keep it."""
    if not rejections:
        return
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id == bindparam("item"), OPEN_ITEMS)
        .values(
            status=status,
            error_stage=bindparam("stage"),
            error_code=bindparam("code"),
            error_message=bindparam("message"),
            lease_owner=None,
            lease_until=None,
        ),
        [
            {
                "item": item,
                "stage": rejection.error_stage,
                "code": rejection.error_code,
                "message": rejection.error_message,
            }
            for item, rejection in sorted(rejections.items())
        ],
    )
    if status == "failed":
        _fail_images(connection, rejections)


def _fail_images(connection: Connection, rejections: Mapping[UUID, Rejected]) -> None:
    """Mark image rows of failed items without a vector as failed, with the error message."""
    for item, rejection in sorted(rejections.items()):
        rows = select(item_images.c.image_id).where(item_images.c.item_id == item)
        embedded = (
            select(embeddings.c.image_id).where(embeddings.c.image_id == images.c.id).exists()
        )
        connection.execute(
            update(images)
            .where(images.c.id.in_(rows), images.c.state == "pending", ~embedded)
            .values(state="failed", error_message=rejection.error_message)
        )


def fail_images(
    connection: Connection, ids: Sequence[UUID], error_code: str, error_message: str
) -> None:
    """Mark pending images that the index rejects, and their waiting items, as failed."""
    failed = list(
        connection.execute(
            update(images)
            .where(is_any_of(images.c.id, ids), images.c.state == "pending")
            .values(state="failed", error_message=error_message, updated_at=func.now())
            .returning(images.c.id)
        ).scalars()
    )
    waiting = connection.execute(
        select(batch_items.c.id, batch_items.c.file)
        .join(item_images, item_images.c.item_id == batch_items.c.id)
        .where(
            is_any_of(item_images.c.image_id, failed),
            item_images.c.processed.is_(False),
            OPEN_ITEMS,
        )
        .distinct()
    )
    rejections = {
        row.id: Rejected(
            file=row.file, error_stage="index", error_code=error_code, error_message=error_message
        )
        for row in waiting
    }
    finish_items(connection, rejections, "failed")


def finish_indexed(connection: Connection, image_ids: Sequence[UUID]) -> None:
    """Finish items whose images are all in the index at their current version.

    `version <=`: an image that was replaced in the meantime also finishes the older item.
    Both files were processed, and the index holds the later one.
    """
    connection.execute(
        update(item_images)
        .where(
            is_any_of(item_images.c.image_id, image_ids),
            item_images.c.processed.is_(False),
            images.c.id == item_images.c.image_id,
            # Not images whose vector came too late for their bytes: another worker processes them.
            images.c.state == "indexed",
            item_images.c.version <= images.c.version,
        )
        .values(processed=True)
    )
    affected_items = select(item_images.c.item_id).where(
        is_any_of(item_images.c.image_id, image_ids)
    )
    waiting = (
        select(item_images.c.item_id)
        .where(item_images.c.item_id == batch_items.c.id, item_images.c.processed.is_(False))
        .exists()
    )
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id.in_(affected_items), batch_items.c.status == "stored", ~waiting)
        .values(
            status=batch_items.c.final_status,
            # Clears the error of an earlier attempt.
            error_stage=None,
            error_code=None,
            error_message=None,
            lease_owner=None,
            lease_until=None,
        )
    )


def renew_leases(
    connection: Connection, ids: Sequence[UUID], worker: str, *, lease_ttl_s: float
) -> None:
    """Extend a worker's leases; lost or finished items are not changed.

    Rows locked by other writers are skipped until the next renewal, so this never waits.
    """
    statement = (
        select(batch_items.c.id)
        .where(is_any_of(batch_items.c.id, ids), batch_items.c.lease_owner == worker, OPEN_ITEMS)
        .with_for_update(skip_locked=True)
    )
    locked_ids = list(connection.execute(statement).scalars())
    connection.execute(
        update(batch_items)
        .where(is_any_of(batch_items.c.id, locked_ids))
        .values(lease_until=func.now() + timedelta(seconds=lease_ttl_s))
    )


def release_unprocessed(connection: Connection, ids: Sequence[UUID], worker: str) -> None:
    """Release a worker's open items and uncount the attempt of their claim.

    Items whose lease expired and that another worker has claimed are not changed.
    """
    connection.execute(
        update(batch_items)
        .where(is_any_of(batch_items.c.id, ids), batch_items.c.lease_owner == worker, OPEN_ITEMS)
        .values(
            attempts=func.greatest(batch_items.c.attempts - 1, 0),
            lease_owner=None,
            lease_until=None,
        )
    )


def release_after_error(
    connection: Connection, rejections: Mapping[UUID, Rejected], worker: str
) -> None:
    """Release a worker's open items after an error, with its code; the attempt counts.

    Items whose lease expired and that another worker has claimed are not changed.
    """
    for item, rejection in sorted(rejections.items()):
        connection.execute(
            update(batch_items)
            .where(batch_items.c.id == item, batch_items.c.lease_owner == worker, OPEN_ITEMS)
            .values(
                error_stage=rejection.error_stage,
                error_code=rejection.error_code,
                error_message=rejection.error_message,
                lease_owner=None,
                lease_until=None,
            )
        )


def unused_blobs(connection: Connection, uris: Sequence[str]) -> list[str]:
    """Filter the blobs that neither an image nor an open item nor a job's item references."""
    blobs = {uri for uri in uris if uri.startswith("blob:")}
    if not blobs:
        return []
    by_image = select(images.c.uri).where(images.c.uri.in_(blobs))
    by_item = select(batch_items.c.uri).where(batch_items.c.uri.in_(blobs), OPEN_ITEMS)
    by_job = select(job_items.c.uri).where(job_items.c.uri.in_(blobs))
    referenced = connection.execute(by_image.union(by_item, by_job)).scalars()
    return sorted(blobs - set(referenced))


def release_worker(connection: Connection, worker: str) -> int:
    """Release all leases of a worker."""
    released = connection.execute(
        update(batch_items)
        .where(batch_items.c.lease_owner == worker, OPEN_ITEMS)
        .values(lease_owner=None, lease_until=None)
    )
    return int(released.rowcount)


def active_workers(connection: Connection) -> list[str]:
    """Names of workers that hold a lease."""
    return list(
        connection.execute(
            select(batch_items.c.lease_owner)
            .where(OPEN_ITEMS, batch_items.c.lease_owner.is_not(None))
            .distinct()
        ).scalars()
    )


def expired_items(
    connection: Connection, limit: int, *, lease_ttl_s: float
) -> list[tuple[UUID, int]]:
    """Open items without a valid lease, oldest first, with their attempts."""
    rows = connection.execute(
        select(batch_items.c.id, batch_items.c.attempts)
        .where(OPEN_ITEMS, has_no_valid_lease(batch_items.c.lease_until, lease_ttl_s))
        .order_by(batch_items.c.ingest_seq)
        .limit(limit)
    )
    return [(row.id, row.attempts) for row in rows]
