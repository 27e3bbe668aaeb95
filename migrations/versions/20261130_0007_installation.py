"""Installation id, which its index carries, and indexes for locators of any length."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OPEN_ITEM = "state IN ('received', 'stored')"

# Created once, by the database: a restored dump remains the same installation.
INSERT_INSTALLATION = "INSERT INTO installation (id) VALUES (gen_random_uuid())"

INSTALLATION = """
CREATE FUNCTION tenant.installation() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT id FROM installation $$
"""


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "installation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("only_row", name=op.f("ck_installation_only_row")),
        sa.PrimaryKeyConstraint("only_row", name=op.f("pk_installation")),
    )
    op.execute(INSERT_INSTALLATION)
    op.execute("ALTER TABLE installation ENABLE ROW LEVEL SECURITY")
    op.execute(INSTALLATION)
    op.execute("REVOKE ALL ON FUNCTION tenant.installation() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION tenant.installation() TO pinpoint_api")
    # A path of 4,096 bytes gives a locator of 12 kB; a b-tree entry is limited to 2.7 kB. A hash
    # index stores no text, and locators are only compared for equality.
    op.drop_index("ix_images_locator", table_name="images")
    op.drop_index("ix_batch_items_locator", table_name="batch_items")
    op.create_index("ix_images_locator", "images", ["locator"], postgresql_using="hash")
    op.create_index(
        "ix_batch_items_locator",
        "batch_items",
        ["locator"],
        postgresql_using="hash",
        postgresql_where=sa.text(OPEN_ITEM),
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_index("ix_batch_items_locator", table_name="batch_items")
    op.drop_index("ix_images_locator", table_name="images")
    op.create_index("ix_images_locator", "images", ["locator"], unique=False)
    op.create_index(
        "ix_batch_items_locator",
        "batch_items",
        ["locator"],
        unique=False,
        postgresql_where=sa.text(OPEN_ITEM),
    )
    op.execute("DROP FUNCTION tenant.installation()")
    op.drop_table("installation")
