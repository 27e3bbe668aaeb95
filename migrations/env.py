"""Alembic entry point: one online run with the owner's URL, under a lock."""

from __future__ import annotations

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import text

from pinpoint.settings_file import load_settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.database import owner_engine
from pinpoint.store.db.schema import metadata

# Any constant works if every migrator of Pinpoint uses the same one.
MIGRATION_LOCK = 0x9142_0017


def _is_own_object(
    item: object, name: str | None, kind: str, reflected: bool, compare_to: object
) -> bool:
    """Exclude the tables of PostGIS and Alembic from comparisons."""
    if kind == "table" and name == "alembic_version":
        return False
    return bool(alembic_helpers.include_object(item, name, kind, reflected, compare_to))


def _database_url() -> str:
    configured_url = context.config.get_main_option("sqlalchemy.url")
    if configured_url:
        return configured_url
    settings = load_settings().services
    return settings.database_url or StackPaths(settings.home).owner_url()


def run_migrations_online() -> None:
    """Upgrade or downgrade, each run in one transaction."""
    schema_engine = owner_engine(_database_url())
    with schema_engine.connect() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS pinpoint"))
        connection.commit()
    # A new engine: SQLAlchemy reads the default schema only at its first connection.
    schema_engine.dispose()
    engine = owner_engine(_database_url())
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_object=_is_own_object,
            process_revision_directives=alembic_helpers.writer,
            render_item=alembic_helpers.render_item,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
    engine.dispose()


run_migrations_online()
