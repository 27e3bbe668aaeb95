"""Thumbnails, batches, batch items and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "thumbnails",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "image_id"],
            ["images.organization_id", "images.id"],
            name=op.f("fk_thumbnails_organization_id_image_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_thumbnails_organization_id")
        ),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_thumbnails")),
    )
    op.create_table(
        "queries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("photo_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("index_build", sa.Text(), nullable=True),
        sa.Column(
            "asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_queries_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queries")),
    )
    op.create_index(
        "ix_queries_organization_id_asked_at",
        "queries",
        ["organization_id", "asked_at"],
        unique=False,
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_batches_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "source_id"],
            ["sources.organization_id", "sources.id"],
            name=op.f("fk_batches_organization_id_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_batches_organization_id_id")),
    )
    op.create_index(
        "ix_batches_organization_id_created_at",
        "batches",
        ["organization_id", "created_at"],
        unique=False,
    )
    op.create_table(
        "batch_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("hint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'stored', 'indexed', 'updated', 'duplicate', 'rejected', "
            "'failed')",
            name=op.f("ck_batch_items_state"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "batch_id"],
            ["batches.organization_id", "batches.id"],
            name=op.f("fk_batch_items_organization_id_batch_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_batch_items_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_items")),
        sa.UniqueConstraint("batch_id", "place", name=op.f("uq_batch_items_batch_id_place")),
        sa.UniqueConstraint(
            "organization_id", "id", name=op.f("uq_batch_items_organization_id_id")
        ),
    )
    op.create_index(
        "ix_batch_items_batch_id_state", "batch_items", ["batch_id", "state"], unique=False
    )
    op.create_index(
        "ix_batch_items_unsettled",
        "batch_items",
        ["seq"],
        unique=False,
        postgresql_where=sa.text("state IN ('received', 'stored')"),
    )
    op.create_index(
        "ix_batch_items_locator",
        "batch_items",
        ["locator"],
        unique=False,
        postgresql_where=sa.text("state IN ('received', 'stored')"),
    )
    op.create_table(
        "item_images",
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "image_id"],
            ["images.organization_id", "images.id"],
            name=op.f("fk_item_images_organization_id_image_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "item_id"],
            ["batch_items.organization_id", "batch_items.id"],
            name=op.f("fk_item_images_organization_id_item_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_item_images_organization_id")
        ),
        sa.PrimaryKeyConstraint("item_id", "image_id", name=op.f("pk_item_images")),
    )
    op.create_index("ix_item_images_image_id", "item_images", ["image_id"], unique=False)


def downgrade() -> None:
    """Revert the revision."""
    op.drop_index("ix_item_images_image_id", table_name="item_images")
    op.drop_table("item_images")
    op.drop_index(
        "ix_batch_items_locator",
        table_name="batch_items",
        postgresql_where=sa.text("state IN ('received', 'stored')"),
    )
    op.drop_index(
        "ix_batch_items_unsettled",
        table_name="batch_items",
        postgresql_where=sa.text("state IN ('received', 'stored')"),
    )
    op.drop_index("ix_batch_items_batch_id_state", table_name="batch_items")
    op.drop_table("batch_items")
    op.drop_index("ix_batches_organization_id_created_at", table_name="batches")
    op.drop_table("batches")
    op.drop_index("ix_queries_organization_id_asked_at", table_name="queries")
    op.drop_table("queries")
    op.drop_table("thumbnails")
