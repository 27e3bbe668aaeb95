"""Alembic's entry: one online run against the owner's URL, under a lock so that two cannot race."""

from __future__ import annotations

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import text

from pinpoint.settings import Settings
from pinpoint.stack.places import StackPlaces
from pinpoint.store.database import owner_engine
from pinpoint.store.tables import metadata

# Any constant does, as long as every migrator of Pinpoint takes the same one.
MIGRATION_LOCK = 0x9142_0017


def _ours(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Leave PostGIS's tables and Alembic's own out of comparisons."""
    if kind == "table" and name == "alembic_version":
        return False
    return bool(alembic_helpers.include_object(item, name, kind, reflected, compare_to))


def _url() -> str:
    given = context.config.get_main_option("sqlalchemy.url")
    if given:
        return given
    places = Settings.from_environment().places
    return places.database_url or StackPlaces(places.home).owner_url()


def run() -> None:
    """Upgrade or downgrade in one transaction per run."""
    first = owner_engine(_url())
    with first.connect() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS pinpoint"))
        connection.commit()
    # A new engine: SQLAlchemy asks for the default schema once, at its first connection.
    first.dispose()
    engine = owner_engine(_url())
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_object=_ours,
            process_revision_directives=alembic_helpers.writer,
            render_item=alembic_helpers.render_item,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
    engine.dispose()


run()
