"""Table of quality reports (`migrations/baseline/quality_reports.sql`)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.store.db.columns import organization_fk, timestamp_column
from pinpoint.store.db.metadata import metadata

quality_reports = Table(
    "quality_reports",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    timestamp_column("created_at", stamped=True),
    Column("kind", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    # `records.QualityReport` without the columns above, as JSON.
    Column("document", JSONB, nullable=False),
    CheckConstraint("kind IN ('evaluation', 'calibration')", name="kind"),
    Index("ix_quality_reports_organization_id_created_at", "organization_id", "created_at"),
)
