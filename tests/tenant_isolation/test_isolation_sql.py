"""SQL with the API role: no rows without an organization context, one organization with it."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from tenant_isolation.other_organization import ROWS


@pytest.fixture
def api(tenant_pair, isolation_database):
    """A session of the API login without organization context."""
    url = isolation_database.api.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(tenant_pair, isolation_database):
    """A session of the owner; all changes are rolled back."""
    with psycopg.connect(isolation_database.owner.replace("+psycopg", "")) as connection:
        yield connection
        connection.rollback()


def set_organization(connection, tenant):
    connection.execute("SELECT set_config('pinpoint.org', %s, false)", (str(tenant.id),))


def names(connection, statement):
    return [row[0] for row in connection.execute(statement).fetchall()]


def assert_rejected(connection, statement, values=(), error=errors.InsufficientPrivilege):
    with pytest.raises(error), connection.transaction():
        connection.execute(statement, values)


def test_api_role_has_no_rights_on_base_tables(api, owner):
    tables = names(owner, "SELECT tablename FROM pg_tables WHERE schemaname = 'pinpoint'")
    assert {*ROWS, "organizations", "api_keys", "alembic_version"} <= set(tables)
    for table in tables:
        name = sql.Identifier("pinpoint", table)
        assert_rejected(api, sql.SQL("SELECT * FROM {}").format(name))
        assert_rejected(api, sql.SQL("DELETE FROM {}").format(name))
        assert_rejected(api, sql.SQL("TRUNCATE {}").format(name))
        assert not api.execute(
            "SELECT has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE')"
            "    OR has_table_privilege(oid, 'DELETE, TRUNCATE, TRIGGER, REFERENCES')"
            "  FROM (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            "         WHERE n.nspname = 'pinpoint' AND c.relname = %s) t",
            (table,),
        ).fetchone()[0], table


def test_views_without_organization_context_are_empty(api, owner, tenant_pair):
    views = names(owner, "SELECT viewname FROM pg_views WHERE schemaname = 'tenant'")
    assert set(views) == {*ROWS, "visible_images"}
    for nothing in (None, ""):
        if nothing is not None:
            api.execute("SELECT set_config('pinpoint.org', %s, false)", (nothing,))
        for view in views:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("tenant", view))
            assert api.execute(count).fetchone() == (0,), view
    api.execute("SELECT set_config('pinpoint.org', %s, false)", (str(uuid4()),))
    for view in views:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("tenant", view))
        assert api.execute(count).fetchone() == (0,), view


def test_organization_context_shows_its_rows_until_the_transaction_ends(api, tenant_pair):
    for tenant in (tenant_pair.alder, tenant_pair.birch):
        with api.transaction():
            api.execute("SELECT set_config('pinpoint.org', %s, true)", (str(tenant.id),))
            for view in (*ROWS, "visible_images"):
                if view in ("tombstones", "audit_log", "idempotency_keys"):
                    continue
                organization_ids = names(api, f"SELECT DISTINCT organization_id FROM tenant.{view}")
                assert organization_ids == [tenant.id], view
        assert names(api, "SELECT id FROM tenant.images") == []


def test_views_grant_only_the_rights_that_the_api_uses(api):
    granted = {
        (row[0], row[1])
        for row in api.execute(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE table_schema = 'tenant' AND grantee = 'pinpoint_api'"
        )
    }
    read = {(view, "SELECT") for view in (*ROWS, "visible_images") if view != "api_keys"}
    inserted = {
        *("sources", "tombstones", "batches", "batch_items", "audit_log", "kept_queries"),
        *("idempotency_keys", "api_keys", "bucket_listings", "webhooks", "webhook_deliveries"),
    }
    inserted |= {"jobs", "job_items"}
    updated = {"sources", "images", "tombstones", "batches", "batch_items", "jobs", "job_items"}
    updated |= {"bucket_listings", "webhooks"}
    deleted = {(view, "DELETE") for view in ("kept_queries", "webhooks", "idempotency_keys")}
    deleted |= {("quality_reports", "DELETE")}
    inserted |= {"protected_areas", "quality_reports"}
    updated |= {"protected_areas"}
    granted_writes = {(v, "INSERT") for v in inserted} | {(v, "UPDATE") for v in updated}
    assert granted == read | granted_writes | deleted
    # Of keys, the API reads no hash of a secret, and changes nothing but the time of revocation.
    for column in ("secret_sha256", "previous_secret_sha256"):
        assert_rejected(api, f"SELECT {column} FROM tenant.api_keys")
    for column in ("scopes", "role", "expires_at", "secret_sha256", "organization_id"):
        assert_rejected(api, f"UPDATE tenant.api_keys SET {column} = NULL")


def test_rotate_key_of_other_organization_changes_nothing(api, tenant_pair):
    alder, birch = tenant_pair.alder, tenant_pair.birch
    before = birch.fingerprint()
    for organization in (alder, None):
        if organization is not None:
            set_organization(api, organization)
        else:
            api.execute("SELECT set_config('pinpoint.org', '', false)")
        api.execute("SELECT tenant.rotate_key(%s, sha256('x'), 0)", (birch.shared["key"],))
        revoked = api.execute(
            "UPDATE tenant.api_keys SET revoked_at = now() WHERE id = %s", (birch.shared["key"],)
        )
        assert revoked.rowcount == 0
    assert birch.fingerprint() == before


def test_insert_or_update_for_other_organization_is_rejected(api, tenant_pair):
    alder, birch = tenant_pair.alder, tenant_pair.birch
    set_organization(api, alder)
    check = errors.WithCheckOptionViolation
    source = "INSERT INTO tenant.sources (id, organization_id, name, kind, originals)"
    assert_rejected(
        api, f"{source} VALUES (%s, %s, 'x', 'photo', 'copy')", (uuid4(), birch.id), check
    )
    batch = "INSERT INTO tenant.batches (id, organization_id, source_id) VALUES (%s, %s, %s)"
    assert_rejected(api, batch, (uuid4(), birch.id, birch.shared["source"]), check)
    audit = "INSERT INTO tenant.audit_log (id, organization_id, operation, status) VALUES"
    assert_rejected(api, f"{audit} (%s, %s, 'locate', 'b')", (uuid4(), birch.id), check)
    key = "INSERT INTO tenant.api_keys (id, organization_id, name, secret_sha256, scopes) VALUES"
    assert_rejected(api, f"{key} (%s, %s, 'k', '', '{{}}')", (uuid4(), birch.id), check)
    updatable = {"sources": "source", "images": "image", "batches": "batch", "batch_items": "item"}
    for view, sort in updatable.items():
        move = f"UPDATE tenant.{view} SET organization_id = %s WHERE id = %s"
        assert_rejected(api, move, (birch.id, alder.shared[sort]), check)
    for view in ("sources", "images", "batches", "batch_items"):
        touched = api.execute(
            f"UPDATE tenant.{view} SET id = id WHERE organization_id = %s", (birch.id,)
        )
        assert touched.rowcount == 0


# Statements with ids of the other organization that a constraint rejects.
ACROSS = {
    "a batch of their source": (
        "INSERT INTO tenant.batches (id, organization_id, source_id)"
        " VALUES (gen_random_uuid(), %(me)s, %(source)s)"
    ),
    "a batch moved to their source": "UPDATE tenant.batches SET source_id = %(source)s",
    "an item of their batch": (
        "INSERT INTO tenant.batch_items"
        " (id, organization_id, batch_id, position, external_id, file, uri, status)"
        " VALUES (gen_random_uuid(), %(me)s, %(batch)s, 99, 'x', 'x', '', 'received')"
    ),
    "an item moved to their batch": (
        "UPDATE tenant.batch_items SET batch_id = %(batch)s, position = 99 WHERE id = %(item)s"
    ),
    "an image moved to their source": "UPDATE tenant.images SET source_id = %(source)s",
    "a tombstone on their image": (
        "INSERT INTO tenant.tombstones (image_id, organization_id, version)"
        " VALUES (%(image)s, %(me)s, 1000)"
    ),
}


@pytest.mark.parametrize("what", ACROSS)
def test_foreign_key_to_row_of_other_organization_is_rejected(api, tenant_pair, what):
    alder, birch = tenant_pair.alder, tenant_pair.birch
    set_organization(api, alder)
    values = {"me": alder.id, **birch.shared, "item": alder.shared["item"]}
    assert_rejected(api, ACROSS[what], values, errors.ForeignKeyViolation)


OWNERS_ACROSS = {
    "images": "UPDATE images SET source_id = %(source)s WHERE organization_id = %(me)s",
    "embeddings": (
        "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
        " VALUES (%(image)s, 'other', 'image', %(me)s, '')"
    ),
    "thumbnails": (
        "WITH gone AS (DELETE FROM thumbnails WHERE image_id = %(image)s RETURNING 1)"
        " UPDATE thumbnails SET image_id = %(image)s, organization_id = %(me)s"
        " WHERE image_id = %(own)s AND (SELECT count(*) FROM gone) >= 0"
    ),
    "item_images": (
        "INSERT INTO item_images (item_id, image_id, organization_id, version)"
        " VALUES (%(item)s, %(image)s, %(me)s, 1)"
    ),
    "cell_stats": (
        "INSERT INTO cell_stats (cell, source_id, organization_id, images, panorama_faces,"
        " panoramas, x_sum, y_sum, z_sum)"
        " VALUES (1, %(source)s, %(me)s, 1, 0, 0, 0, 0, 1)"
    ),
}


@pytest.mark.parametrize("table", OWNERS_ACROSS)
def test_rows_that_mix_organizations_are_rejected_for_the_owner(owner, tenant_pair, table):
    """Constraints of the schema, so that a bug of a worker cannot mix organizations either."""
    alder, birch = tenant_pair.alder, tenant_pair.birch
    values = {"me": alder.id, "own": alder.shared["image"], "item": alder.shared["item"]}
    wrong = (errors.ForeignKeyViolation, errors.UniqueViolation)
    owner.execute("SET search_path = pinpoint, public")
    assert_rejected(owner, OWNERS_ACROSS[table], {**birch.shared, **values}, wrong)


def test_api_role_cannot_use_internal_functions_or_system_tables(api):
    for call in (
        "SELECT pinpoint.recount('{}'::bigint[], '{}'::uuid[], '{}'::uuid[])",
        "SELECT pinpoint.set_modified_xid()",
        "SELECT pinpoint.count_inserted()",
        "SELECT * FROM pinpoint.alembic_version",
        "SELECT * FROM pinpoint.organizations",
        "SELECT * FROM pinpoint.api_keys",
        "CREATE TABLE tenant.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE FUNCTION tenant.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER VIEW tenant.images RENAME TO pictures",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        assert_rejected(api, call)


def test_api_role_cannot_change_role_and_has_only_listed_functions(api):
    """Also lists the functions that the role may call."""
    for role in ("pinpoint", "postgres"):
        assert_rejected(
            api, sql.SQL("SET ROLE {}").format(sql.Identifier(role)), error=errors.Error
        )
        assert_rejected(
            api,
            sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)),
            error=errors.Error,
        )
    api.execute("RESET ROLE")
    api.execute("RESET SESSION AUTHORIZATION")
    assert api.execute("SELECT current_user, session_user").fetchone() == ("pinpoint_api",) * 2
    assert_rejected(api, "SELECT * FROM pinpoint.images")
    rights = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    assert (
        api.execute(f"{rights} FROM pg_roles WHERE rolname = current_user").fetchone()
        == (False,) * 5
    )
    roles = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = current_user::regrole"
    assert names(api, roles) == ["pinpoint_reader"]
    callable_functions = names(
        api,
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('tenant', 'pinpoint') AND p.prosecdef"
        "   AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')"
        " ORDER BY 1",
    )
    # `totals` counts over all organizations; it is for the operator of the machine only.
    allowed = {"any_keys", "authenticate", "find_organization", "revision", "totals"}
    # For the routes of the operator, and for the rotation of a key of the own organization.
    allowed |= {"list_organizations", "create_organization", "disable_organization", "rotate_key"}
    # Limits of the key of a request, set by the operator, and the key of hashes of the misuse rule.
    allowed |= {"key_limits", "set_key_limits", "misuse_hash_key"}
    # The id of the whole installation, which is no secret between organizations.
    allowed |= {"installation"}
    # They take the organization from the transaction; the first one changes derived values only.
    allowed |= {"apply_protected_areas", "find_protected_areas", "has_protected_areas"}
    assert set(callable_functions) <= allowed


def test_security_definer_functions_set_search_path(owner):
    loose = names(
        owner,
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('tenant', 'pinpoint') AND p.prosecdef AND NOT EXISTS ("
        "   SELECT FROM unnest(p.proconfig) AS c(line)"
        "    WHERE c.line ~ '^search_path=pinpoint, .*pg_temp$')",
    )
    assert loose == []


def test_authenticate_finds_a_key_by_its_hash_only(api, tenant_pair):
    ask = "SELECT organization FROM tenant.authenticate(%s)"
    for guess in (b"", b"\x00" * 32, tenant_pair.alder.key.encode(), None):
        assert api.execute(ask, (guess,)).fetchall() == []
    digest = "SELECT organization FROM tenant.authenticate(sha256(%s))"
    assert api.execute(digest, (tenant_pair.alder.key.encode(),)).fetchall() == [("alder",)]


def test_temporary_tables_do_not_affect_security_definer_functions(api, tenant_pair):
    api.execute("CREATE TEMP TABLE api_keys AS SELECT gen_random_uuid() AS id")
    api.execute("CREATE TEMP TABLE images (id uuid)")
    api.execute(
        "CREATE TEMP TABLE organizations AS SELECT gen_random_uuid() AS id,"
        " 'nobody'::text AS name, NULL::timestamptz AS disabled_at"
    )
    api.execute("CREATE TEMP TABLE alembic_version AS SELECT 'forged'::text AS version_num")
    api.execute(
        "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT '1970-01-01'::timestamptz $$"
    )
    api.execute("SET search_path = pg_temp, tenant, public")
    assert api.execute("SELECT tenant.revision()").fetchone() != ("forged",)
    assert api.execute("SELECT * FROM tenant.find_organization('nobody')").fetchone() is None
    assert api.execute("SELECT tenant.any_keys()").fetchone() == (True,)
    digest = "SELECT organization_id FROM tenant.authenticate(sha256(%s))"
    row = api.execute(digest, (tenant_pair.birch.key.encode(),)).fetchone()
    assert row == (tenant_pair.birch.id,)
    # Triggers too: a counter is recounted from the real rows, whatever is called `images` here.
    alder = tenant_pair.alder
    set_organization(api, alder)
    where = "FROM tenant.cell_stats WHERE resolution = 7 AND source_id = %s"
    before = api.execute(f"SELECT sum(images) {where}", (alder.shared["source"],)).fetchone()
    with api.transaction(force_rollback=True):
        api.execute(
            "UPDATE tenant.images SET captured_at = now() WHERE source_id = %s",
            (alder.shared["source"],),
        )
        after = api.execute(f"SELECT sum(images) {where}", (alder.shared["source"],)).fetchone()
    assert after == before == (1,)


def test_reader_role_reads_the_layers_of_its_organization_and_nothing_else(api, owner, tenant_pair):
    layers = names(owner, "SELECT viewname FROM pg_views WHERE schemaname = 'layers'")
    others = names(
        owner,
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname = 'pinpoint' UNION ALL"
        " SELECT schemaname || '.' || viewname FROM pg_views"
        " WHERE schemaname IN ('pinpoint', 'tenant')",
    )
    with api.transaction():
        api.execute("SELECT set_config('role', 'pinpoint_reader', true)")
        for view in layers:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("layers", view))
            assert api.execute(count).fetchone() == (0,), view
        for organization in (tenant_pair.alder, tenant_pair.birch):
            set_organization(api, organization)
            ids = names(api, "SELECT id FROM layers.images")
            assert UUID(organization.shared["image"]) in ids
        for relation in others:
            name = sql.Identifier(*relation.split("."))
            assert_rejected(
                api, sql.SQL("SELECT FROM {}").format(name), (), errors.InsufficientPrivilege
            )
        assert_rejected(api, "DELETE FROM layers.images", (), errors.ObjectNotInPrerequisiteState)
        assert_rejected(api, "CREATE TABLE layers.x ()", (), errors.InsufficientPrivilege)
    assert api.execute("SELECT current_user").fetchone() == ("pinpoint_api",)
