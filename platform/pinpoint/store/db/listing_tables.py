"""Table of bucket listings (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from pinpoint.store.db.columns import organization_fk, tenant_fk, timestamp_column
from pinpoint.store.db.metadata import metadata

bucket_listings = Table(
    "bucket_listings",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("batch_id", Uuid, nullable=False),
    # `s3://bucket/prefix` or `gs://bucket/prefix`.
    Column("url", Text, nullable=False),
    # Last key whose item is in the batch; the listing continues after it.
    Column("after_key", Text),
    # Attempts since the last page that was added.
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    # Whether the batch was closed by its caller; it closes with its last listing.
    Column("closes_batch", Boolean, nullable=False, server_default=text("false")),
    timestamp_column("created_at", stamped=True),
    timestamp_column("finished_at"),
    tenant_fk("batches", "batch_id"),
    Index(
        "ix_bucket_listings_unfinished",
        "batch_id",
        postgresql_where=text("finished_at IS NULL"),
    ),
)
