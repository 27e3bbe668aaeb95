"""Maps tasks that the broker gave up to the states of their items."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, func, select, update

from pinpoint.records import Rejected
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.tables import batch_items
from pinpoint.store.ingest.leases import OPEN_ITEMS, finish_items, has_no_valid_lease


def record_dead_letter(connection: Connection, ids: Sequence[UUID], *, lease_ttl_s: float) -> None:
    """Record that the broker gave up the task of these items.

    Items of a chunk lose one attempt, so that the recovery sends them one by one. An item that was
    alone in its task fails: nothing else can have stopped the workers.
    """
    is_lost = (
        is_any_of(batch_items.c.id, ids),
        OPEN_ITEMS,
        has_no_valid_lease(batch_items.c.lease_until, lease_ttl_s),
    )
    if len(ids) > 1:
        attempts = func.greatest(batch_items.c.attempts, 1)
        connection.execute(update(batch_items).where(*is_lost).values(attempts=attempts))
        return
    lost_items = connection.execute(select(batch_items.c.id, batch_items.c.file).where(*is_lost))
    rejections = {
        row.id: Rejected(
            file=row.file,
            error_stage="read",
            error_code="too_many_attempts",
            error_message="given up: the broker delivered its task too often; "
            "`pinpoint batches retry` sends it again",
        )
        for row in lost_items
    }
    if rejections:
        finish_items(connection, rejections, "failed")
