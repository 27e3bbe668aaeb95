"""SQLAlchemy definitions of the views of gallery rows (`migrations/baseline/views.sql`).

`visible_images` is the only source of gallery rows for users. `layer_images` is built on it: what
GIS clients read, through the role `pinpoint_reader`, which has no other rights.
"""

from __future__ import annotations

from typing import Any, Final

from geoalchemy2 import Geography, Geometry
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

_metadata = MetaData()

LAYERS_SCHEMA: Final = "layers"
READER_ROLE: Final = "pinpoint_reader"


def _public_columns() -> list[Column[Any]]:
    """Columns that both views have, with the same meaning."""
    return [
        Column("id", Uuid, primary_key=True),
        Column("source_id", Uuid),
        Column("source", Text),
        Column("source_kind", Text),
        Column("external_id", Text),
        # Last part of the external id.
        Column("file_name", Text),
        Column("cubemap_face", Text),
        Column("panorama_id", Text),
        # A face of a panorama whose file is kept.
        Column("is_panorama", Boolean),
        Column("geog", Geography("POINT", srid=4326, spatial_index=False)),
        Column("geom", Geometry("POINT", srid=4326, spatial_index=False)),
        Column("lat", Double),
        Column("lon", Double),
        Column("captured_at", DateTime(timezone=True)),
        Column("heading_deg", Double),
        Column("field_of_view_deg", Double),
        Column("altitude_m", Double),
        Column("camera", Text),
        Column("creator", Text),
        Column("sequence", Text),
        # The sequence, or else source and day.
        Column("collection_id", Uuid),
        # License of the image, or else of its source.
        Column("license", Text),
        # Attribution of the source, or else the creator.
        Column("attribution", Text),
        Column("position_source", Text),
        Column("time_source", Text),
        Column("size_bytes", BigInteger),
        Column("format", Text),
        Column("width_px", Integer),
        Column("height_px", Integer),
        # Without paths of the server in `layer_images`.
        Column("uri", Text),
        Column("cell_r5", BigInteger),
        Column("cell_r7", BigInteger),
        Column("cell_r9", BigInteger),
        Column("attributes", JSONB),
        Column("state", Text),
        Column("version", Integer),
        Column("created_at", DateTime(timezone=True)),
        Column("updated_at", DateTime(timezone=True)),
    ]


visible_images = Table(
    "visible_images",
    _metadata,
    *_public_columns(),
    Column("organization_id", Uuid),
    Column("sha256", LargeBinary),
    Column("warnings", ARRAY(Text)),
    Column("field_layers", JSONB),
    Column("manual_fields", ARRAY(Text)),
    Column("error_message", Text),
    # What API keys may see of the images of the source.
    Column("image_access", Text),
)

layer_images = Table(
    "images",
    _metadata,
    *_public_columns(),
    # Hex.
    Column("sha256", Text),
    schema=LAYERS_SCHEMA,
)

cell_counts = Table(
    "cell_counts",
    _metadata,
    Column("cell_id", BigInteger, primary_key=True),
    Column("resolution", SmallInteger),
    Column("source_id", Uuid, primary_key=True),
    Column("source", Text),
    Column("source_kind", Text),
    Column("license", Text),
    Column("attribution", Text),
    Column("images", Integer),
    # Faces of panoramas whose file is kept, and those panoramas.
    Column("panorama_faces", Integer),
    Column("panoramas", Integer),
    Column("first_captured_at", DateTime(timezone=True)),
    Column("last_captured_at", DateTime(timezone=True)),
    # Sums of the images' positions as vectors on the unit sphere, and their direction.
    Column("x_sum", Double),
    Column("y_sum", Double),
    Column("z_sum", Double),
    Column("geom", Geometry("POINT", srid=4326, spatial_index=False)),
    Column("lat", Double),
    Column("lon", Double),
    schema=LAYERS_SCHEMA,
)
"""Images by H3 cell and source."""

layer_queries = Table(
    "queries",
    _metadata,
    Column("id", Uuid, primary_key=True),
    Column("created_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    Column("lat", Double),
    Column("lon", Double),
    Column("radius_m", Double),
    Column("probability", Double),
    Column("calibrated", Boolean),
    Column("abstention_reason", Text),
    Column("bundle", Text),
    Column("geom", Geometry("POINT", srid=4326, spatial_index=False)),
    schema=LAYERS_SCHEMA,
)
"""Kept queries that have not expired."""
