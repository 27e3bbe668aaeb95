"""Tenant isolation, change marks, and neighborhood counters maintained by triggers."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Deliberately a copy: a migration must not change when the list in the code changes.
TABLES = (
    "sources",
    "images",
    "thumbnails",
    "embeddings",
    "tombstones",
    "cell_stats",
    "batches",
    "batch_items",
    "item_images",
    "queries",
)

ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pinpoint_api') THEN
        CREATE ROLE pinpoint_api LOGIN;
    END IF;
END $$
"""

# The sub-select is evaluated once per statement, so the predicate remains an index condition.
IS_OWN_ROW = "organization_id = (SELECT tenant.organization())"

ORGANIZATION = """
CREATE FUNCTION tenant.organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('pinpoint.org', true), '')::uuid $$
"""

REVISION = """
CREATE FUNCTION tenant.revision() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT version_num::text FROM alembic_version $$
"""

AUTHENTICATE = """
CREATE FUNCTION tenant.authenticate(secret bytea)
RETURNS TABLE (key_id uuid, organization_id uuid, organization text, scopes text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    -- At most once a minute, so that a busy key does not turn every question into a write.
    UPDATE api_keys k SET last_used_at = now()
     WHERE k.secret_sha256 = secret AND k.revoked_at IS NULL
       AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    RETURN QUERY
        SELECT k.id, o.id, o.name, k.scopes
          FROM api_keys k JOIN organizations o ON o.id = k.organization_id
         WHERE k.secret_sha256 = secret AND k.revoked_at IS NULL AND o.revoked_at IS NULL;
END $$
"""

# Revoked keys count: revoking the last key must not enable access without a key.
ANY_KEYS = """
CREATE FUNCTION tenant.any_keys() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pinpoint, pg_temp AS
$$ SELECT EXISTS (SELECT FROM api_keys) $$
"""

ORGANIZATION_NAMED = """
CREATE FUNCTION tenant.organization_named(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pinpoint, pg_temp AS
$$ SELECT id FROM organizations WHERE name = wanted AND revoked_at IS NULL $$
"""

MARK_CHANGE = """
CREATE FUNCTION mark_change() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$
"""

# A tombstone outlives its image, so no foreign key can ensure that both have the same owner.
CHECK_TOMBSTONE = """
CREATE FUNCTION check_grave() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM images
                    WHERE id = NEW.image_id AND organization_id = NEW.organization_id) THEN
        RAISE EXCEPTION 'no image % to bury', NEW.image_id USING ERRCODE = '23503';
    END IF;
    RETURN NEW;
END $$
"""

# The rows are locked first and counted afterwards: under READ COMMITTED the second statement reads
# rows that a concurrent writer of the same cell has committed meanwhile, so no count is lost.
RECOUNT = """
CREATE FUNCTION recount(touched_cells bigint[], touched_sources uuid[], orgs uuid[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    INSERT INTO cell_stats (cell, source_id, organization_id, images)
    SELECT DISTINCT ON (t.cell, t.source_id) t.cell, t.source_id, t.org, 0
      FROM unnest(touched_cells, touched_sources, orgs) AS t(cell, source_id, org)
     ORDER BY t.cell, t.source_id
    ON CONFLICT (cell, source_id) DO UPDATE SET images = cell_stats.images;

    UPDATE cell_stats n
       SET images = c.images, first_captured_at = c.first_at, last_captured_at = c.last_at,
           lat = c.lat, lon = c.lon
      FROM (SELECT DISTINCT cell, source_id FROM unnest(touched_cells, touched_sources)
                AS t(cell, source_id)) t
      CROSS JOIN LATERAL (
            SELECT count(*)::int AS images, min(i.captured_at) AS first_at,
                   max(i.captured_at) AS last_at,
                   ST_Y(m.center) AS lat, ST_X(m.center) AS lon
              FROM images i
              CROSS JOIN LATERAL (
                    SELECT ST_Centroid(ST_Collect(j.geom)::geography)::geometry AS center
                      FROM images j
                     WHERE j.cell_r7 = t.cell AND j.source_id = t.source_id
                       AND j.state IN ('pending', 'indexed')) m
             WHERE i.cell_r7 = t.cell AND i.source_id = t.source_id
               AND i.state IN ('pending', 'indexed')
             GROUP BY m.center) c
     WHERE n.cell = t.cell AND n.source_id = t.source_id;

    DELETE FROM cell_stats n
     USING (SELECT DISTINCT cell, source_id FROM unnest(touched_cells, touched_sources)
                AS t(cell, source_id)) t
     WHERE n.cell = t.cell AND n.source_id = t.source_id
       AND NOT EXISTS (SELECT FROM images i
                        WHERE i.cell_r7 = n.cell AND i.source_id = n.source_id
                          AND i.state IN ('pending', 'indexed'));
END $$
"""

COUNT_INSERTED = """
CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT cell_r7, source_id, organization_id FROM after_rows) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$
"""

COUNT_DELETED = COUNT_INSERTED.replace("count_inserted", "count_deleted").replace(
    "after_rows", "before_rows"
)

# The change to `indexed` affects no counter, and it is the most frequent update: it is skipped.
COUNT_UPDATED = """
CREATE FUNCTION count_updated() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pinpoint, public, pg_temp AS $$
BEGIN
    PERFORM recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
       FROM (SELECT DISTINCT u.cell_r7, u.source_id, u.organization_id
               FROM before_rows b JOIN after_rows a ON a.id = b.id
               CROSS JOIN LATERAL (VALUES
                    (b.cell_r7, b.source_id, b.organization_id),
                    (a.cell_r7, a.source_id, a.organization_id))
                    AS u(cell_r7, source_id, organization_id)
              WHERE (b.state IN ('pending', 'indexed')) <> (a.state IN ('pending', 'indexed'))
                 OR b.cell_r7 <> a.cell_r7
                 OR NOT ST_Equals(b.geom, a.geom)
                 OR b.captured_at IS DISTINCT FROM a.captured_at) t
     HAVING count(*) > 0;
    RETURN NULL;
END $$
"""

TRIGGERS = (
    "CREATE TRIGGER mark_change BEFORE INSERT OR UPDATE ON images "
    "FOR EACH ROW EXECUTE FUNCTION mark_change()",
    "CREATE TRIGGER mark_change BEFORE INSERT OR UPDATE ON tombstones "
    "FOR EACH ROW EXECUTE FUNCTION mark_change()",
    "CREATE TRIGGER check_grave BEFORE INSERT OR UPDATE OF image_id, organization_id ON tombstones "
    "FOR EACH ROW EXECUTE FUNCTION check_grave()",
    "CREATE TRIGGER count_inserted AFTER INSERT ON images REFERENCING NEW TABLE AS after_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_inserted()",
    "CREATE TRIGGER count_deleted AFTER DELETE ON images REFERENCING OLD TABLE AS before_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_deleted()",
    "CREATE TRIGGER count_updated AFTER UPDATE ON images "
    "REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION count_updated()",
)

GRANTS = {
    "sources": "SELECT, INSERT, UPDATE",
    "images": "SELECT, UPDATE",
    "thumbnails": "SELECT",
    "embeddings": "SELECT",
    "tombstones": "SELECT, INSERT, UPDATE",
    "cell_stats": "SELECT",
    "batches": "SELECT, INSERT, UPDATE",
    "batch_items": "SELECT, INSERT, UPDATE",
    "item_images": "SELECT",
    # The audit log is appended and read, never changed.
    "queries": "SELECT, INSERT",
}
"""Rights of the API on each view: rows are created and deleted by workers."""

FUNCTIONS = (
    "tenant.revision()",
    "tenant.authenticate(bytea)",
    "tenant.any_keys()",
    "tenant.organization_named(text)",
    "tenant.organization()",
)


def upgrade() -> None:
    """Apply the revision."""
    op.execute(ROLE)
    op.execute("CREATE SCHEMA tenant")
    for statement in (ORGANIZATION, REVISION, AUTHENTICATE, ANY_KEYS, ORGANIZATION_NAMED):
        op.execute(statement)
    for table in TABLES:
        # Not a security barrier: a barrier hides the spatial operators from the GiST index, because
        # they are not leakproof. The API runs no SQL of its callers.
        op.execute(
            f"CREATE VIEW tenant.{table} AS SELECT * FROM pinpoint.{table} WHERE {IS_OWN_ROW} "
            "WITH LOCAL CHECK OPTION"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY mine ON {table} USING ({IS_OWN_ROW})")
    for table in ("organizations", "api_keys"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for statement in (MARK_CHANGE, CHECK_TOMBSTONE, RECOUNT):
        op.execute(statement)
    for statement in (COUNT_INSERTED, COUNT_DELETED, COUNT_UPDATED, *TRIGGERS):
        op.execute(statement)
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO pinpoint_api")
    op.execute("REVOKE ALL ON FUNCTION recount(bigint[], uuid[], uuid[]) FROM PUBLIC")
    # The organization of the embedded stack while there are no keys.
    op.execute(
        "INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'default') "
        "ON CONFLICT (name) DO NOTHING"
    )
    op.execute("GRANT USAGE ON SCHEMA tenant TO pinpoint_api")
    for view, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON tenant.{view} TO pinpoint_api")


def downgrade() -> None:
    """Revert the revision."""
    # The role remains: other databases of the same cluster may use it.
    op.execute("DROP OWNED BY pinpoint_api")
    for trigger, table in (
        ("mark_change", "images"),
        ("mark_change", "tombstones"),
        ("check_grave", "tombstones"),
        ("count_inserted", "images"),
        ("count_deleted", "images"),
        ("count_updated", "images"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("count_updated", "count_deleted", "count_inserted", "recount"):
        op.execute(f"DROP FUNCTION {function}")
    for function in ("check_grave", "mark_change"):
        op.execute(f"DROP FUNCTION {function}")
    for table in ("organizations", "api_keys", *TABLES):
        op.execute(f"DROP POLICY IF EXISTS mine ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("DROP SCHEMA tenant CASCADE")
