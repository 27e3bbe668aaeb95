"""Tables of webhooks and their deliveries (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from pinpoint.store.db.columns import organization_fk, tenant_fk, timestamp_column
from pinpoint.store.db.metadata import metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("url", Text, nullable=False),
    # Empty: all types.
    Column("event_types", ARRAY(Text), nullable=False),
    # Encrypted (`store/webhooks/secret_cipher.py`): a delivery needs the secret itself.
    Column("secret", LargeBinary, nullable=False),
    # After a rotation both secrets sign, until this time.
    Column("previous_secret", LargeBinary),
    timestamp_column("previous_secret_expires_at"),
    timestamp_column("created_at", stamped=True),
    timestamp_column("disabled_at"),
    # First failed attempt since the last successful one.
    timestamp_column("failing_since"),
    UniqueConstraint("organization_id", "id"),
    Index("ix_webhooks_organization_id_created_at", "organization_id", "created_at"),
)

# The outbox: one row for each event and webhook, inserted with the event's own changes.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("webhook_id", Uuid, nullable=False),
    # Equal for all webhooks and attempts of an event; receivers ignore an id that they know.
    Column("event_id", Uuid, nullable=False),
    Column("event_type", Text, nullable=False),
    # The bytes that are signed and sent.
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    # A claim moves it into the future; a worker that dies loses the claim by itself.
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("response_status", SmallInteger),
    Column("error_message", Text),
    timestamp_column("created_at", stamped=True),
    timestamp_column("finished_at"),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    tenant_fk("webhooks", "webhook_id"),
    Index("ix_webhook_deliveries_webhook_id_created_at", "webhook_id", "created_at"),
    Index(
        "ix_webhook_deliveries_pending",
        "next_attempt_at",
        postgresql_where=text("status = 'pending'"),
    ),
)
