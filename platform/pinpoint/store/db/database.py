"""Connections, roles and units of work. Only this module commits.

Two logins. The *owner* (migrations, workers, operators) uses the base tables. The *API* has no
right on them: its search path contains views of one organization, selected by `pinpoint.org`, which
is set per transaction. `pinpoint.access` selects the rows in protected areas (`position_access`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, Engine, Row, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pinpoint import deadline, logs, position_access
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    DatabaseUnavailableError,
    InvalidRequestError,
)
from pinpoint.ports import TaskQueue
from pinpoint.records import limits
from pinpoint.store.db.bounded_connection import BoundedConnection, NoAnswerInTime
from pinpoint.tasks import TaskName

_log = logs.get_logger(__name__)

_POOL_OPTIONS: dict[str, Any] = {
    "pool_size": 8,
    "max_overflow": 24,
    "pool_timeout": 3,
    # A restarted server leaves dead connections in the pool; this check finds them first.
    "pool_pre_ping": True,
}
# Long enough for any statement of Pinpoint; short enough to free the row locks of a stopped
# process.
_TIMEOUT_OPTIONS = "-c statement_timeout=120s -c idle_in_transaction_session_timeout=120s"


def _create_engine(url: str, search_path: str, *, take_role: str | None = None) -> Engine:
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    if not url.startswith("postgresql+psycopg://"):
        raise ConfigurationError(
            f"the database URL must begin with postgresql://, not {url[:20]!r}…"
        )
    options = f"-c search_path={search_path} -c TimeZone=UTC {_TIMEOUT_OPTIONS}"
    engine = create_engine(
        url, connect_args={"options": options, "connect_timeout": 5}, future=True, **_POOL_OPTIONS
    )

    @event.listens_for(engine, "do_connect")
    def _connect_bounded(
        _dialect: Any, _record: Any, arguments: Any, options: Any
    ) -> BoundedConnection:
        return BoundedConnection.connect(*arguments, **options)

    if take_role:

        @event.listens_for(engine, "connect")
        def _set_role(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(f"SET ROLE {take_role}")
            connection.commit()

    return engine


def owner_engine(url: str) -> Engine:
    """Engine of the owner: base tables of all organizations."""
    return _create_engine(url, "pinpoint,public")


def api_engine(url: str, *, own_login: bool) -> Engine:
    """Engine of the API: views of one organization at a time.

    Args:
        url: URL with the login of the API or of the owner.
        own_login: False if `url` has the owner's login; every connection then switches to the API's
            role.
    """
    return _create_engine(url, "tenant,public", take_role=None if own_login else "pinpoint_api")


def find_alembic_ini() -> Path:
    """Path of `alembic.ini`, next to the migrations: in the checkout, or in an installed wheel.

    Raises:
        ConfigurationError: Neither exists; the package is damaged.
    """
    package = Path(__file__).resolve().parents[2]
    candidates = (package.parents[1] / "alembic.ini", package / "schema_revisions" / "alembic.ini")
    for path in candidates:
        if path.is_file():
            return path
    raise ConfigurationError(
        f"no migrations: {candidates[1]} does not exist. Install the wheel of Pinpoint again"
    )


@cache
def head_revision() -> str:
    """Schema revision that this code requires."""
    head = ScriptDirectory.from_config(Config(find_alembic_ini())).get_current_head()
    if head is None:
        raise ConfigurationError("the migrations folder holds no revision")
    return head


class UnitOfWork:
    """One transaction: its connection, its organization, and the tasks to send after the commit."""

    def __init__(self, connection: Connection, organization_id: UUID | None) -> None:
        self.connection = connection
        self.organization_id = organization_id
        self.tasks: list[tuple[TaskName, tuple[UUID, ...]]] = []

    def after_commit(self, name: TaskName, ids: Sequence[UUID]) -> None:
        """Send this task after the commit; a rollback discards it."""
        self.tasks.append((name, tuple(ids)))


_SHARED: ContextVar[tuple[Transactions, UnitOfWork] | None] = ContextVar("shared", default=None)
"""The transaction of `begin_shared` that this thread is in."""


class Transactions:
    """Opens units of work on one engine.

    Args:
        engine: Engine with the connection pool.
        queue: Receives the tasks of committed units.
        breaker: Circuit breaker; None sends every statement.
    """

    def __init__(
        self,
        engine: Engine,
        queue: TaskQueue | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.engine = engine
        self._queue = queue
        self._attempt = nullcontext if breaker is None else breaker.attempt

    @contextmanager
    def begin(
        self,
        organization_id: UUID | None = None,
        *,
        read_only: bool = False,
        snapshot: bool = False,
        role: str | None = None,
        schema: str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[UnitOfWork]:
        """Open a transaction. Without an error it is committed, and its tasks are sent.

        Within `begin_shared` it is a part of that transaction and committed with it.

        Args:
            organization_id: Organization of all rows; None only for the owner.
            read_only: Whether PostgreSQL refuses writes.
            snapshot: Whether all statements read one state (REPEATABLE READ); read-only as well.
            role: Role of this transaction; None keeps that of the login.
            schema: Schema of unqualified names; None keeps that of the engine.
            timeout_s: Time limit of each statement; None keeps that of the engine. That of the
                request applies in any case.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        is_joinable = role is None and schema is None and not snapshot
        joined = self._find_joined(organization_id) if is_joinable else None
        if joined is not None:
            yield joined
            return
        with self._attempt(), translate_errors(), self.engine.connect() as connection:
            if read_only or snapshot:
                level = "ISOLATION LEVEL REPEATABLE READ, " if snapshot else ""
                connection.execute(text(f"SET TRANSACTION {level}READ ONLY"))
            _set_session_values(
                connection, organization_id, role=role, schema=schema, timeout_s=timeout_s
            )
            unit = UnitOfWork(connection, organization_id)
            yield unit
            connection.commit()
        self._send_tasks(unit.tasks)

    def run_statement(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        """Run one statement without an organization as a transaction of its own.

        It takes one round trip, where `begin` takes three or four. The time limit on the server is
        that of the engine; the client waits until the deadline of the request at most.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        with self._attempt(), translate_errors(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            return connection.execute(text(statement), parameters).all()

    @contextmanager
    def begin_shared(self, organization_id: UUID) -> Iterator[UnitOfWork]:
        """Open one transaction for everything that this thread reads and writes in the block."""
        with self.begin(organization_id) as unit:
            token = _SHARED.set((self, unit))
            try:
                yield unit
            finally:
                _SHARED.reset(token)

    def _find_joined(self, organization_id: UUID | None) -> UnitOfWork | None:
        shared = _SHARED.get()
        if shared is None or shared[0] is not self:
            return None
        return shared[1] if shared[1].organization_id == organization_id else None

    def _send_tasks(self, tasks: Sequence[tuple[TaskName, tuple[UUID, ...]]]) -> None:
        for name, ids in tasks:
            if self._queue is None:
                continue
            try:
                self._queue.send(name, ids)
            except BrokerUnavailableError as error:
                # The rows are durable and the recovery task sends it again: this only costs time.
                _log.warning(
                    "task not sent; the recovery task will", task=name, reason=error.message
                )

    def check(self) -> None:
        """Raise `DatabaseUnavailableError` unless PostgreSQL answers at this code's revision."""
        expected = head_revision()
        try:
            with self._attempt(), translate_errors(), self.engine.connect() as connection:
                actual = connection.execute(text("SELECT tenant.revision()")).scalar()
        except ProgrammingError:
            actual = "none"
        if actual != expected:
            raise DatabaseUnavailableError(
                f"the database is at schema revision {actual}, this code requires {expected}: "
                "run `pinpoint up` or `alembic upgrade head`"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def did_not_answer(error: BaseException) -> bool:
    """Whether an error of a unit of work means that PostgreSQL is down, not merely busy."""
    cause = error.__cause__
    if not isinstance(error, DatabaseUnavailableError) or not isinstance(cause, DBAPIError):
        return False
    state = getattr(cause.orig, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))  # lost, or shutting down


def refuse_database() -> DatabaseUnavailableError:
    """Error of a call that the circuit breaker of the database rejects."""
    return DatabaseUnavailableError("PostgreSQL did not answer the last calls; try again shortly")


def _set_session_values(
    connection: Connection,
    organization_id: UUID | None,
    *,
    role: str | None,
    schema: str | None,
    timeout_s: float | None,
) -> None:
    """Set organization, role, schema and time limit of this transaction, in one round trip."""
    values = {} if organization_id is None else {"pinpoint.org": str(organization_id)}
    access = position_access.current_access()
    if access is not None:
        values["pinpoint.access"] = access.rows
        values["pinpoint.min_radius_m"] = str(access.min_radius_m)
    if role is not None:
        values["role"] = role
        # Filters of layers differ: a plan for all values of a parameter may be slow for each.
        values["plan_cache_mode"] = "force_custom_plan"
    if schema is not None:
        values["search_path"] = f"{schema},public"
    if timeout_s is not None or deadline.current_deadline() is not None:
        # The client stops waiting by itself; this also stops the statement on the server.
        limit_ms = max(1, round(deadline.limit_timeout_s(timeout_s or 120.0) * 1_000))
        values["statement_timeout"] = str(limit_ms)
    if values:
        calls = ", ".join(f"set_config('{name}', :v{n}, true)" for n, name in enumerate(values))
        parameters = {f"v{n}": value for n, value in enumerate(values.values())}
        connection.execute(text(f"SELECT {calls}"), parameters)


_OUTAGE_STATES = ("08", "25006", "25P03", "28", "40", "53", "55", "57", "58")
"""SQLSTATEs, or classes of them, that do not concern the values of a statement. These are: no
connection, a server that became read-only, an idle limit, a rejected login, a deadlock, no memory,
disk or connection left, a lock or time limit, a shutdown, a failing disk."""
_REJECTED_STATES = ("22", "54")
"""Classes of SQLSTATE of values that cannot be stored: an invalid time or text, or too long for an
index. psycopg files 54 ("index row size exceeds …") under OperationalError."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate driver errors about outages and invalid values; other errors are bugs and pass.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer; the same statement may work later.
        InvalidRequestError: PostgreSQL rejects a value (`not_storable`), and will reject it again.

    The driver's messages contain sockets and paths, so they remain in the exception chain for the
    log.
    """
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailableError("no database connection was free; try again") from error
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise _not_storable_error() from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state.startswith(_REJECTED_STATES) or (not state and isinstance(error, DataError)):
            raise _not_storable_error() from error
        if isinstance(error.orig, NoAnswerInTime | QueryCanceled):
            raise DatabaseUnavailableError(
                "PostgreSQL did not answer in time; try again"
            ) from error
        if error.connection_invalidated:
            raise DatabaseUnavailableError(
                "the connection to PostgreSQL was lost; try again"
            ) from error
        # Without a SQLSTATE the server was not reached.
        if state.startswith(_OUTAGE_STATES) or (not state and isinstance(error, OperationalError)):
            raise DatabaseUnavailableError(
                "PostgreSQL does not answer; `pinpoint status` shows whether it runs"
            ) from error
        raise


def _not_storable_error() -> InvalidRequestError:
    return InvalidRequestError(
        "a value cannot be stored: it is too long, or not a text, number or time that "
        "PostgreSQL supports",
        reason=limits.NOT_STORABLE,
    )
