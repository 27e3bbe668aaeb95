"""Tables of organizations, their API keys and the audit log (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.store.db.columns import organization_fk, timestamp_column
from pinpoint.store.db.metadata import metadata

organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    timestamp_column("created_at", stamped=True),
    timestamp_column("disabled_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("name", Text, nullable=False),
    # SHA-256 is sufficient: the secret is 256 random bits, so it cannot be guessed.
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    timestamp_column("created_at", stamped=True),
    timestamp_column("last_used_at"),
    timestamp_column("revoked_at"),
    # Finest statement about a position in a protected area, and minimum radius of each answer.
    Column("granularity", Text, nullable=False, server_default=text("'radius'")),
    Column("min_radius_m", Double, nullable=False, server_default=text("0")),
    CheckConstraint(
        "granularity IN ('exact', 'radius', 'city', 'country', 'refuse')", name="granularity"
    ),
    CheckConstraint("min_radius_m >= 0", name="min_radius_m"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("key_id", Uuid),
    Column("operation", Text, nullable=False),
    # A hash of the photo, never the photo.
    Column("photo_sha256", LargeBinary),
    # Bundle and index build of a query.
    Column("bundle", Text),
    Column("index_build", Text),
    # Rows that were sent, and parameters, of an export.
    Column("num_rows", BigInteger),
    Column("image_filter", JSONB),
    timestamp_column("created_at", stamped=True),
    Index("ix_audit_log_organization_id_created_at", "organization_id", "created_at"),
)
