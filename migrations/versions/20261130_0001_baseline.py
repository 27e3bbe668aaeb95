"""Baseline: all tables, tenant isolation, triggers and functions; its SQL is in `baseline/`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001_baseline"
down_revision = None
branch_labels = None
depends_on = None

SQL_FOLDER = Path(__file__).resolve().parents[1] / "baseline"

SQL_FILES = (
    "tables.sql",
    "audit_log.sql",
    "listings.sql",
    "webhooks.sql",
    "idempotency.sql",
    "jobs.sql",
    "quality_reports.sql",
    "tenant_functions.sql",
    "access_functions.sql",
    "limits.sql",
    "protected_areas.sql",
    "triggers.sql",
)
"""Files that run before the views are created."""

ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pinpoint_api') THEN
        CREATE ROLE pinpoint_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pinpoint_reader') THEN
        CREATE ROLE pinpoint_reader NOLOGIN;
    END IF;
    -- The API takes this role for statements with conditions of its callers.
    IF NOT pg_has_role('pinpoint_api', 'pinpoint_reader', 'MEMBER') THEN
        GRANT pinpoint_reader TO pinpoint_api;
    END IF;
END $$
"""

KEY_COLUMNS = (
    "id, organization_id, name, role, scopes, created_at, expires_at, last_used_at, rotated_at, "
    "previous_secret_expires_at, revoked_at, granularity, min_radius_m"
)
"""Columns of API keys without the hashes of their secrets."""

VIEW_RIGHTS = {
    "sources": "SELECT, INSERT, UPDATE",
    "source_roots": "SELECT",
    "images": "SELECT, UPDATE",
    "thumbnails": "SELECT",
    "embeddings": "SELECT",
    "tombstones": "SELECT, INSERT, UPDATE",
    "cell_stats": "SELECT",
    "batches": "SELECT, INSERT, UPDATE",
    "batch_items": "SELECT, INSERT, UPDATE",
    "item_images": "SELECT",
    # The audit log is appended and read, never changed.
    "audit_log": "SELECT, INSERT",
    "kept_queries": "SELECT, INSERT, DELETE",
    # The hashes of secrets are written, never read.
    "api_keys": f"SELECT ({KEY_COLUMNS}), INSERT, UPDATE (revoked_at)",
    "bucket_listings": "SELECT, INSERT, UPDATE",
    "webhooks": "SELECT, INSERT, UPDATE, DELETE",
    "webhook_deliveries": "SELECT, INSERT",
    "idempotency_keys": "SELECT, INSERT, DELETE",
    "jobs": "SELECT, INSERT, UPDATE",
    "job_items": "SELECT, INSERT, UPDATE",
    "quality_reports": "SELECT, INSERT, DELETE",
}
"""Tables with a view for the API, and its rights: workers create and delete rows of images."""

GRANULAR_TABLES = ("images", "cell_stats", "kept_queries")
"""Tables with a view that also hides rows in protected areas."""

TABLES_WITHOUT_VIEW = (
    "organizations",
    "installation",
    "maintenance_stats",
    "key_limits",
    "misuse_hash_keys",
)
"""Tables that only the owner reads; row-level security without a policy hides every row."""

API_FUNCTIONS = (
    "organization()",
    "revision()",
    "authenticate(bytea)",
    "any_keys()",
    "find_organization(text)",
    "list_organizations(timestamptz, uuid, integer)",
    "create_organization(uuid, text)",
    "disable_organization(uuid)",
    "rotate_key(uuid, bytea, double precision)",
    "installation()",
    "totals(integer)",
    "misuse_hash_key()",
    "key_limits(uuid)",
    "set_key_limits(uuid, bigint, bigint, bigint, bigint)",
    "apply_protected_areas(integer)",
    "has_protected_areas()",
    "find_protected_areas(double precision[], double precision[])",
)
"""Functions of schema `tenant` that the API may call."""

# The sub-select is evaluated once per statement, so the predicate remains an index condition.
IS_OWN_ROW = "organization_id = (SELECT tenant.organization())"
IS_VISIBLE_ROW = "granularity = ANY ((SELECT tenant.visible_granularities())::text[])"
EXTRA_CONDITIONS = {
    "kept_queries": " AND coalesce(radius_m, 0) >= (SELECT tenant.min_radius_m())",
}


def upgrade() -> None:
    """Apply the revision."""
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public")
    op.execute(ROLES)
    op.execute("CREATE SCHEMA tenant")
    for name in SQL_FILES:
        _run_file(name)
    op.execute("GRANT USAGE ON SCHEMA tenant TO pinpoint_api")
    for table, rights in VIEW_RIGHTS.items():
        _isolate_table(table, rights)
    for table in TABLES_WITHOUT_VIEW:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for function in API_FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION tenant.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION tenant.{function} TO pinpoint_api")
    _run_file("views.sql")
    # The organization of the embedded stack while there are no keys.
    op.execute("INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'default')")
    # Created once, by the database: a restored dump remains the same installation.
    op.execute("INSERT INTO installation (id) VALUES (gen_random_uuid())")


def downgrade() -> None:
    """Revert the revision."""
    _run_file("drop.sql")


def _isolate_table(table: str, rights: str) -> None:
    """Restrict a table to the rows of one organization, and create the API's view of them."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_organization ON {table} USING ({IS_OWN_ROW})")
    # Not a security barrier: a barrier hides the spatial operators from the GiST index, because
    # they are not leakproof. The API runs no SQL of its callers.
    name = f"pinpoint.organization_{table}" if table in GRANULAR_TABLES else f"tenant.{table}"
    op.execute(
        f"CREATE VIEW {name} AS SELECT * FROM pinpoint.{table} WHERE {IS_OWN_ROW} "
        "WITH LOCAL CHECK OPTION"
    )
    if table in GRANULAR_TABLES:
        # Without a check: a row may move into a protected area, where its writer loses sight of it.
        op.execute(
            f"CREATE VIEW tenant.{table} AS SELECT * FROM {name} "
            f"WHERE {IS_VISIBLE_ROW}{EXTRA_CONDITIONS.get(table, '')}"
        )
    op.execute(f"GRANT {rights} ON tenant.{table} TO pinpoint_api")


def _run_file(name: str) -> None:
    """Run all statements of a file; the driver sends a text without parameters as it is."""
    op.execute(sa.text((SQL_FOLDER / name).read_text(encoding="utf-8")))
