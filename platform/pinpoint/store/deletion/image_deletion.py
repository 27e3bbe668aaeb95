"""Deletion of images in this order: tombstone, index point and blob, row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    delete,
    func,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pinpoint.records import PendingDeletion
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.tables import batch_items, batches, images, item_images, sources, tombstones

BACKUP_LOCK: Final = 0x9142_0018
"""Advisory lock: exclusive for a backup, shared for transactions that delete blobs.

Therefore the blobs that a backup's rows reference still exist when they are copied.
"""


def blob_deletion_allowed(connection: Connection) -> bool:
    """Whether no backup is running; none can start before the transaction ends."""
    statement = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
    return bool(connection.execute(statement, {"key": BACKUP_LOCK}).scalar_one())


def lock_source(connection: Connection, source_id: UUID) -> bool:
    """Lock a source against concurrent additions and deletion until the transaction ends.

    Returns:
        Whether the source exists and is not erased.
    """
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:source, 0))"),
        {"source": str(source_id)},
    )
    statement = select(sources.c.id).where(sources.c.id == source_id, sources.c.erased_at.is_(None))
    return connection.execute(statement).one_or_none() is not None


def mark_deleted(connection: Connection, condition: ColumnElement[bool]) -> list[UUID]:
    """Mark images as deleted and write tombstones; returns their ids in order.

    The tombstone outlives the row. An image that returns with the same id then gets a version above
    all versions that a slow writer may hold.
    """
    locked = (
        select(images.c.id)
        .where(condition, images.c.state != "deleted")
        .order_by(images.c.id)
        .with_for_update()
    )
    ids = list(connection.execute(locked).scalars())
    connection.execute(
        update(images)
        .where(is_any_of(images.c.id, ids))
        .values(state="deleted", version=images.c.version + 1, updated_at=func.now())
    )
    statement = insert(tombstones).from_select(
        ["image_id", "organization_id", "version"],
        select(images.c.id, images.c.organization_id, images.c.version).where(
            is_any_of(images.c.id, ids)
        ),
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["image_id"],
            set_={"version": statement.excluded.version, "deleted_at": func.now()},
        )
    )
    _fail_waiting(connection, ids)
    return ids


def _fail_waiting(connection: Connection, ids: Sequence[UUID]) -> None:
    """Fail the items that waited for a deleted image."""
    waiting = (
        select(item_images.c.item_id)
        .where(is_any_of(item_images.c.image_id, ids), item_images.c.processed.is_(False))
        .scalar_subquery()
    )
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id.in_(waiting), batch_items.c.status == "stored")
        .values(
            status="failed",
            error_stage="store",
            error_code="deleted_during_ingest",
            error_message="the image was deleted before it was indexed",
            lease_owner=None,
            lease_until=None,
        )
    )


def pending_deletions(
    connection: Connection, ids: Sequence[UUID] | None, limit: int = 512
) -> list[PendingDeletion]:
    """Deleted images that still have a row, locked; only those in `ids`, if given."""
    statement = (
        select(images.c.id, images.c.version, images.c.uri)
        .where(images.c.state == "deleted")
        .order_by(images.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if ids is not None:
        statement = statement.where(is_any_of(images.c.id, ids))
    return [
        PendingDeletion(id=row.id, version=row.version, uri=row.uri)
        for row in connection.execute(statement)
    ]


def unreferenced_blobs(connection: Connection, deletions: Sequence[PendingDeletion]) -> list[str]:
    """Blobs that no other row references: the faces of one panorama share their file's blob."""
    blobs = {deletion.uri for deletion in deletions if (deletion.uri or "").startswith("blob:")}
    referenced = connection.execute(
        select(images.c.uri).where(
            images.c.uri.in_(blobs),
            ~is_any_of(images.c.id, [deletion.id for deletion in deletions]),
        )
    ).scalars()
    return sorted(blobs - set(referenced))  # type: ignore[arg-type]


def remove_rows(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete rows without an index point, and erased sources without images."""
    _redact_items(connection, ids)
    connection.execute(
        delete(images).where(is_any_of(images.c.id, ids), images.c.state == "deleted")
    )
    remove_empty_sources(connection)


def _redact_items(connection: Connection, ids: Sequence[UUID]) -> None:
    """Remove names and positions from the finished items of permanently deleted images.

    The items remain, so that their batch still accounts for every file.
    """
    if not ids:
        return
    deleted = images.alias()
    is_kept = (
        select(images.c.id)
        .where(
            images.c.source_id == deleted.c.source_id,
            images.c.external_id == deleted.c.external_id,
            ~is_any_of(images.c.id, ids) | (images.c.state != "deleted"),
        )
        .exists()
    )
    names = (
        select(deleted.c.source_id, deleted.c.external_id)
        .distinct()
        # Items of an erased source are deleted with it.
        .join(sources, sources.c.id == deleted.c.source_id)
        .where(is_any_of(deleted.c.id, ids), sources.c.erased_at.is_(None), ~is_kept)
        .subquery()
    )
    duplicate_message = func.concat("the same bytes are held as ", names.c.external_id)
    is_named = batch_items.c.external_id == names.c.external_id
    connection.execute(
        update(batch_items)
        .where(
            batches.c.source_id == names.c.source_id,
            batch_items.c.batch_id == batches.c.id,
            batch_items.c.status.not_in(("received", "stored")),
            is_named | (batch_items.c.error_message == duplicate_message),
        )
        .values(
            external_id=case((is_named, ""), else_=batch_items.c.external_id),
            file=case((is_named, ""), else_=batch_items.c.file),
            uri=case((is_named, ""), else_=batch_items.c.uri),
            metadata_override=case((is_named, null()), else_=batch_items.c.metadata_override),
            error_message="the image was erased",
            # Notes contain positions and other values.
            notes=[],
        )
    )


def remove_empty_sources(connection: Connection) -> None:
    """Delete erased sources without images, with their batches."""
    has_images: Any = select(images.c.id).where(images.c.source_id == sources.c.id).exists()
    connection.execute(delete(sources).where(sources.c.erased_at.is_not(None), ~has_images))


def live_versions(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Versions of the ids with a row that is indexed or pending."""
    statement = select(images.c.id, images.c.version).where(
        is_any_of(images.c.id, ids), images.c.state.in_(("pending", "indexed"))
    )
    return {row.id: row.version for row in connection.execute(statement)}


def orphaned_points(
    connection: Connection, ids: Sequence[UUID]
) -> tuple[list[UUID], dict[UUID, int]]:
    """The ids without a live row, and their tombstones, if any, locked."""
    alive = live_versions(connection, ids)
    without_row = [image_id for image_id in ids if image_id not in alive]
    locked = connection.execute(
        select(tombstones.c.image_id, tombstones.c.version)
        .where(is_any_of(tombstones.c.image_id, without_row))
        .order_by(tombstones.c.image_id)
        .with_for_update()
    )
    return without_row, {row.image_id: row.version for row in locked}


def expired_tombstones(
    connection: Connection, older_than_s: float, limit: int = 10_000
) -> list[UUID]:
    """Delete tombstones that are older than any writer of an old version.

    Tombstones of images that still wait for deletion remain: otherwise the index would get its
    tombstone after PostgreSQL deleted the version, and a returning image could not exceed it.

    Returns:
        Ids of points that may be deleted: those without a live row.
    """
    waiting = select(images.c.id).where(
        images.c.id == tombstones.c.image_id, images.c.state == "deleted"
    )
    statement = (
        select(tombstones.c.image_id)
        .where(tombstones.c.deleted_at < func.now() - timedelta(seconds=older_than_s))
        .where(~waiting.exists())
        .order_by(tombstones.c.image_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(statement).scalars())
    alive = set(
        connection.execute(select(images.c.id).where(is_any_of(images.c.id, ids))).scalars()
    )
    connection.execute(delete(tombstones).where(is_any_of(tombstones.c.image_id, ids)))
    return [image_id for image_id in ids if image_id not in alive]
