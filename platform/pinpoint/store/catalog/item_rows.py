"""Inserts the items of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, insert, select, text

from pinpoint.errors import ConflictError, NotFoundError
from pinpoint.records import NewItem
from pinpoint.store.db.rows import override_to_json
from pinpoint.store.db.tables import batch_items, batches

# Literal, so that the planner can prove that the partial index applies.
_IS_REMOTE = text("batch_items.uri NOT LIKE 'blob:%' AND batch_items.uri NOT LIKE 'file:%'")


def insert_items(
    connection: Connection,
    organization_id: UUID,
    batch_id: UUID,
    items: Sequence[NewItem],
    *,
    skip_existing: bool,
) -> list[dict[str, Any]]:
    """Insert files at the end of a batch; returns the values of the inserted rows, in order.

    Args:
        connection: Of the organization.
        organization_id: Owner of the batch.
        batch_id: The batch.
        items: The files.
        skip_existing: Whether to skip remote items whose external id the batch has.

    Raises:
        NotFoundError: The organization has no such batch.
        ConflictError: The batch is closed.
    """
    lock_open_batch(connection, organization_id, batch_id)
    if skip_existing:
        items = _drop_existing(connection, organization_id, batch_id, items)
    last = connection.execute(
        select(func.coalesce(func.max(batch_items.c.position), 0)).where(
            batch_items.c.organization_id == organization_id, batch_items.c.batch_id == batch_id
        )
    ).scalar_one()
    values = [
        {
            "id": uuid4(),
            "organization_id": organization_id,
            "batch_id": batch_id,
            "position": position,
            **_item_values(item),
        }
        for position, item in enumerate(items, start=last + 1)
    ]
    if values:
        connection.execute(insert(batch_items), values)
    return values


def lock_open_batch(connection: Connection, organization_id: UUID, batch_id: UUID) -> None:
    """Lock a batch, so that the positions of its items are consecutive.

    Raises:
        NotFoundError: The organization has no such batch.
        ConflictError: The batch is closed.
    """
    row = connection.execute(
        select(batches.c.closed_at)
        .where(batches.c.organization_id == organization_id, batches.c.id == batch_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no batch {batch_id}")
    if row.closed_at is not None:
        raise ConflictError(f"batch {batch_id} is closed; open a new one")


def _drop_existing(
    connection: Connection, organization_id: UUID, batch_id: UUID, items: Sequence[NewItem]
) -> list[NewItem]:
    by_id = {item.external_id: item for item in items}
    existing = connection.execute(
        select(batch_items.c.external_id).where(
            batch_items.c.organization_id == organization_id,
            batch_items.c.batch_id == batch_id,
            batch_items.c.external_id.in_(list(by_id)),
            _IS_REMOTE,
        )
    ).scalars()
    for external_id in existing:
        by_id.pop(external_id, None)
    return list(by_id.values())


def _item_values(item: NewItem) -> dict[str, Any]:
    rejection = item.rejected
    return {
        "external_id": item.external_id,
        "file": item.file,
        "uri": item.uri,
        "metadata_override": override_to_json(item.metadata_override),
        "status": "rejected" if rejection else "received",
        "error_stage": rejection.error_stage if rejection else None,
        "error_code": rejection.error_code if rejection else None,
        "error_message": rejection.error_message if rejection else None,
    }
