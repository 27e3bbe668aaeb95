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
    # The secret before the last rotation; after the overlap it only explains a 401.
    Column("previous_secret_sha256", LargeBinary, unique=True),
    timestamp_column("previous_secret_expires_at"),
    Column("role", Text),
    # All scopes, those of the role included.
    Column("scopes", ARRAY(Text), nullable=False),
    timestamp_column("created_at", stamped=True),
    timestamp_column("expires_at"),
    timestamp_column("last_used_at"),
    timestamp_column("rotated_at"),
    timestamp_column("revoked_at"),
    Index("ix_api_keys_organization_id_created_at", "organization_id", "created_at", "id"),
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
    Column("status", Text, nullable=False),
    Column("request_id", Text),
    # The image, batch, source, key, kept query or organization that the operation is about.
    Column("target_id", Uuid),
    # A hash of the photo, never the photo.
    Column("photo_sha256", LargeBinary),
    # Bundle and index build of a query.
    Column("bundle", Text),
    Column("index_build", Text),
    # Rows that were sent or changed, and the parameters of an export.
    Column("num_rows", BigInteger),
    Column("image_filter", JSONB(none_as_null=True)),
    # The located point, if PINPOINT_API_AUDIT_POSITIONS allows it.
    Column("lat", Double),
    Column("lon", Double),
    timestamp_column("created_at", stamped=True),
    Index("ix_audit_log_organization_id_created_at", "organization_id", "created_at", "id"),
    Index("ix_audit_log_organization_id_key_id", "organization_id", "key_id", "created_at", "id"),
    Index(
        "ix_audit_log_organization_id_operation",
        "organization_id",
        "operation",
        "created_at",
        "id",
    ),
    Index("ix_audit_log_created_at", "created_at", postgresql_using="brin"),
)
