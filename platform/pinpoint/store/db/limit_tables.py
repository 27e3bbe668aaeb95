"""Tables of the limits of API keys (see `store.db.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    LargeBinary,
    Table,
    Uuid,
    text,
)

from pinpoint.store.db.columns import timestamp_column
from pinpoint.store.db.metadata import metadata

key_limits = Table(
    "key_limits",
    metadata,
    Column("key_id", Uuid, ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    # Null: the limit of the settings; 0: no limit.
    Column("requests_per_minute", BigInteger),
    Column("photos_per_day", BigInteger),
    Column("bytes_per_day", BigInteger),
    Column("concurrent_jobs", BigInteger),
    timestamp_column("updated_at", stamped=True),
    CheckConstraint(
        "least(requests_per_minute, photos_per_day, bytes_per_day, concurrent_jobs) >= 0",
        name="not_negative",
    ),
)

misuse_hash_keys = Table(
    "misuse_hash_keys",
    metadata,
    Column("id", Boolean, primary_key=True, server_default=text("true")),
    # Secret of the hashes of creators and cells that the misuse rule counts.
    Column("hash_key", LargeBinary, nullable=False),
    CheckConstraint("id", name="single"),
)
