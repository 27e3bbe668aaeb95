"""The metadata with all tables: every module of tables is imported here."""

from __future__ import annotations

from pinpoint.store.db import access_tables, protected_area_tables, tables
from pinpoint.store.db.metadata import metadata

TABLE_MODULES = (access_tables, protected_area_tables, tables)

__all__ = ["TABLE_MODULES", "metadata"]
