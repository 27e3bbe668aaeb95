"""Removes the bytes of deleted rows from PostgreSQL's files.

A deleted row is invisible at once, but its bytes stay in the files of its table until they are
overwritten, in the planner's samples, and in the write-ahead log (WAL).
"""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg
from psycopg import sql

from pinpoint.errors import StackError
from pinpoint.stack.backup.dumps import LOCK_WAIT, fetch_value, open_connection

_RELOAD_S: Final = 0.5
_COUNT_RECYCLED_SEGMENTS_SQL: Final = """
SELECT count(*) FROM pg_ls_waldir()
 WHERE name ~ '^[0-9A-F]{24}$' AND name > pg_walfile_name(pg_current_wal_insert_lsn())
"""
_DELETE_SAMPLES_SQL: Final = """
DELETE FROM pg_statistic WHERE starelid IN
    (SELECT oid FROM pg_class WHERE relnamespace = 'pinpoint'::regnamespace)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def compact_tables(url: str, *, private: bool) -> None:
    """Rewrite every table; each is locked while it is rewritten.

    Args:
        url: URL of the owner's role, or of the private server's superuser.
        private: The server belongs to this stack: samples and old WAL segments are removed too.

    Raises:
        StackError: Another client locked a table for a minute.
        DatabaseUnavailableError: The database does not answer.
    """
    with open_connection(url) as connection:
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'pinpoint'"
        ).fetchall()
        if private:
            # ANALYZE does not remove the samples of a table that has become empty.
            connection.execute(_DELETE_SAMPLES_SQL)
            tables.append(("pg_catalog", "pg_statistic"))
        try:
            for schema, name in tables:
                compact = sql.SQL("VACUUM (FULL, ANALYZE) {}.{}")
                connection.execute(compact.format(sql.Identifier(schema), sql.Identifier(name)))
        except psycopg.errors.LockNotAvailable as error:
            raise StackError(
                "the rows are deleted, but a table was in use for a minute and keeps their bytes "
                "until it is compacted: run `pinpoint orgs delete` again with the id"
            ) from error
        if private:
            _remove_old_wal(connection)


def _remove_old_wal(connection: Connection) -> None:
    """Use up all recycled WAL segments, which contain old data, so that they are removed."""
    try:
        connection.execute("ALTER SYSTEM SET wal_recycle = off")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(_RELOAD_S)  # nothing shows when the checkpointer has read it
        for _ in range(int(fetch_value(connection, _COUNT_RECYCLED_SEGMENTS_SQL)) + 2):
            # A switch fills the rest of a segment with zeros; without a record it does nothing.
            connection.execute("SELECT pg_logical_emit_message(true, 'pinpoint', 'scrub')")
            connection.execute("SELECT pg_switch_wal()")
        for _ in range(2):
            connection.execute("CHECKPOINT")
    finally:
        connection.execute("ALTER SYSTEM RESET wal_recycle")
        connection.execute("SELECT pg_reload_conf()")
