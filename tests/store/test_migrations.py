"""Every migration can be taken back and given again, and the tables are what the code says."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from pinpoint.stack.migrate import alembic_ini
from pinpoint.store.database import Transactions, api_engine, head_revision, owner_engine
from pinpoint.store.tables import metadata
from rig import Rig, write_photos


@pytest.fixture
def config(database_url):
    made = Config(alembic_ini())
    made.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    return made


def shape(url):
    """Everything a migration makes: tables, columns, constraints, views, functions, rights."""
    catalogues = (
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default,"
        " is_identity, generation_expression FROM information_schema.columns"
        " WHERE table_schema IN ('pinpoint', 'tenant') ORDER BY 1, 2, 3",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'pinpoint'::regnamespace ORDER BY 1, 2",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'pinpoint' ORDER BY 1",
        "SELECT viewname, definition FROM pg_views WHERE schemaname = 'tenant' ORDER BY 1",
        "SELECT n.nspname, p.proname, pg_get_functiondef(p.oid), p.proacl::text FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('pinpoint', 'tenant') ORDER BY 1, 2",
        "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE NOT tgisinternal ORDER BY 1, 2",
        "SELECT tablename, policyname, qual FROM pg_policies ORDER BY 1, 2",
        "SELECT relname, relrowsecurity, relacl::text FROM pg_class c"
        " WHERE relnamespace IN (SELECT oid FROM pg_namespace"
        " WHERE nspname IN ('pinpoint', 'tenant')) AND relkind IN ('r', 'v') ORDER BY 1, 2",
    )
    engine = owner_engine(url)
    try:
        with engine.connect() as connection:
            return [[tuple(row) for row in connection.execute(text(one))] for one in catalogues]
    finally:
        engine.dispose()


def test_up_down_up_on_a_database_with_rows(config, database_url, api_database_url, tmp_path):
    rig = Rig(database_url, api_database_url, tmp_path / "rig")
    org = rig.organization()
    write_photos(tmp_path / "in", 3)
    rig.ingest(tmp_path / "in", org)
    with rig.database.read(org) as catalogue:
        (source,) = catalogue.sources()
    assert source.images == 3
    rig.close()
    first = shape(database_url)

    command.downgrade(config, "base")
    engine = owner_engine(database_url)
    assert set(inspect(engine).get_table_names("pinpoint")) <= {"alembic_version"}
    assert "tenant" not in inspect(engine).get_schema_names()
    with engine.connect() as connection:
        left = connection.execute(
            text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'pinpoint'::regnamespace")
        ).scalar_one()
    assert left == 0
    engine.dispose()

    command.upgrade(config, "head")
    assert shape(database_url) == first
    again = Rig(database_url, api_database_url, tmp_path / "again")
    batch = again.ingest(tmp_path / "in", again.organization())
    again.close()
    assert (batch.items, batch.indexed) == (3, 3)


def test_each_step_can_be_taken_back_with_rows_in_place(
    config, database_url, api_database_url, tmp_path
):
    rig = Rig(database_url, api_database_url, tmp_path / "rig")
    write_photos(tmp_path / "in", 2)
    rig.ingest(tmp_path / "in", rig.organization())
    rig.close()
    before = shape(database_url)
    command.downgrade(config, "-1")
    owner = Transactions(owner_engine(database_url))
    with owner.begin() as unit:
        rows = unit.connection.execute(text("SELECT count(*) FROM images")).scalar_one()
    assert rows == 2
    command.upgrade(config, "head")
    assert shape(database_url) == before
    as_api = Transactions(api_engine(api_database_url, own_login=True))
    as_api.check()
    as_api.close()
    owner.close()


def test_the_code_knows_every_table_and_column_of_the_database(config, capsys):
    command.check(config)
    assert "No new upgrade operations detected" in capsys.readouterr().out


def test_there_is_one_line_of_revisions(config):
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [head_revision()]
    for revision in script.walk_revisions():
        assert revision.module.downgrade.__doc__, revision.revision
        assert not revision.is_branch_point


def test_the_organisation_stands_in_every_row_and_leads_every_reference():
    """A reference without the organisation could point through the wall."""
    for table in metadata.tables.values():
        if table.name == "organizations":
            continue
        assert not table.c.organization_id.nullable, table.name
        for constraint in table.foreign_key_constraints:
            assert constraint.column_keys[0] == "organization_id", constraint.name
