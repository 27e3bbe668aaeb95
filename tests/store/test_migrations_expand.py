"""Expand, migrate, contract: the code of the previous revision works on the next schema.

During a rolling upgrade, old code runs on the new schema. So a migration may add, but it may not
remove, rename, retype or restrict anything; a later release removes what is no longer used, in a
revision listed in `CONTRACTS`.
"""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from pinpoint.store.db.database import find_alembic_ini, owner_engine

CONTRACTS: frozenset[str] = frozenset()
"""Revisions that remove what the previous release no longer used."""

COLUMNS = """
    SELECT table_schema || '.' || table_name || '.' || column_name AS name, data_type,
           is_nullable, column_default IS NOT NULL OR is_identity = 'YES' AS filled
      FROM information_schema.columns WHERE table_schema IN ('pinpoint', 'tenant')
"""
FUNCTIONS = """
    SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
           AS name, pg_get_function_result(p.oid) AS result
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenant'
"""
RIGHTS = """
    SELECT table_name || ' ' || privilege_type AS name FROM information_schema.role_table_grants
     WHERE grantee = 'pinpoint_api' AND table_schema = 'tenant'
"""


def read_schema(url):
    """The schema that code uses: columns with types, functions with results, rights."""
    engine = owner_engine(url)
    try:
        with engine.connect() as connection:
            columns = {row.name: row for row in connection.execute(text(COLUMNS))}
            functions = {row.name: row.result for row in connection.execute(text(FUNCTIONS))}
            rights = {row.name for row in connection.execute(text(RIGHTS))}
    finally:
        engine.dispose()
    return columns, functions, rights


def revisions():
    script = ScriptDirectory.from_config(Config(find_alembic_ini()))
    return [script_revision.revision for script_revision in reversed(list(script.walk_revisions()))]


def breaking_changes(before, after):
    """Messages about changes that break old code."""
    (columns, functions, rights), (columns_now, functions_now, rights_now) = before, after
    for name, column in columns.items():
        if name not in columns_now:
            yield f"{name} is gone"
        elif columns_now[name].data_type != column.data_type:
            yield f"{name} was {column.data_type}, is {columns_now[name].data_type}"
        elif column.is_nullable == "YES" and columns_now[name].is_nullable == "NO":
            yield f"{name} no longer takes NULL"
    tables = {name.rsplit(".", 1)[0] for name in columns}
    for name in columns_now.keys() - columns.keys():
        column = columns_now[name]
        existing_table = name.rsplit(".", 1)[0] in tables and name.startswith("pinpoint.")
        if existing_table and column.is_nullable == "NO" and not column.filled:
            yield f"{name} is new and must be given, which old code does not do"
    yield from (f"{name} is gone" for name in functions if name not in functions_now)
    yield from (
        f"{name} gave {result}, gives {functions_now[name]}"
        for name, result in functions.items()
        if functions_now.get(name, result) != result
    )
    yield from (f"right {name} is gone" for name in rights - rights_now)


@pytest.fixture
def config(database_url):
    alembic_config = Config(find_alembic_ini())
    alembic_config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    return alembic_config


def test_migrations_keep_schema_of_previous_code(config, database_url):
    command.downgrade(config, "base")
    schema = read_schema(database_url)
    for revision in revisions():
        command.upgrade(config, revision)
        schema_after = read_schema(database_url)
        if revision not in CONTRACTS:
            assert list(breaking_changes(schema, schema_after)) == [], revision
        schema = schema_after


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("ALTER TABLE pinpoint.images RENAME COLUMN creator TO author", "creator is gone"),
        ("ALTER TABLE pinpoint.organizations ALTER COLUMN name TYPE varchar(9)", "was text"),
        ("ALTER TABLE pinpoint.sources ALTER COLUMN license SET NOT NULL", "no longer takes NULL"),
        ("ALTER TABLE pinpoint.batches ADD COLUMN color text NOT NULL", "must be given"),
        ("DROP FUNCTION tenant.any_keys()", "any_keys() is gone"),
        ("REVOKE SELECT ON tenant.images FROM pinpoint_api", "right images SELECT is gone"),
    ],
)
def test_schema_comparison_detects_breaking_change(database_url, change, word):
    before = read_schema(database_url)
    engine = owner_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    assert [
        message
        for message in breaking_changes(before, read_schema(database_url))
        if word in message
    ]
