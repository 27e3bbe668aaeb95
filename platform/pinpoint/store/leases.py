"""Batch items as workers take, settle and lose them.

An item is worked on by one worker at a time, under a lease that ends by itself. Whoever finds an
item without a valid lease may take it: everything a worker does to a row can be done again.
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

from pinpoint.records import ClaimedItem, Rejected, limits
from pinpoint.records.limits import Unstorable
from pinpoint.store.rows import among, parse_hint, to_source
from pinpoint.store.tables import (
    batch_items,
    batches,
    embeddings,
    images,
    item_images,
    sources,
)


def _free(lease_s: float) -> ColumnElement[bool]:
    """Nobody holds the item, or its lease has ended.

    A lease that ends much later than one taken now was taken before the clock was set back, and
    would hold the item until the clock has caught up.
    """
    ends = batch_items.c.lease_until
    far = func.now() + timedelta(seconds=2 * lease_s)
    return or_(ends.is_(None), ends < func.now(), ends > far)


# Literal, so that the planner can prove that the partial index over open items fits.
_OPEN = text("batch_items.state IN ('received', 'stored')")
_HINT_CHARS: Final = 8 * limits.MAX_ATTRIBUTES_BYTES
"""More of a stored hint is not fetched: one that is longer is cut off and cannot be read."""
INTERNAL: Final = "internal_error"
"""Reason of an item whose work ended with an error that nobody foresaw."""


def claim(
    connection: Connection, ids: Sequence[UUID], worker: str, *, lease_s: float, max_attempts: int
) -> list[Row[Any]]:
    """Take free items, in order; items tried too often become `failed` and are not returned.

    Returns rows whose hints are still text: `to_claimed` reads one, outside this transaction, so
    that the try is counted whatever a row holds.

    Of several ids only those never tried are taken. A worker that dies with a chunk says nothing
    of any one file in it, and a broker may hand the same chunk out again: so each of its files
    loses one try to it, and the sweep sends them alone from then on.
    """
    free = (
        select(batch_items.c.id)
        .where(among(batch_items.c.id, ids), _OPEN, _free(lease_s))
        .order_by(batch_items.c.seq)
        .with_for_update(skip_locked=True)
    )
    if len(ids) > 1:
        free = free.where(batch_items.c.attempts == 0)
    taken = list(connection.execute(free).scalars())
    _give_up(connection, taken, max_attempts)
    connection.execute(
        update(batch_items)
        .where(among(batch_items.c.id, taken), _OPEN)
        .values(
            attempts=batch_items.c.attempts + 1,
            lease_owner=worker,
            lease_until=func.now() + timedelta(seconds=lease_s),
        )
    )
    return _claimed(connection, taken)


def _give_up(connection: Connection, ids: Sequence[UUID], max_attempts: int) -> None:
    """Fail items that were tried too often."""
    tried = connection.execute(
        select(batch_items.c.id, batch_items.c.file, batch_items.c.reason).where(
            among(batch_items.c.id, ids), batch_items.c.attempts >= max_attempts
        )
    )
    verdicts = {row.id: _given_up(row, max_attempts) for row in tried}
    settle(connection, verdicts, "failed")


def _given_up(row: Any, max_attempts: int) -> Rejected:
    lost = f"{max_attempts} workers were gone before they had a verdict"
    failed = f"{max_attempts} tries ended with an error that the log of the workers names"
    return Rejected(
        file=row.file,
        stage="read",
        reason=INTERNAL if row.reason == INTERNAL else "too_many_attempts",
        detail=(
            f"given up: {failed if row.reason == INTERNAL else lost}; "
            "`pinpoint batches retry` sends it again"
        ),
    )


def _claimed(connection: Connection, ids: Sequence[UUID]) -> list[Row[Any]]:
    rows = connection.execute(
        select(
            batch_items.c.id.label("item_id"),
            batch_items.c.batch_id,
            batch_items.c.external_id,
            batch_items.c.file,
            batch_items.c.locator,
            # As text: one that cannot be read would fail the rows of all others with it.
            func.left(cast(batch_items.c.hint, Text), _HINT_CHARS).label("hint"),
            batch_items.c.attempts,
            batch_items.c.seq.label("arrival"),
            sources,
        )
        .join(batches, batches.c.id == batch_items.c.batch_id)
        .join(sources, sources.c.id == batches.c.source_id)
        .where(among(batch_items.c.id, ids), _OPEN)
        .order_by(batch_items.c.seq)
    )
    return list(rows)


def to_claimed(row: Row[Any]) -> ClaimedItem:
    """A row of `claim` as an item.

    Raises:
        Unstorable: Its hint cannot be read, or it has a value that cannot be stored.
    """
    limits.check_item(row.external_id, row.file, row.locator, None)
    return ClaimedItem(
        id=row.item_id,
        organization_id=row.organization_id,
        source=to_source(row),
        external_id=row.external_id,
        file=row.file,
        locator=row.locator,
        hint=parse_hint(row.hint),
        attempts=row.attempts,
        arrival=row.arrival,
        batch_id=row.batch_id,
    )


def refused(row: Row[Any], error: Unstorable) -> Rejected:
    """The verdict on a row of `claim` that `to_claimed` refuses."""
    return Rejected(file=row.file, stage="read", reason=error.reason, detail=error.detail)


def settle(connection: Connection, verdicts: Mapping[UUID, Rejected], verdict: str) -> None:
    """Give open items their last word; one that has it already keeps it."""
    if not verdicts:
        return
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id == bindparam("item"), _OPEN)
        .values(
            state=verdict,
            stage=bindparam("at"),
            reason=bindparam("why"),
            detail=bindparam("text"),
            lease_owner=None,
            lease_until=None,
        ),
        [
            {"item": item, "at": what.stage, "why": what.reason, "text": what.detail}
            for item, what in sorted(verdicts.items())
        ],
    )
    if verdict == "failed":
        _fail_images(connection, verdicts)


def _fail_images(connection: Connection, verdicts: Mapping[UUID, Rejected]) -> None:
    """Rows of failed items that never got their vector say why they are in no answer."""
    for item, what in sorted(verdicts.items()):
        rows = select(item_images.c.image_id).where(item_images.c.item_id == item)
        embedded = (
            select(embeddings.c.image_id).where(embeddings.c.image_id == images.c.id).exists()
        )
        connection.execute(
            update(images)
            .where(images.c.id.in_(rows), images.c.state == "pending", ~embedded)
            .values(state="failed", failure=what.detail)
        )


def fail_images(connection: Connection, ids: Sequence[UUID], reason: str, detail: str) -> None:
    """Give pending images up that the index cannot take, and the items that wait for them."""
    failed = list(
        connection.execute(
            update(images)
            .where(among(images.c.id, ids), images.c.state == "pending")
            .values(state="failed", failure=detail, updated_at=func.now())
            .returning(images.c.id)
        ).scalars()
    )
    waiting = connection.execute(
        select(batch_items.c.id, batch_items.c.file)
        .join(item_images, item_images.c.item_id == batch_items.c.id)
        .where(among(item_images.c.image_id, failed), item_images.c.done.is_(False), _OPEN)
        .distinct()
    )
    verdicts = {
        row.id: Rejected(file=row.file, stage="index", reason=reason, detail=detail)
        for row in waiting
    }
    settle(connection, verdicts, "failed")


def settle_indexed(connection: Connection, image_ids: Sequence[UUID]) -> None:
    """Images are in the index at their present version: items that wait for nothing else are done.

    `version <=`: an image that was replaced meanwhile settles the older item too; both files were
    dealt with, and the later one is what the index holds.
    """
    connection.execute(
        update(item_images)
        .where(
            among(item_images.c.image_id, image_ids),
            item_images.c.done.is_(False),
            images.c.id == item_images.c.image_id,
            # Not those whose vector came too late for their bytes: another worker has them.
            images.c.state == "indexed",
            item_images.c.version <= images.c.version,
        )
        .values(done=True)
    )
    touched = select(item_images.c.item_id).where(among(item_images.c.image_id, image_ids))
    waiting = (
        select(item_images.c.item_id)
        .where(item_images.c.item_id == batch_items.c.id, item_images.c.done.is_(False))
        .exists()
    )
    connection.execute(
        update(batch_items)
        .where(batch_items.c.id.in_(touched), batch_items.c.state == "stored", ~waiting)
        .values(
            state=batch_items.c.outcome,
            # What an earlier try ended with.
            stage=None,
            reason=None,
            detail=None,
            lease_owner=None,
            lease_until=None,
        )
    )


def renew(connection: Connection, ids: Sequence[UUID], worker: str, *, lease_s: float) -> None:
    """Let a worker's leases end later; items that it has lost or settled stay as they are.

    Rows that somebody is writing are left for the next time, so that this waits for nobody.
    """
    held = (
        select(batch_items.c.id)
        .where(among(batch_items.c.id, ids), batch_items.c.lease_owner == worker, _OPEN)
        .with_for_update(skip_locked=True)
    )
    mine = list(connection.execute(held).scalars())
    connection.execute(
        update(batch_items)
        .where(among(batch_items.c.id, mine))
        .values(lease_until=func.now() + timedelta(seconds=lease_s))
    )


def give_back(connection: Connection, ids: Sequence[UUID], worker: str) -> None:
    """Free a worker's open items and take the try back that their claim counted.

    Items whose lease ended and that somebody else has taken meanwhile stay theirs.
    """
    connection.execute(
        update(batch_items)
        .where(among(batch_items.c.id, ids), batch_items.c.lease_owner == worker, _OPEN)
        .values(
            attempts=func.greatest(batch_items.c.attempts - 1, 0),
            lease_owner=None,
            lease_until=None,
        )
    )


def put_off(connection: Connection, verdicts: Mapping[UUID, Rejected], worker: str) -> None:
    """Free a worker's open items after an error; their try counts, and they say what it ended with.

    Items whose lease ended and that somebody else has taken meanwhile stay theirs.
    """
    for item, what in sorted(verdicts.items()):
        connection.execute(
            update(batch_items)
            .where(batch_items.c.id == item, batch_items.c.lease_owner == worker, _OPEN)
            .values(
                stage=what.stage,
                reason=what.reason,
                detail=what.detail,
                lease_owner=None,
                lease_until=None,
            )
        )


def unused(connection: Connection, locators: Sequence[str]) -> list[str]:
    """Those of these blobs that no image and no open item names."""
    blobs = {locator for locator in locators if locator.startswith("blob:")}
    if not blobs:
        return []
    by_image = select(images.c.locator).where(images.c.locator.in_(blobs))
    by_item = select(batch_items.c.locator).where(batch_items.c.locator.in_(blobs), _OPEN)
    used = connection.execute(by_image.union(by_item)).scalars()
    return sorted(blobs - set(used))


def release(connection: Connection, worker: str) -> int:
    """Give up every lease of a worker."""
    freed = connection.execute(
        update(batch_items)
        .where(batch_items.c.lease_owner == worker, _OPEN)
        .values(lease_owner=None, lease_until=None)
    )
    return int(freed.rowcount)


def holders(connection: Connection) -> list[str]:
    """Workers that hold a lease."""
    return list(
        connection.execute(
            select(batch_items.c.lease_owner)
            .where(_OPEN, batch_items.c.lease_owner.is_not(None))
            .distinct()
        ).scalars()
    )


def lost(connection: Connection, limit: int, *, lease_s: float) -> list[tuple[UUID, int]]:
    """Open items without a valid lease, oldest first, with their attempts."""
    rows = connection.execute(
        select(batch_items.c.id, batch_items.c.attempts)
        .where(_OPEN, _free(lease_s))
        .order_by(batch_items.c.seq)
        .limit(limit)
    )
    return [(row.id, row.attempts) for row in rows]
