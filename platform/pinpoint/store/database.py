"""Connections, roles and units of work. The only module that commits.

Two logins. The *owner* (migrations, workers, operators) sees the base tables. The *API* has no
right on them: its search path leads to views that show one organisation, named by
`pinpoint.org`, which is set for one transaction at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pinpoint import deadline, logs
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import BadRequest, BrokerUnavailable, DatabaseUnavailable, Misconfigured
from pinpoint.jobs import JobName
from pinpoint.ports import JobQueue
from pinpoint.records import limits
from pinpoint.store.bounded_connection import BoundedConnection, NoAnswerInTime

_log = logs.get(__name__)

_POOL: dict[str, Any] = {
    "pool_size": 8,
    "max_overflow": 24,
    "pool_timeout": 3,
    # A server that was restarted leaves dead connections in the pool; this finds them first.
    "pool_pre_ping": True,
}
# Long enough for any statement of ours; short enough that a stopped process frees its row locks.
_GUARDS = "-c statement_timeout=120s -c idle_in_transaction_session_timeout=120s"


def _engine(url: str, search_path: str, *, take_role: str | None = None) -> Engine:
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    if not url.startswith("postgresql+psycopg://"):
        raise Misconfigured(f"the database URL must begin with postgresql://, not {url[:20]!r}…")
    options = f"-c search_path={search_path} -c TimeZone=UTC {_GUARDS}"
    engine = create_engine(
        url, connect_args={"options": options, "connect_timeout": 5}, future=True, **_POOL
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
        return BoundedConnection.connect(*arguments, **options)

    if take_role:

        @event.listens_for(engine, "connect")
        def _set_role(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(f"SET ROLE {take_role}")
            connection.commit()

    return engine


def owner_engine(url: str) -> Engine:
    """Engine of the owner: base tables of every organisation."""
    return _engine(url, "pinpoint,public")


def api_engine(url: str, *, own_login: bool) -> Engine:
    """Engine of the API: views of one organisation at a time.

    Args:
        url: The API's own login, or the owner's.
        own_login: False where `url` is the owner's; every connection then takes the API's role.
    """
    return _engine(url, "tenant,public", take_role=None if own_login else "pinpoint_api")


def migrations_folder() -> Path:
    """Where the migrations lie: beside the checkout this package runs from.

    Raises:
        Misconfigured: The package was installed without its checkout.
    """
    folder = Path(__file__).resolve().parents[3] / "migrations"
    if not (folder / "env.py").is_file():
        raise Misconfigured(f"no migrations at {folder}: run Pinpoint from its checkout")
    return folder


@cache
def head_revision() -> str:
    """The schema revision this code wants."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.set_main_option("path_separator", "os")
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise Misconfigured("the migrations folder holds no revision")
    return head


class UnitOfWork:
    """One transaction: its connection, its organisation, and the jobs that leave after it."""

    def __init__(self, connection: Connection, organization_id: UUID | None) -> None:
        self.connection = connection
        self.organization_id = organization_id
        self.jobs: list[tuple[JobName, tuple[UUID, ...]]] = []

    def after_commit(self, name: JobName, ids: Sequence[UUID]) -> None:
        """Send this job once the transaction is durable; forget it if it is rolled back."""
        self.jobs.append((name, tuple(ids)))


class Transactions:
    """Hands out units of work on one engine.

    Args:
        engine: Connections.
        queue: Takes the jobs of committed units.
        breaker: Leaves a database alone that does not answer; None asks it every time.
    """

    def __init__(
        self,
        engine: Engine,
        queue: JobQueue | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.engine = engine
        self._queue = queue
        self._attempt = nullcontext if breaker is None else breaker.attempt

    @contextmanager
    def begin(
        self, organization_id: UUID | None = None, *, read_only: bool = False
    ) -> Iterator[UnitOfWork]:
        """Open a transaction; leaving without an error commits it and then sends its jobs.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        with self._attempt(), _translated(), self.engine.connect() as connection:
            if read_only:
                connection.execute(text("SET TRANSACTION READ ONLY"))
            _configure(connection, organization_id)
            unit = UnitOfWork(connection, organization_id)
            yield unit
            connection.commit()
        self._send(unit.jobs)

    def _send(self, jobs: Sequence[tuple[JobName, tuple[UUID, ...]]]) -> None:
        for name, ids in jobs:
            if self._queue is None:
                continue
            try:
                self._queue.send(name, ids)
            except BrokerUnavailable as error:
                # The rows are durable and the sweep sends them again, so this loses only time.
                _log.warning("job not sent; the sweep will", job=name, reason=error.message)

    def check(self) -> None:
        """Raise `DatabaseUnavailable` unless PostgreSQL answers at this code's revision."""
        wanted = head_revision()
        try:
            with self._attempt(), _translated(), self.engine.connect() as connection:
                found = connection.execute(text("SELECT tenant.revision()")).scalar()
        except ProgrammingError:
            found = "none"
        if found != wanted:
            raise DatabaseUnavailable(
                f"the database is at schema revision {found}, this code wants {wanted}: "
                "run `pinpoint up` or `alembic upgrade head`"
            )

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def did_not_answer(error: BaseException) -> bool:
    """Whether an error of a unit of work means that PostgreSQL is away, and not merely busy."""
    cause = error.__cause__
    if not isinstance(error, DatabaseUnavailable) or not isinstance(cause, DBAPIError):
        return False
    state = getattr(cause.orig, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))  # lost, or shutting down


def refuse_database() -> DatabaseUnavailable:
    """The error of a call that the database's circuit breaker does not let through."""
    return DatabaseUnavailable("PostgreSQL did not answer the last calls; try again shortly")


def _configure(connection: Connection, organization_id: UUID | None) -> None:
    """Name the organization and the statements' time limit to this transaction, in one trip."""
    values = {} if organization_id is None else {"pinpoint.org": str(organization_id)}
    if deadline.current() is not None:
        # The client stops waiting by itself; this stops the server's work for nobody.
        limit_ms = max(1, round(deadline.bounded_s(120.0) * 1_000))
        values["statement_timeout"] = str(limit_ms)
    if values:
        calls = ", ".join(f"set_config('{name}', :v{n}, true)" for n, name in enumerate(values))
        given = {f"v{n}": value for n, value in enumerate(values.values())}
        connection.execute(text(f"SELECT {calls}"), given)


_OUTAGES = ("08", "25006", "25P03", "28", "40", "53", "55", "57", "58")
"""SQLSTATEs, or classes of them, that say nothing of the values in a statement: no connection, a
server that has become read-only, an idle limit, a refused login, a deadlock, no memory, disk or
connection left, a lock or time limit, a shutdown, a failing disk."""
_REFUSED = ("22", "54")
"""Classes of SQLSTATE of values that cannot be stored: no such time or text, too long for an index.
psycopg files 54 ("index row size exceeds …") under OperationalError."""


@contextmanager
def _translated() -> Iterator[None]:
    """Driver errors that mean 'not there now' or 'not this value' become ours; the rest are bugs.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the same statement may work later.
        BadRequest: PostgreSQL refuses a value (`not_storable`); it will refuse it again.

    The driver's own words name sockets and paths, so they stay in the chain for the log.
    """
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("no database connection was free; try again") from error
    except UnicodeEncodeError as error:  # the driver meets half of a surrogate pair
        raise _not_storable() from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state.startswith(_REFUSED) or (not state and isinstance(error, DataError)):
            raise _not_storable() from error
        if isinstance(error.orig, NoAnswerInTime | QueryCanceled):
            raise DatabaseUnavailable("PostgreSQL gave no answer in time; try again") from error
        if error.connection_invalidated:
            raise DatabaseUnavailable("the connection to PostgreSQL was lost; try again") from error
        # Without a SQLSTATE the server was not reached.
        if state.startswith(_OUTAGES) or (not state and isinstance(error, OperationalError)):
            raise DatabaseUnavailable(
                "PostgreSQL does not answer; `pinpoint status` shows whether it runs"
            ) from error
        raise


def _not_storable() -> BadRequest:
    return BadRequest(
        "a value cannot be stored: it is too long, or no text, number or time that PostgreSQL "
        "holds",
        reason=limits.NOT_STORABLE,
    )
