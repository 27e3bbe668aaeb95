"""Values by layer in each row, notes on batch items, and several roots per source."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IS_OWN_ROW = "organization_id = (SELECT tenant.organization())"
GRANTS = {"images": "SELECT, UPDATE", "batch_items": "SELECT, INSERT, UPDATE"}


def create_view(table: str, *, replace: bool) -> None:
    """Create the view of a table with its current columns."""
    op.execute(
        f"CREATE {'OR REPLACE ' if replace else ''}VIEW tenant.{table} AS "
        f"SELECT * FROM pinpoint.{table} WHERE {IS_OWN_ROW} WITH LOCAL CHECK OPTION"
    )


def upgrade() -> None:
    """Apply the revision."""
    op.add_column(
        "images",
        sa.Column("field_layers", JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column(
        "batch_items",
        sa.Column("notes", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    for table in GRANTS:
        create_view(table, replace=True)
    op.create_table(
        "source_roots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name="pk_source_roots"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_source_roots_organization_id"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "source_id"],
            ["sources.organization_id", "sources.id"],
            name="fk_source_roots_organization_id_source_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("source_id", "name", name="uq_source_roots_source_id_name"),
    )
    op.execute("ALTER TABLE source_roots ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY mine ON source_roots USING ({IS_OWN_ROW})")
    create_view("source_roots", replace=False)
    op.execute("GRANT SELECT ON tenant.source_roots TO pinpoint_api")
    # Ids of existing roots have no prefix: a root without a name preserves them.
    op.execute(
        "INSERT INTO source_roots (id, organization_id, source_id, name, path) "
        "SELECT gen_random_uuid(), organization_id, id, '', root FROM sources "
        "WHERE root IS NOT NULL"
    )


def downgrade() -> None:
    """Revert the revision."""
    op.execute("DROP VIEW tenant.source_roots")
    op.drop_table("source_roots")
    for table in GRANTS:
        op.execute(f"DROP VIEW tenant.{table}")
    op.drop_column("batch_items", "notes")
    op.drop_column("images", "field_layers")
    for table, rights in GRANTS.items():
        create_view(table, replace=False)
        op.execute(f"GRANT {rights} ON tenant.{table} TO pinpoint_api")
