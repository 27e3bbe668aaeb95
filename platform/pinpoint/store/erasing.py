"""Deletion: a tombstone first, the index and the blobs next, the row last."""

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

from pinpoint.records import Grave
from pinpoint.store.rows import among
from pinpoint.store.tables import (
    batch_items,
    batches,
    images,
    item_images,
    sources,
    tombstones,
)

BACKUP_LOCK: Final = 0x9142_0018
"""Advisory lock: a backup holds it alone, whoever deletes blobs shares it.

So the blobs that a backup's rows name are still there when they are copied.
"""


def bytes_may_go(connection: Connection) -> bool:
    """Whether no backup is running; until the transaction ends none begins."""
    asked = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
    return bool(connection.execute(asked, {"key": BACKUP_LOCK}).scalar_one())


def lock_source(connection: Connection, source_id: UUID) -> bool:
    """Wait until nobody else adds to or erases a source; held to the end of the transaction.

    Returns:
        Whether the source is still there and not erased.
    """
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:source, 0))"),
        {"source": str(source_id)},
    )
    there = select(sources.c.id).where(sources.c.id == source_id, sources.c.erased_at.is_(None))
    return connection.execute(there).one_or_none() is not None


def bury(connection: Connection, which: ColumnElement[bool]) -> list[UUID]:
    """Mark images as deleted and leave tombstones; returns their ids in order.

    The tombstone outlives the row, so that an image that comes back under the same id gets a
    version above everything that a slow writer may still hold.
    """
    locked = (
        select(images.c.id)
        .where(which, images.c.state != "deleted")
        .order_by(images.c.id)
        .with_for_update()
    )
    ids = list(connection.execute(locked).scalars())
    connection.execute(
        update(images)
        .where(among(images.c.id, ids))
        .values(state="deleted", version=images.c.version + 1, updated_at=func.now())
    )
    graves = insert(tombstones).from_select(
        ["image_id", "organization_id", "version"],
        select(images.c.id, images.c.organization_id, images.c.version).where(
            among(images.c.id, ids)
        ),
    )
    connection.execute(
        graves.on_conflict_do_update(
            index_elements=["image_id"],
            set_={"version": graves.excluded.version, "deleted_at": func.now()},
        )
    )
    _fail_waiting(connection, ids)
    return ids


def _fail_waiting(connection: Connection, ids: Sequence[UUID]) -> None:
    """Items that waited for a deleted image will never see it indexed: say so."""
    waiting = (
        select(item_images.c.item_id)
        .where(among(item_images.c.image_id, ids), item_images.c.done.is_(False))
        .scalar_subquery()
    )
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id.in_(waiting), batch_items.c.state == "stored")
        .values(
            state="failed",
            stage="store",
            reason="deleted_meanwhile",
            detail="the image was deleted before it was indexed",
            lease_owner=None,
            lease_until=None,
        )
    )


def buried(connection: Connection, ids: Sequence[UUID] | None, limit: int = 512) -> list[Grave]:
    """Deleted images that still have a row, locked; those of `ids`, or any."""
    wanted = (
        select(images.c.id, images.c.version, images.c.locator)
        .where(images.c.state == "deleted")
        .order_by(images.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if ids is not None:
        wanted = wanted.where(among(images.c.id, ids))
    return [
        Grave(id=row.id, version=row.version, locator=row.locator)
        for row in connection.execute(wanted)
    ]


def unshared(connection: Connection, graves: Sequence[Grave]) -> list[str]:
    """Blobs that no other row needs: the faces of one panorama share their file's."""
    locators = {grave.locator for grave in graves if (grave.locator or "").startswith("blob:")}
    needed = connection.execute(
        select(images.c.locator).where(
            images.c.locator.in_(locators), ~among(images.c.id, [grave.id for grave in graves])
        )
    ).scalars()
    return sorted(locators - set(needed))  # type: ignore[arg-type]


def remove_rows(connection: Connection, ids: Sequence[UUID]) -> None:
    """Remove rows whose index point is gone, and erased sources that are empty now."""
    _redact_items(connection, ids)
    connection.execute(delete(images).where(among(images.c.id, ids), images.c.state == "deleted"))
    remove_empty_sources(connection)


def _redact_items(connection: Connection, ids: Sequence[UUID]) -> None:
    """Take names and positions out of the settled items of images that go for good.

    The items stay, so that their batch still accounts for every file.
    """
    if not ids:
        return
    going = images.alias()
    staying = (
        select(images.c.id)
        .where(
            images.c.source_id == going.c.source_id,
            images.c.external_id == going.c.external_id,
            ~among(images.c.id, ids) | (images.c.state != "deleted"),
        )
        .exists()
    )
    names = (
        select(going.c.source_id, going.c.external_id)
        .distinct()
        # Those of an erased source go with it.
        .join(sources, sources.c.id == going.c.source_id)
        .where(among(going.c.id, ids), sources.c.erased_at.is_(None), ~staying)
        .subquery()
    )
    said = func.concat("the same bytes are held as ", names.c.external_id)
    mine = batch_items.c.external_id == names.c.external_id
    connection.execute(
        update(batch_items)
        .where(
            batches.c.source_id == names.c.source_id,
            batch_items.c.batch_id == batches.c.id,
            batch_items.c.state.not_in(("received", "stored")),
            mine | (batch_items.c.detail == said),
        )
        .values(
            external_id=case((mine, ""), else_=batch_items.c.external_id),
            file=case((mine, ""), else_=batch_items.c.file),
            locator=case((mine, ""), else_=batch_items.c.locator),
            hint=case((mine, null()), else_=batch_items.c.hint),
            detail="the image was erased",
            # Notes name positions and other values.
            notes=[],
        )
    )


def remove_empty_sources(connection: Connection) -> None:
    """Remove erased sources without images, with their batches."""
    full: Any = select(images.c.id).where(images.c.source_id == sources.c.id).exists()
    connection.execute(delete(sources).where(sources.c.erased_at.is_not(None), ~full))


def live(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Versions of those of these ids that have a row which is indexed or waits for it."""
    wanted = select(images.c.id, images.c.version).where(
        among(images.c.id, ids), images.c.state.in_(("pending", "indexed"))
    )
    return {row.id: row.version for row in connection.execute(wanted)}


def strays(connection: Connection, ids: Sequence[UUID]) -> tuple[list[UUID], dict[UUID, int]]:
    """Those of these ids without a live row, and the tombstones some of them have, locked."""
    alive = live(connection, ids)
    gone = [image_id for image_id in ids if image_id not in alive]
    stones = connection.execute(
        select(tombstones.c.image_id, tombstones.c.version)
        .where(among(tombstones.c.image_id, gone))
        .order_by(tombstones.c.image_id)
        .with_for_update()
    )
    return gone, {row.image_id: row.version for row in stones}


def expired(connection: Connection, older_than_s: float, limit: int = 10_000) -> list[UUID]:
    """Take tombstones off that no writer of an old version can outlive.

    Those of images that still wait to be erased stay: the index would get its stone after
    PostgreSQL has forgotten it, and an image that comes back could not rise above it.

    Returns:
        Ids whose point may be forgotten: those without a live row.
    """
    waiting = select(images.c.id).where(
        images.c.id == tombstones.c.image_id, images.c.state == "deleted"
    )
    old = (
        select(tombstones.c.image_id)
        .where(tombstones.c.deleted_at < func.now() - timedelta(seconds=older_than_s))
        .where(~waiting.exists())
        .order_by(tombstones.c.image_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(old).scalars())
    alive = set(connection.execute(select(images.c.id).where(among(images.c.id, ids))).scalars())
    connection.execute(delete(tombstones).where(among(tombstones.c.image_id, ids)))
    return [image_id for image_id in ids if image_id not in alive]
