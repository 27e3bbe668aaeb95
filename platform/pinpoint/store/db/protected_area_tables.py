"""Table of protected areas (`migrations/baseline/protected_areas.sql`)."""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Index, Table, Text, Uuid, text

from pinpoint.store.db.columns import timestamp_column
from pinpoint.store.db.metadata import metadata

protected_areas = Table(
    "protected_areas",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Null: all organizations of the installation.
    Column("organization_id", Uuid, ForeignKey("organizations.id")),
    Column("name", Text, nullable=False),
    Column("granularity", Text, nullable=False),
    Column("min_radius_m", Double),
    # Why the area is protected, for its readers.
    Column("purpose", Text, nullable=False),
    Column("geom", Geometry("MULTIPOLYGON", srid=4326, spatial_index=False), nullable=False),
    timestamp_column("created_at", stamped=True),
    timestamp_column("updated_at", stamped=True),
    # A deleted area protects nothing; its row remains until `pending_geom` is applied.
    timestamp_column("deleted_at"),
    # Where rows may have the granularity of an earlier state of the area (set by trigger).
    Column("pending_geom", Geometry("GEOMETRY", srid=4326, spatial_index=False)),
    CheckConstraint("granularity IN ('radius', 'city', 'country', 'refuse')", name="granularity"),
    CheckConstraint("(granularity = 'radius') = (min_radius_m IS NOT NULL)", name="min_radius_m"),
    Index(
        "uq_protected_areas_organization_id_name",
        "organization_id",
        "name",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    ),
    Index("ix_protected_areas_geom", "geom", postgresql_using="gist"),
    Index("ix_protected_areas_pending", "id", postgresql_where=text("pending_geom IS NOT NULL")),
)
