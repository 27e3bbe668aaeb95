"""The metadata with all tables: every module of tables is imported here."""

from __future__ import annotations

from pinpoint.store.db import (
    access_tables,
    idempotency_tables,
    job_tables,
    limit_tables,
    listing_tables,
    protected_area_tables,
    quality_report_tables,
    tables,
    webhook_tables,
)
from pinpoint.store.db.metadata import metadata

TABLE_MODULES = (
    access_tables,
    listing_tables,
    idempotency_tables,
    job_tables,
    limit_tables,
    protected_area_tables,
    quality_report_tables,
    tables,
    webhook_tables,
)

__all__ = ["TABLE_MODULES", "metadata"]
