"""Brings the stack of one home up, takes it down, and says how it is."""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, Literal

import psutil

from pinpoint.errors import StackError
from pinpoint.settings import Settings
from pinpoint.stack import migrate, processes
from pinpoint.stack.changes import code_digest, describe_changes, fingerprint, record_settings
from pinpoint.stack.missing import connects
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.postgres import PostgresServer
from pinpoint.stack.programs import LEARNER, environment, external, programs
from pinpoint.stack.redis import RedisServer
from pinpoint.stack.state import (
    StackState,
    choose_port,
    operator_key,
    read_state,
    stack_lock,
    write_state,
)
from pinpoint.stack.supervise import GONE, ProcessStatus, Supervisor

_READY_S: Final = 120.0
_GRACE_S: Final = 30.0
_STOP_ORDER: Final = (("beat", "worker", LEARNER, "api"), ("index",), ("postgres", "redis"))
_GIVEN_UP: Final = frozenset({"fatal", "exited", "stopped", "unknown"})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process of a home that no supervisor watches.

    Args:
        pid: Process id.
        name: The stack's name for it, or that of its program.
    """

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """How the stack of one home is.

    Args:
        state: `up`: every process runs and the API says it is ready. `degraded`: some do not.
            `orphaned`: processes run without their supervisor. `down`: nothing runs.
        home: The home's path.
        api_url: Base URL of the API, also while it is down.
        api_ready: What `/health/ready` says.
        supervisor_pid: Process id of supervisord.
        started_at: When it was started.
        processes: One entry for each process; the learner's once it was started.
        external: Services used instead of embedded ones: `database`, `broker`, `index`.
        pgdata: Data directory of the embedded PostgreSQL.
        orphans: Processes of this home that no supervisor watches, without those below them;
            `pinpoint down` ends them all.
    """

    state: Literal["up", "degraded", "orphaned", "down"]
    home: str
    api_url: str | None
    api_ready: bool
    supervisor_pid: int | None
    started_at: datetime | None
    processes: tuple[ProcessStatus, ...]
    external: tuple[str, ...]
    pgdata: str | None
    orphans: tuple[Orphan, ...] = ()


def up(settings: Settings, say: Say | None = None) -> StackStatus:
    """Bring the stack up, or leave it as it is if it is up with these settings and this code.

    Args:
        settings: Where and with what.
        say: Told what is being waited for.

    Raises:
        StackError: A part cannot be started; the message names it and its log.
        DatabaseUnavailable: The database named by PINPOINT_DATABASE_URL does not answer.
    """
    tell = say or _silent
    places = StackPlaces(settings.places.home)
    places.create()
    with stack_lock(places.lock_file):
        state, supervisor = read_state(places), Supervisor(places)
        wanted, running = fingerprint(settings), supervisor.answers()
        if running and state is not None and state.fingerprint == wanted:
            now = status(settings)
            if now.state == "up":
                return now
        else:
            if running and state is not None:
                for reason in describe_changes(state, settings, operator_key(places)):
                    tell(f"restarting the stack: {reason}")
            _take_down(places, supervisor, tell)
            state = _launch(settings, places, supervisor, state)
        _start_all(settings, places, supervisor, state, tell)
        now = status(settings)
        pids = {one.name: one.pid or 0 for one in now.processes}
        write_state(places, replace(state, fingerprint=wanted, pids=pids))
        return now


def down(settings: Settings, say: Say | None = None) -> StackStatus:
    """Take the stack down; afterwards none of its processes is left.

    Raises:
        StackError: A process could not be ended.
    """
    places = StackPlaces(settings.places.home)
    if places.home.is_dir():
        with stack_lock(places.lock_file):
            _take_down(places, Supervisor(places), say or _silent)
            for folder in (places.socket_dir, places.postgres_socket_dir):
                shutil.rmtree(folder, ignore_errors=True)
    return status(settings)


def status(settings: Settings) -> StackStatus:
    """How the stack is; changes nothing and needs nothing to be there."""
    places = StackPlaces(settings.places.home)
    state, supervisor = read_state(places), Supervisor(places)
    base = StackStatus(
        state="down",
        home=str(places.home),
        api_url=state.api_url if state else None,
        api_ready=False,
        supervisor_pid=None,
        started_at=None,
        processes=(),
        external=tuple(state.external if state else external(settings)),
        pgdata=(state.pgdata or None) if state else None,
    )
    try:
        pid = supervisor.pid()
        found = tuple(
            one for one in supervisor.processes() if (one.name, one.state) != (LEARNER, "stopped")
        )
    except GONE:
        left = processes.belonging_to(places) if places.home.is_dir() else []
        orphans = _describe_orphans(left, state)
        return replace(base, state="orphaned", orphans=orphans) if left else base
    ready = state is not None and _answers(f"{state.api_url}/health/ready")
    well = ready and all(one.state in ("running", "starting") for one in found)
    return replace(
        base,
        state="up" if well else "degraded",
        api_ready=ready,
        supervisor_pid=pid,
        started_at=datetime.fromisoformat(state.started_at) if state and state.started_at else None,
        processes=found,
        orphans=_describe_orphans(processes.unsupervised(places, pid), state),
    )


def erase(settings: Settings) -> None:
    """Remove the stack that is down, with all its data.

    Raises:
        StackError: It is not down.
    """
    places = StackPlaces(settings.places.home)
    if processes.belonging_to(places):
        raise StackError(f"the stack of {places.home} is not down")
    if places.pgdata.exists():
        PostgresServer(places).erase()
    for folder in (places.socket_dir, places.postgres_socket_dir, places.home):
        shutil.rmtree(folder, ignore_errors=True)


def _launch(
    settings: Settings, places: StackPlaces, supervisor: Supervisor, before: StackState | None
) -> StackState:
    """Write everything down and start supervisord, which starts nothing yet."""
    elsewhere = external(settings)
    if "database" not in elsewhere:
        server = PostgresServer(places)
        server.initialise()
        server.clear_stale_locks()
    if "broker" not in elsewhere:
        RedisServer(places).initialise()
    operator_key(places)
    port = choose_port(settings.api.host, settings.api.port, before.api_port if before else None)
    supervisor.configure(programs(settings, places))
    supervisor.launch(environment(settings, places, port))
    state = StackState(
        api_host=settings.api.host,
        api_port=port,
        fingerprint="",  # written when all of it has come up
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        supervisor_pid=supervisor.pid(),
        pids={},
        pgdata="" if "database" in elsewhere else str(places.pgdata),
        versions={name: version(name) for name in ("pinpoint", "supervisor", "celery", "torch")},
        external=elsewhere,
        settings=record_settings(settings, operator_key(places)),
        code=code_digest(),
    )
    write_state(places, state)
    return state


def _start_all(
    settings: Settings, places: StackPlaces, supervisor: Supervisor, state: StackState, tell: Say
) -> None:
    """Start what does not run, each when what it needs is ready."""
    names = [one.name for one in programs(settings, places)]
    server, broker = PostgresServer(places), RedisServer(places)
    for name in ("postgres", "redis"):
        if name in names:
            supervisor.start(name)
    if "postgres" in names:
        tell("waiting for PostgreSQL")
        _wait(places, supervisor, "postgres", server.ready)
        server.prepare()
    tell("migrating the database")
    migrate.upgrade(settings.places.database_url or places.owner_url())
    if "redis" in names:
        tell("waiting for Redis")
        _wait(places, supervisor, "redis", broker.ready)
    if "index" in names:
        tell("waiting for the index")
        supervisor.start("index")
        _wait(places, supervisor, "index", lambda: connects(places.index_socket))
    for name in ("api", "worker", "beat"):
        supervisor.start(name)
    tell("waiting for API and worker")
    _wait(places, supervisor, "api", lambda: _answers(f"{state.api_url}/health/ready"))
    if "redis" in names:
        _wait(places, supervisor, "worker", lambda: broker.consumers() > 0)
    _wait(places, supervisor, "beat", lambda: True)


def _wait(
    places: StackPlaces, supervisor: Supervisor, name: str, ready: Callable[[], bool]
) -> None:
    """Wait until a program is ready, but not for one that supervisord has given up.

    Raises:
        StackError: It does not become ready.
    """
    until = time.monotonic() + _READY_S
    while True:
        now = next(one for one in supervisor.processes() if one.name == name)
        if now.pid is not None and ready():
            return
        # A program that fails again and again at once need not be waited for to the end.
        if now.state in _GIVEN_UP or now.restarts >= 4 or time.monotonic() > until:
            log = places.logs_dir / f"{name}.log"
            last = log.read_text(encoding="utf-8", errors="replace")[-800:] if log.exists() else ""
            raise StackError(f"{name} does not become ready ({now.state}); see {log}:\n{last}")
        time.sleep(0.05)


def _take_down(places: StackPlaces, supervisor: Supervisor, tell: Say) -> None:
    """End every process of this home, in order where the supervisor still answers.

    Raises:
        StackError: One could not be ended.
    """
    if supervisor.answers():
        for names in _STOP_ORDER:
            tell(f"stopping {', '.join(names)}")
            supervisor.stop(names, _GRACE_S + 5)
        supervisor.shutdown()
        processes.wait_gone(processes.belonging_to(places), 5.0)
    left = processes.belonging_to(places)
    for process in left:
        if process.pid == supervisor.recorded_pid():
            # It answers nobody, so it would not hear a polite signal either, and would start
            # again what is stopped below.
            processes.end([process], 0.0)
    servers = [one for one in left if processes.process_name(one) in processes.SERVERS]
    # Clients first: a server waits for them, or they log that it has gone.
    survivors = processes.end([one for one in left if one not in servers], _GRACE_S)
    survivors += processes.end(servers, _GRACE_S)
    survivors += processes.belonging_to(places)
    if survivors:
        raise StackError(f"these processes cannot be ended: {survivors}")
    for path in (places.supervisor_socket, places.redis_socket, places.index_socket):
        path.unlink(missing_ok=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _describe_orphans(
    left: Sequence[psutil.Process], state: StackState | None
) -> tuple[Orphan, ...]:
    """The topmost ones; a process below another one ends with it."""
    pids, programs_of = {one.pid for one in left}, {} if state is None else state.pids
    names = {pid: name for name, pid in programs_of.items()}
    return tuple(
        Orphan(one.pid, names.get(one.pid) or processes.process_name(one))
        for one in left
        if processes.parent_pid(one) not in pids
    )


def _silent(_: str) -> None:
    return None
