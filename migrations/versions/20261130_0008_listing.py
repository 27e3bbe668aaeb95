"""Index for image lists ordered by file name, and the item state `canceled`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATES = "'received', 'stored', 'indexed', 'updated', 'duplicate', 'rejected', 'failed'"


def set_item_states(states: str) -> None:
    """Set the allowed states of an item."""
    op.drop_constraint(op.f("ck_batch_items_state"), "batch_items", type_="check")
    op.create_check_constraint(op.f("ck_batch_items_state"), "batch_items", f"state IN ({states})")


def upgrade() -> None:
    """Apply the revision."""
    op.create_index(
        "ix_images_listing",
        "images",
        ["source_id", "state", sa.text("substring(external_id COLLATE \"C\", '[^/]*$')"), "id"],
        unique=False,
    )
    set_item_states(f"{STATES}, 'canceled'")


def downgrade() -> None:
    """Revert the revision."""
    op.execute("UPDATE batch_items SET state = 'rejected' WHERE state = 'canceled'")
    set_item_states(STATES)
    op.drop_index("ix_images_listing", table_name="images")
