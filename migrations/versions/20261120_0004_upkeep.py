"""Operator statistics: times of arrival and of the final status, and numbers saved by jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# In the database instead of the code's statements, so that it also covers writers of the previous
# revision.
STAMP_ITEM = """
CREATE FUNCTION stamp_item() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.state IS DISTINCT FROM OLD.state THEN
        IF NEW.state IN ('received', 'stored') THEN
            IF TG_OP = 'UPDATE' AND OLD.state NOT IN ('received', 'stored') THEN
                NEW.received_at := now();
            END IF;
            NEW.settled_at := NULL;
        ELSE
            NEW.settled_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$
"""

TRIGGER = (
    "CREATE TRIGGER stamp_item BEFORE INSERT OR UPDATE OF state ON batch_items "
    "FOR EACH ROW EXECUTE FUNCTION stamp_item()"
)

# Statistics over all organizations; no name, no id. Every count stops at `most`, so that a call
# never reads a table of millions; such a number means "at least".
TOTALS = """
CREATE FUNCTION tenant.totals(most integer)
RETURNS TABLE (name text, value double precision, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
    WITH open_items AS MATERIALIZED (
        SELECT i.state, i.received_at, i.lease_until FROM batch_items i
         WHERE i.state IN ('received', 'stored') ORDER BY i.seq LIMIT most),
    unsettled AS MATERIALIZED (
        (SELECT i.state FROM images i WHERE i.state = 'pending' LIMIT most)
        UNION ALL
        (SELECT i.state FROM images i WHERE i.state = 'deleted' LIMIT most)),
    refused AS MATERIALIZED (
        SELECT i.state, i.reason FROM batch_items i
         WHERE i.state IN ('rejected', 'failed') AND i.settled_at > now() - interval '24 hours'
         ORDER BY i.settled_at DESC LIMIT most)
    SELECT 'items.' || s.state, count(o.state)::float8, now()
      FROM (VALUES ('received'), ('stored')) AS s(state)
      LEFT JOIN open_items o ON o.state = s.state GROUP BY s.state
    UNION ALL
    SELECT 'items.oldest_s', extract(epoch FROM now() - min(o.received_at))::float8, now()
      FROM open_items o HAVING count(*) > 0
    UNION ALL
    SELECT 'leases.held', count(*) FILTER (WHERE o.lease_until >= now())::float8, now()
      FROM open_items o
    UNION ALL
    SELECT 'leases.expired', count(*) FILTER (WHERE o.lease_until < now())::float8, now()
      FROM open_items o
    UNION ALL
    SELECT 'images.' || s.state, count(u.state)::float8, now()
      FROM (VALUES ('pending'), ('deleted')) AS s(state)
      LEFT JOIN unsettled u ON u.state = s.state GROUP BY s.state
    UNION ALL
    SELECT 'tombstones', count(*)::float8, now()
      FROM (SELECT FROM tombstones LIMIT most) t
    UNION ALL
    SELECT 'refused.' || r.state || '.' || coalesce(r.reason, ''), count(*)::float8, now()
      FROM refused r GROUP BY r.state, r.reason
    UNION ALL
    SELECT u.name, u.value, u.at FROM upkeep u
$$
"""

VIEW = (
    "CREATE VIEW tenant.batch_items AS SELECT * FROM pinpoint.batch_items "
    "WHERE organization_id = (SELECT tenant.organization()) WITH LOCAL CHECK OPTION"
)
GRANT = "GRANT SELECT, INSERT, UPDATE ON tenant.batch_items TO pinpoint_api"


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "upkeep",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_upkeep")),
    )
    op.execute("ALTER TABLE upkeep ENABLE ROW LEVEL SECURITY")
    # Neither column rewrites the table: one has a constant default for old rows, the other none.
    op.add_column(
        "batch_items",
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.add_column("batch_items", sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_batch_items_refused",
        "batch_items",
        ["settled_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('rejected', 'failed')"),
    )
    for statement in (STAMP_ITEM, TRIGGER, TOTALS, "DROP VIEW tenant.batch_items", VIEW, GRANT):
        op.execute(statement)
    op.execute("REVOKE ALL ON FUNCTION tenant.totals(integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION tenant.totals(integer) TO pinpoint_api")


def downgrade() -> None:
    """Revert the revision."""
    op.execute("DROP FUNCTION tenant.totals(integer)")
    op.execute("DROP TRIGGER stamp_item ON batch_items")
    op.execute("DROP FUNCTION stamp_item()")
    # A view depends on its columns, so it is dropped before them and recreated without them.
    op.execute("DROP VIEW tenant.batch_items")
    op.drop_index(
        "ix_batch_items_refused",
        table_name="batch_items",
        postgresql_where=sa.text("state IN ('rejected', 'failed')"),
    )
    op.drop_column("batch_items", "settled_at")
    op.drop_column("batch_items", "received_at")
    op.execute(VIEW)
    op.execute(GRANT)
    op.drop_table("upkeep")
