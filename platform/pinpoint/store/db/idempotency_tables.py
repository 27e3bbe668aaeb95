"""Table of answers to requests with `Idempotency-Key` (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.store.db.columns import organization_fk
from pinpoint.store.db.metadata import metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    organization_fk(),
    # Id of the API key, or of the organization if its operator is the caller.
    Column("caller_id", Uuid, nullable=False),
    Column("route", Text, nullable=False),
    Column("key_sha256", LargeBinary, nullable=False),
    # SHA-256 of path, query string and content of the request.
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("organization_id", "caller_id", "route", "key_sha256"),
    Index("ix_idempotency_keys_organization_id_expires_at", "organization_id", "expires_at"),
)
