"""Organizations, API keys, sources and images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geography, Geometry
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public")
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_api_keys_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("attribution", sa.Text(), nullable=True),
        sa.Column("originals", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('photo', 'street')", name=op.f("ck_sources_kind")),
        sa.CheckConstraint(
            "originals IN ('reference', 'copy', 'rendition')", name=op.f("ck_sources_originals")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_sources_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_sources_organization_id_name")
        ),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_sources_organization_id_id")),
    )
    op.create_table(
        "tombstones",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_xid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_tombstones_organization_id")
        ),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_tombstones")),
    )
    op.create_geospatial_table(
        "images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("face", sa.Text(), nullable=True),
        sa.Column("panorama_id", sa.Text(), nullable=True),
        sa.Column(
            "geog",
            Geography(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeogFromText",
                name="geography",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
            ),
            sa.Computed("geog::geometry", persisted=True),
            nullable=True,
        ),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heading_deg", sa.Double(), nullable=True),
        sa.Column("altitude_m", sa.Double(), nullable=True),
        sa.Column("camera", sa.Text(), nullable=True),
        sa.Column("creator", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Text(), nullable=True),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("position_source", sa.Text(), nullable=False),
        sa.Column("time_source", sa.Text(), nullable=True),
        sa.Column("warnings", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=True),
        sa.Column("cell_r5", sa.BigInteger(), nullable=False),
        sa.Column("cell_r7", sa.BigInteger(), nullable=False),
        sa.Column("cell_r9", sa.BigInteger(), nullable=False),
        sa.Column(
            "attributes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "manual_fields", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("arrival", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed_xid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'indexed', 'failed', 'deleted')", name=op.f("ck_images_state")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_images_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "source_id"],
            ["sources.organization_id", "sources.id"],
            name=op.f("fk_images_organization_id_source_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_images_organization_id_id")),
    )
    op.create_index("ix_images_cell_r7_source_id", "images", ["cell_r7", "source_id"], unique=False)
    for kind in ("photo", "street"):
        op.create_index(
            f"ix_images_near_{kind}",
            "images",
            ["organization_id", "geog"],
            postgresql_using="gist",
            postgresql_where=sa.text(f"kind = '{kind}' AND state = 'indexed'"),
        )
    op.create_index("ix_images_locator", "images", ["locator"], unique=False)
    op.create_index("ix_images_changed_xid", "images", ["changed_xid"], unique=False)
    op.create_geospatial_index(
        "ix_images_geog",
        "images",
        ["geog"],
        unique=False,
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_geospatial_index(
        "ix_images_geom",
        "images",
        ["geom"],
        unique=False,
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_index(
        "ix_images_source_id_external_id", "images", ["source_id", "external_id"], unique=False
    )
    op.create_index("ix_images_source_id_sha256", "images", ["source_id", "sha256"], unique=False)
    op.create_index(
        "ix_images_unsettled",
        "images",
        ["state"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'deleted')"),
    )
    op.create_table(
        "cell_stats",
        sa.Column("cell", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("first_captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_cell_stats_organization_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "source_id"],
            ["sources.organization_id", "sources.id"],
            name=op.f("fk_cell_stats_organization_id_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("cell", "source_id", name=op.f("pk_cell_stats")),
    )
    op.create_index("ix_cell_stats_source_id", "cell_stats", ["source_id"], unique=False)
    op.create_table(
        "embeddings",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "image_id"],
            ["images.organization_id", "images.id"],
            name=op.f("fk_embeddings_organization_id_image_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_embeddings_organization_id")
        ),
        sa.PrimaryKeyConstraint("image_id", "contract", "channel", name=op.f("pk_embeddings")),
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_table("embeddings")
    op.drop_index("ix_cell_stats_source_id", table_name="cell_stats")
    op.drop_table("cell_stats")
    op.drop_index(
        "ix_images_unsettled",
        table_name="images",
        postgresql_where=sa.text("state IN ('pending', 'deleted')"),
    )
    op.drop_index("ix_images_source_id_sha256", table_name="images")
    op.drop_index("ix_images_source_id_external_id", table_name="images")
    op.drop_geospatial_index(
        "ix_images_geom", table_name="images", postgresql_using="gist", column_name="geom"
    )
    op.drop_geospatial_index(
        "ix_images_geog", table_name="images", postgresql_using="gist", column_name="geog"
    )
    op.execute("DROP INDEX ix_images_near_photo, ix_images_near_street")
    op.drop_index("ix_images_locator", table_name="images")
    op.drop_index("ix_images_changed_xid", table_name="images")
    op.drop_index("ix_images_cell_r7_source_id", table_name="images")
    op.drop_geospatial_table("images")
    op.drop_table("tombstones")
    op.drop_table("sources")
    op.drop_table("api_keys")
    op.drop_table("organizations")
