"""Tables of locate jobs and their items (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.store.db.columns import organization_fk, tenant_fk, timestamp_column
from pinpoint.store.db.metadata import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    # Key that created the job; null for the operator.
    Column("key_id", Uuid),
    Column("state", Text, nullable=False),
    # Fields of `/v1/locate` for all items; those of an item have precedence.
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'")),
    # Items are the lines of a JSONL file, and uploaded files belong to lines.
    Column("has_lines", Boolean, nullable=False),
    timestamp_column("created_at", stamped=True),
    timestamp_column("started_at"),
    # Time of the last claim of items: jobs take turns.
    timestamp_column("claimed_at"),
    timestamp_column("ended_at"),
    # An unfinished job expires then; of an ended one all rows are deleted.
    Column("expires_at", DateTime(timezone=True), nullable=False),
    # The API shows no deleted job; a worker deletes its photos, then its rows.
    timestamp_column("deleted_at"),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint(
        "state IN ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', "
        "'canceling', 'canceled')",
        name="state",
    ),
    Index("ix_jobs_organization_id_created_at", "organization_id", "created_at", "id"),
    Index(
        "ix_jobs_open",
        "created_at",
        postgresql_where=text("state IN ('validating', 'in_progress', 'finalizing', 'canceling')"),
    ),
)

job_items = Table(
    "job_items",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("job_id", Uuid, nullable=False),
    # Ordinal in the job, from 1.
    Column("position", BigInteger, nullable=False),
    # Line of the JSONL file, from 1; null for an uploaded file.
    Column("line_number", Integer),
    Column("custom_id", Text),
    # Name of the uploaded file, or of the upload that a line refers to.
    Column("file", Text),
    Column("url", Text),
    # Blob of the photo; null before its upload and after its deletion.
    Column("uri", Text),
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    # The answer as JSON text, byte for byte as `/v1/locate` would return it.
    Column("result", Text),
    # Estimated position, for GeoParquet.
    Column("lat", Double),
    Column("lon", Double),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("lease_owner", Text),
    timestamp_column("lease_until"),
    timestamp_column("created_at", stamped=True),
    timestamp_column("ended_at"),
    UniqueConstraint("job_id", "position"),
    CheckConstraint("state IN ('open', 'completed', 'failed', 'canceled')", name="state"),
    tenant_fk("jobs", "job_id"),
    Index("ix_job_items_job_id_state", "job_id", "state", "position"),
    Index(
        "uq_job_items_custom_id",
        "job_id",
        "custom_id",
        unique=True,
        postgresql_where=text(
            "error_code IS DISTINCT FROM 'duplicate_custom_id' "
            "AND error_code IS DISTINCT FROM 'invalid_line'"
        ),
    ),
    Index("ix_job_items_job_id_file", "job_id", "file", postgresql_where=text("state = 'open'")),
    Index(
        "ix_job_items_uri",
        "uri",
        postgresql_using="hash",
        postgresql_where=text("uri IS NOT NULL"),
    ),
    Index("ix_job_items_photos", "job_id", postgresql_where=text("uri IS NOT NULL")),
)
