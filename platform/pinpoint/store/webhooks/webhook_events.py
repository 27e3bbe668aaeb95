"""Inserts events into the outbox of webhooks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import any_, func, insert, literal, or_, select

from pinpoint import tasks
from pinpoint.records.webhooks import EventData, WebhookEventType
from pinpoint.store.db.database import UnitOfWork
from pinpoint.store.db.webhook_tables import webhook_deliveries, webhooks


def insert_event(
    unit: UnitOfWork, organization_id: UUID, event_type: WebhookEventType, data: EventData
) -> int:
    """Insert an event for all webhooks of an organization; returns the number of deliveries.

    The deliveries belong to the caller's transaction: an event is sent if and only if the change
    that it reports was committed. They are sent after the commit.

    Args:
        unit: Transaction of the change.
        organization_id: Organization of the event.
        event_type: Type of the event.
        data: JSON values; ids and states only, because a webhook leaves this system.
    """
    receivers = unit.connection.execute(
        select(webhooks.c.id)
        .where(
            webhooks.c.organization_id == organization_id,
            webhooks.c.disabled_at.is_(None),
            or_(
                func.cardinality(webhooks.c.event_types) == 0,
                literal(event_type) == any_(webhooks.c.event_types),
            ),
        )
        .order_by(webhooks.c.id)
    ).scalars()
    return len(insert_deliveries(unit, organization_id, list(receivers), event_type, data))


def insert_deliveries(
    unit: UnitOfWork,
    organization_id: UUID,
    webhook_ids: Sequence[UUID],
    event_type: WebhookEventType,
    data: EventData,
) -> list[UUID]:
    """Insert an event for these webhooks; returns the ids of the deliveries."""
    if not webhook_ids:
        return []
    event_id = uuid4()
    body = json.dumps(
        {
            "type": event_type,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    rows = [
        {
            "id": uuid4(),
            "organization_id": organization_id,
            "webhook_id": webhook_id,
            "event_id": event_id,
            "event_type": event_type,
            "body": body,
        }
        for webhook_id in webhook_ids
    ]
    unit.connection.execute(insert(webhook_deliveries), rows)
    ids = [row["id"] for row in rows]
    unit.after_commit(tasks.DELIVER_WEBHOOKS, [UUID(str(delivery_id)) for delivery_id in ids])
    return [UUID(str(delivery_id)) for delivery_id in ids]
