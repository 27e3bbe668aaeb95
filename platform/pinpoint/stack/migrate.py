"""Finds the migrations of this code and upgrades a database to the newest revision."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from pinpoint.errors import DatabaseUnavailableError, StackError, describe_cause


def find_alembic_ini() -> Path:
    """Path of `alembic.ini` in the checkout that this package is installed from.

    Raises:
        StackError: The package is not installed from a checkout.
    """
    path = Path(__file__).resolve().parents[3] / "alembic.ini"
    if not path.is_file():
        raise StackError(
            f"no migrations: {path} does not exist. Install Pinpoint from its checkout "
            "(`pip install -e .`), which contains alembic.ini and migrations/"
        )
    return path


def upgrade_database(url: str) -> None:
    """Upgrade a database to the newest revision; does nothing if it is up to date.

    Args:
        url: SQLAlchemy URL of the owner's role.

    Raises:
        DatabaseUnavailableError: The database does not answer.
        StackError: This code does not know the database's revision.
    """
    try:
        psycopg.connect(url.replace("+psycopg://", "://", 1), connect_timeout=10).close()
    except psycopg.Error as error:
        raise DatabaseUnavailableError(
            f"the database does not answer: {describe_cause(error)}"
        ) from error
    config = Config(find_alembic_ini())
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StackError(
            f"the database cannot be migrated: {error}; "
            "was it last used by a newer version of Pinpoint?"
        ) from error


@cache
def newest_revision() -> str:
    """Newest revision that this code knows."""
    return str(ScriptDirectory.from_config(Config(find_alembic_ini())).get_current_head())


@cache
def list_revisions() -> frozenset[str]:
    """All revisions that this code knows."""
    script = ScriptDirectory.from_config(Config(find_alembic_ini()))
    return frozenset(revision.revision for revision in script.walk_revisions())
