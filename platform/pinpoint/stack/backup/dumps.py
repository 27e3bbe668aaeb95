"""Dumps and restores the database with `pg_dump`, `pg_restore` and `psql`.

Works with the private server and with the server of PINPOINT_DATABASE_URL. Only the schemas
`pinpoint` and `tenant` are changed, and the role only has to own them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pinpoint.errors import ConflictError, DatabaseUnavailableError, StackError, describe_cause
from pinpoint.stack.servers.postgres_binaries import find_binaries
from pinpoint.store.deletion.image_deletion import BACKUP_LOCK

SCHEMAS: Final = ("pinpoint", "tenant", "layers")
LOCK_WAIT: Final = "60s"
"""Longest wait for a lock of another client."""

_BEGIN_SQL: Final = b"""
SET client_min_messages = warning;
BEGIN;
DROP SCHEMA IF EXISTS layers CASCADE;
DROP SCHEMA IF EXISTS tenant CASCADE;
DROP SCHEMA IF EXISTS pinpoint CASCADE;
"""

# Transaction ids of the dumped server: an id above this server's current one would make every
# rebuild of the index replay the row. The triggers that set the column do not exist yet.
_RESET_ROWS_SQL: Final = b"""
UPDATE pinpoint.images SET modified_xid = 0
 WHERE modified_xid >= pg_catalog.pg_current_xact_id()::text::bigint;
UPDATE pinpoint.tombstones SET modified_xid = 0
 WHERE modified_xid >= pg_catalog.pg_current_xact_id()::text::bigint;
UPDATE pinpoint.batch_items SET lease_owner = NULL, lease_until = NULL
 WHERE lease_owner IS NOT NULL;
"""

# In the same transaction, so that a crash leaves no copy with the id of the original.
_SET_INSTALLATION_SQL: Final = """
DO $$ BEGIN
    IF to_regclass('pinpoint.installation') IS NOT NULL THEN
        UPDATE pinpoint.installation SET id = '{}';
    END IF;
END $$;
"""

# Counts rows that a freshly migrated database does not have.
_COUNT_USER_ROWS_SQL: Final = """
SELECT (SELECT count(*) FROM pinpoint.sources) + (SELECT count(*) FROM pinpoint.api_keys)
     + (SELECT count(*) FROM pinpoint.organizations WHERE name <> 'default')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Database snapshot, valid while its connection is open.

    Args:
        name: Argument of `pg_dump --snapshot`.
        revision: Schema revision.
        server: Version of PostgreSQL.
        counts: Number of rows by table.
    """

    name: str
    revision: str
    server: str
    counts: dict[str, int]


@contextmanager
def hold_snapshot(url: str) -> Iterator[Snapshot]:
    """Hold a snapshot of the database; inside, no blob that its rows reference is deleted.

    Raises:
        DatabaseUnavailableError: The database does not answer.
        ConflictError: Another backup is running.
        StackError: The database has no Pinpoint schema.
    """
    with open_connection(url) as connection:
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (BACKUP_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            raise ConflictError("another backup is running; wait until it has finished") from error
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        revision = read_revision(connection)
        if revision is None:
            raise StackError("the database has no Pinpoint schema: run `pinpoint up` first")
        yield Snapshot(
            name=fetch_value(connection, "SELECT pg_export_snapshot()"),
            revision=revision,
            server=fetch_value(connection, "SHOW server_version"),
            counts=count_rows(connection),
        )


@contextmanager
def open_connection(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Yield a connection in autocommit mode.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    try:
        connection = psycopg.connect(_to_libpq_url(url), autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"the database does not answer: {describe_cause(error)}"
        ) from error
    with connection:
        yield connection


def read_revision(connection: psycopg.Connection[tuple[Any, ...]]) -> str | None:
    """Schema revision of a database; None without a schema."""
    if fetch_value(connection, "SELECT to_regclass('pinpoint.alembic_version')") is None:
        return None
    row = connection.execute("SELECT version_num FROM pinpoint.alembic_version").fetchone()
    return None if row is None else str(row[0])


def count_rows(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, int]:
    """Number of rows of each table of Pinpoint."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'pinpoint' "
        "AND tablename <> 'alembic_version' ORDER BY tablename"
    ).fetchall()
    count = sql.SQL("SELECT count(*) FROM pinpoint.{}")
    return {
        str(name): int(fetch_value(connection, count.format(sql.Identifier(name))))
        for (name,) in tables
    }


def read_installation(url: str) -> UUID:
    """Installation id that the database stores."""
    with open_connection(url) as connection:
        installation: UUID = fetch_value(connection, "SELECT id FROM pinpoint.installation")
        return installation


def set_installation(url: str, installation: UUID) -> None:
    """Set the installation id of a restored database.

    If a backup is restored on a second machine while the first one keeps working, the second one
    is another installation: it must not use the first one's index.
    """
    with open_connection(url) as connection:
        connection.execute("UPDATE pinpoint.installation SET id = %s", (installation,))


def has_user_rows(url: str) -> bool:
    """Whether the database contains rows of users."""
    with open_connection(url) as connection:
        return (
            read_revision(connection) is not None
            and int(fetch_value(connection, _COUNT_USER_ROWS_SQL)) > 0
        )


def count_other_clients(url: str) -> int:
    """Number of other clients that are connected to the database."""
    with open_connection(url) as connection:
        return int(
            fetch_value(
                connection,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
        )


def write_dump(url: str, output: Path, snapshot: Snapshot, pgdata: Path | None) -> None:
    """Write a dump of a snapshot in PostgreSQL's custom format.

    Raises:
        StackError: `pg_dump` is missing, too old for the server, or failed.
    """
    command = [
        _find_client_program("pg_dump", pgdata),
        "--format=custom",
        "--no-owner",
        f"--file={output}",
    ]
    command += [f"--schema={name}" for name in SCHEMAS] + [f"--snapshot={snapshot.name}"]
    target, environment = _split_password(url)
    result = subprocess.run(
        [*command, f"--dbname={target}"],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        raise StackError(f"pg_dump failed: {result.stderr.strip()[-500:]}")


def replace_database(
    url: str, dump_path: Path, pgdata: Path | None, installation: UUID | None = None
) -> None:
    """Replace the content of the database by a dump, in one transaction.

    Args:
        url: URL of the database.
        dump_path: File that `write_dump` wrote.
        pgdata: Data directory of the embedded server; None for an external server.
        installation: Installation id to store; None keeps the id of the dump.

    Raises:
        StackError: The restore failed; the database is unchanged.
    """
    target, environment = _split_password(url)
    command = [_find_client_program("psql", pgdata), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    with tempfile.TemporaryFile() as stderr:
        psql = subprocess.Popen(
            [*command, f"--dbname={target}", "-f", "-"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr,
            bufsize=0,
        )  # fmt: skip
        with psql:
            after = _RESET_ROWS_SQL
            if installation is not None:
                after += _SET_INSTALLATION_SQL.format(installation).encode()
            is_complete = psql.stdin is not None and _feed_transaction(
                psql.stdin, dump_path, pgdata, stderr, after
            )
        stderr.seek(0)
        if psql.returncode != 0 or not is_complete:
            message = stderr.read().decode(errors="replace").strip()
            raise StackError(f"the database was not replaced and is unchanged: {message[-800:]}")


def _feed_transaction(
    psql: IO[bytes], dump_path: Path, pgdata: Path | None, stderr: IO[bytes], after: bytes
) -> bool:
    """Send one transaction to psql; without the final COMMIT, PostgreSQL rolls it back."""
    restore = [_find_client_program("pg_restore", pgdata), "--no-owner", "--file=-"]
    parts: tuple[tuple[bytes, tuple[str, ...]], ...] = (
        (_BEGIN_SQL, ("--section=pre-data", "--section=data")),
        (after, ("--section=post-data",)),
    )
    try:
        for statements, sections in parts:
            psql.write(statements)
            result = subprocess.run(
                [*restore, *sections, str(dump_path)], stdout=psql, stderr=stderr, check=False
            )
            if result.returncode != 0:
                return False
        psql.write(b"\nCOMMIT;\n")
    except BrokenPipeError:  # psql stopped at an error and has printed it
        return False
    return True


def fetch_value(connection: psycopg.Connection[tuple[Any, ...]], statement: Any) -> Any:
    """First column of the first row, or None."""
    row = connection.execute(statement).fetchone()
    return None if row is None else row[0]


def _to_libpq_url(url: str) -> str:
    return url.replace("+psycopg://", "://", 1)


def _split_password(url: str) -> tuple[str, Mapping[str, str]]:
    """Connection string without the password, and an environment that contains it."""
    parts = conninfo_to_dict(_to_libpq_url(url))
    password = parts.pop("password", None)
    environment = dict(os.environ)
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**parts), environment  # type: ignore[arg-type]


def _find_client_program(name: str, pgdata: Path | None) -> str:
    """Path of a client program: of the server version of `pgdata`, else the one on PATH."""
    on_path = shutil.which(name) if pgdata is None else None
    program = Path(on_path) if on_path else find_binaries(pgdata) / name
    if not program.exists():
        raise StackError(f"{name} is not installed; install PostgreSQL's client programs")
    return str(program)
