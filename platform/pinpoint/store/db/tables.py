"""SQLAlchemy definitions of the tables; created and changed only by `migrations/`.

Names are deliberately unqualified. The owner's search path contains the base tables in schema
`pinpoint`; the API's contains the views of the same names in schema `tenant`, which show one
organization. Therefore one set of statements serves both, and the API's role has no right on a base
table.
"""

from __future__ import annotations

from geoalchemy2 import Geography, Geometry
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.records import SOURCE_KINDS
from pinpoint.store.db.columns import (
    COLLECTION_ID,
    GROUP_COLUMNS,
    attributes_index,
    collection_index,
    file_name_index,
    group_index,
    organization_fk,
    planar_index,
    spatial_index,
    tenant_fk,
    timestamp_column,
)
from pinpoint.store.db.metadata import metadata

sources = Table(
    "sources",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("license", Text),
    Column("attribution", Text),
    Column("originals", Text, nullable=False),
    # What API keys may see of its images.
    Column("image_access", Text, nullable=False, server_default=text("'full'")),
    timestamp_column("created_at", stamped=True),
    timestamp_column("erased_at"),
    UniqueConstraint("organization_id", "name"),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint("kind IN ('photo', 'street')", name="kind"),
    CheckConstraint("image_access IN ('none', 'thumbnail', 'full')", name="image_access"),
    CheckConstraint("originals IN ('reference', 'copy', 'rendition')", name="originals"),
)

source_roots = Table(
    "source_roots",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("source_id", Uuid, nullable=False),
    # First part of the ids of files below the root. Empty: ids are paths below the root alone.
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    timestamp_column("created_at", stamped=True),
    tenant_fk("sources", "source_id"),
    UniqueConstraint("source_id", "name"),
)

images = Table(
    "images",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("source_id", Uuid, nullable=False),
    # Copied from the source, so that the evidence statement needs no join inside its loop.
    Column("source_kind", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("cubemap_face", Text),
    Column("panorama_id", Text),
    Column("geog", Geography("POINT", srid=4326, spatial_index=False), nullable=False),
    # For tiles and GIS clients; logic uses `geog` (geometry is wrong at ±180°).
    Column(
        "geom",
        Geometry("POINT", srid=4326, spatial_index=False),
        Computed("geog::geometry", persisted=True),
    ),
    timestamp_column("captured_at"),
    Column("heading_deg", Double),
    # Horizontal; null unless known.
    Column("field_of_view_deg", Double),
    Column("altitude_m", Double),
    Column("camera", Text),
    Column("creator", Text),
    Column("sequence", Text),
    # The sequence, or else source and day; `gallery/pictures.py` explains it.
    Column("collection_id", Uuid, Computed(COLLECTION_ID, persisted=True)),
    Column("license", Text),
    Column("position_source", Text, nullable=False),
    Column("time_source", Text),
    # One sentence for each value that was chosen over another one, or ignored.
    Column("warnings", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("sha256", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("format", Text, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("uri", Text),
    Column("cell_r5", BigInteger, nullable=False),
    Column("cell_r7", BigInteger, nullable=False),
    Column("cell_r9", BigInteger, nullable=False),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    # Values by layer (`records/field_layers.py`); the columns above hold the merged values.
    Column("field_layers", JSONB, nullable=False, server_default=text("'{}'")),
    # Names of the fields in the layer `manual`.
    Column("manual_fields", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    Column("error_message", Text),
    Column("version", Integer, nullable=False),
    # `ingest_seq` of the item that last wrote the row: an earlier file never replaces it.
    Column("ingest_seq", BigInteger, nullable=False, server_default=text("0")),
    # Transaction that last wrote the row (set by trigger): the watermark of index rebuilds.
    Column("modified_xid", BigInteger, nullable=False, server_default=text("0")),
    # Granularity of its protected areas (set by trigger); `exact` outside of all areas.
    Column("granularity", Text, nullable=False, server_default=text("'exact'")),
    timestamp_column("created_at", stamped=True),
    timestamp_column("updated_at", stamped=True),
    tenant_fk("sources", "source_id", cascade=False),
    UniqueConstraint("organization_id", "id"),
    CheckConstraint("state IN ('pending', 'indexed', 'failed', 'deleted')", name="state"),
    Index("ix_images_geog", "geog", postgresql_using="gist"),
    *(spatial_index(kind) for kind in SOURCE_KINDS),
    Index("ix_images_organization_id_geom", "organization_id", "geom", postgresql_using="gist"),
    *(planar_index(kind) for kind in SOURCE_KINDS),
    Index("ix_images_source_id_external_id", "source_id", "external_id"),
    Index("ix_images_source_id_sha256", "source_id", "sha256"),
    *(file_name_index(column) for column in ("organization_id", "source_id")),
    Index("ix_images_organization_id_captured_at", "organization_id", "captured_at"),
    attributes_index(),
    Index("ix_images_cell_r7_source_id", "cell_r7", "source_id"),
    Index("ix_images_modified_xid", "modified_xid"),
    collection_index(),
    Index("ix_images_uri", "uri", postgresql_using="hash"),
    *(group_index(column) for column in (*GROUP_COLUMNS, "camera")),
    # Pages of a layer with a filter on one of these.
    Index("ix_images_organization_id_source_id_id", "organization_id", "source_id", "id"),
    Index("ix_images_organization_id_source_kind_id", "organization_id", "source_kind", "id"),
    Index("ix_images_not_indexed", "state", postgresql_where=text("state <> 'indexed'")),
)

thumbnails = Table(
    "thumbnails",
    metadata,
    Column("image_id", Uuid, primary_key=True),
    organization_fk(),
    Column("jpeg", LargeBinary, nullable=False),
    tenant_fk("images", "image_id"),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("image_id", Uuid, nullable=False),
    Column("contract", Text, nullable=False),
    Column("channel", Text, nullable=False),
    organization_fk(),
    # Little-endian fp16, identical to the numbers in the index.
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("image_id", "contract", "channel"),
    tenant_fk("images", "image_id"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("image_id", Uuid, primary_key=True),
    organization_fk(),
    Column("version", Integer, nullable=False),
    Column("modified_xid", BigInteger, nullable=False, server_default=text("0")),
    timestamp_column("deleted_at", stamped=True),
)

# One row for each H3 cell of resolution 3 to 7 and source; a coarse cell is the sum of the cells of
# resolution 7 with this parent.
cell_stats = Table(
    "cell_stats",
    metadata,
    Column("cell", BigInteger, nullable=False),
    Column("source_id", Uuid, nullable=False),
    organization_fk(),
    # Images of each granularity have counters of their own.
    Column("granularity", Text, nullable=False, server_default=text("'exact'")),
    Column("resolution", SmallInteger, Computed("((cell >> 52) & 15)::smallint", persisted=True)),
    Column("images", Integer, nullable=False),
    # Images that are cube-map faces, and those that are front faces.
    Column("panorama_faces", Integer, nullable=False),
    Column("panoramas", Integer, nullable=False),
    timestamp_column("first_captured_at"),
    timestamp_column("last_captured_at"),
    # Sums of the images' positions as vectors on the unit sphere.
    Column("x_sum", Double, nullable=False),
    Column("y_sum", Double, nullable=False),
    Column("z_sum", Double, nullable=False),
    # Center of the images.
    Column(
        "geom",
        Geometry("POINT", srid=4326, spatial_index=False),
        Computed(
            "ST_SetSRID(ST_MakePoint(degrees(atan2(y_sum, x_sum)), "
            "degrees(atan2(z_sum, sqrt(x_sum * x_sum + y_sum * y_sum)))), 4326)",
            persisted=True,
        ),
    ),
    PrimaryKeyConstraint("cell", "source_id", "granularity"),
    tenant_fk("sources", "source_id"),
    Index("ix_cell_stats_source_id_cell", "source_id", "cell"),
    Index("ix_cell_stats_organization_id_resolution_cell", "organization_id", "resolution", "cell"),
    Index("ix_cell_stats_near", "organization_id", "resolution", "geom", postgresql_using="gist"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    Column("source_id", Uuid, nullable=False),
    timestamp_column("created_at", stamped=True),
    timestamp_column("closed_at"),
    tenant_fk("sources", "source_id"),
    UniqueConstraint("organization_id", "id"),
    Index("ix_batches_organization_id_created_at", "organization_id", "created_at"),
)

batch_items = Table(
    "batch_items",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Order of arrival over all organizations, for workers; never shown to users.
    Column("ingest_seq", BigInteger, Identity(always=False), nullable=False),
    organization_fk(),
    Column("batch_id", Uuid, nullable=False),
    # Ordinal in the batch, from 1, shown to users: gaps in `ingest_seq` would reveal how much
    # other organizations ingest.
    Column("position", BigInteger, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("metadata_override", JSONB),
    Column("status", Text, nullable=False),
    # Status of the item after all its images are indexed.
    Column("final_status", Text),
    # Stage, code and message of the error if the item has no image; see `media/checks.py`.
    Column("error_stage", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    # Notes for the user, independent of the final status.
    Column("notes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("lease_owner", Text),
    timestamp_column("lease_until"),
    # Set by trigger: time of the (repeated) arrival and of the final status.
    timestamp_column("received_at", stamped=True),
    timestamp_column("processed_at"),
    CheckConstraint(
        "status IN ('received', 'stored', 'indexed', 'updated', 'duplicate', 'rejected', 'failed', "
        "'canceled')",
        name="status",
    ),
    tenant_fk("batches", "batch_id"),
    UniqueConstraint("batch_id", "position"),
    UniqueConstraint("organization_id", "id"),
    Index("ix_batch_items_batch_id_status", "batch_id", "status"),
    Index(
        "ix_batch_items_remote",
        "batch_id",
        "external_id",
        postgresql_where=text("uri NOT LIKE 'blob:%' AND uri NOT LIKE 'file:%'"),
    ),
    Index(
        "ix_batch_items_open",
        "ingest_seq",
        postgresql_where=text("status IN ('received', 'stored')"),
    ),
    Index(
        "ix_batch_items_uri",
        "uri",
        # A hash index stores no text: a URI may be longer than a b-tree entry.
        postgresql_using="hash",
        postgresql_where=text("status IN ('received', 'stored')"),
    ),
)

item_images = Table(
    "item_images",
    metadata,
    Column("item_id", Uuid, nullable=False),
    Column("image_id", Uuid, nullable=False),
    organization_fk(),
    Column("version", Integer, nullable=False),
    Column("processed", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("item_id", "image_id"),
    tenant_fk("batch_items", "item_id"),
    tenant_fk("images", "image_id"),
    Index("ix_item_images_image_id", "image_id"),
)

# Answers that their callers asked to keep; the layer `queries` shows them until they expire.
kept_queries = Table(
    "kept_queries",
    metadata,
    Column("id", Uuid, primary_key=True),
    organization_fk(),
    timestamp_column("created_at", stamped=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("geom", Geometry("POINT", srid=4326, spatial_index=False), nullable=False),
    Column("radius_m", Double),
    Column("probability", Double),
    Column("calibrated", Boolean, nullable=False),
    Column("abstention_reason", Text),
    Column("bundle", Text, nullable=False),
    # A coarse answer is visible to all callers; the others have the granularity of their point.
    Column("is_coarse", Boolean, nullable=False, server_default=text("false")),
    Column("granularity", Text, nullable=False, server_default=text("'exact'")),
    Index("ix_kept_queries_organization_id_created_at", "organization_id", "created_at"),
    Index("ix_kept_queries_expires_at", "expires_at"),
    Index("ix_kept_queries_geom", "geom", postgresql_using="gist"),
)

# One row, created by the migration: the id that the index of this installation carries.
installation = Table(
    "installation",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("only_row", Boolean, primary_key=True, server_default=text("true")),
    timestamp_column("created_at", stamped=True),
    CheckConstraint("only_row", name="only_row"),
)

# Statistics over all organizations that tasks save for `/metrics` and `pinpoint status`.
maintenance_stats = Table(
    "maintenance_stats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Double, nullable=False),
    timestamp_column("updated_at", stamped=True),
)
