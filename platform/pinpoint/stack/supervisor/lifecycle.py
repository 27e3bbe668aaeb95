"""Starts and stops the stack of one home, and reports its status."""

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
from pinpoint.nets.bundle.bundles import prepare_built_in
from pinpoint.settings import BUILT_IN_BUNDLE, Settings
from pinpoint.stack import migrate
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import PostgresServer
from pinpoint.stack.servers.redis import RedisServer
from pinpoint.stack.state import (
    StackState,
    choose_port,
    load_operator_key,
    read_state,
    stack_lock,
    write_state,
)
from pinpoint.stack.supervisor import processes
from pinpoint.stack.supervisor.changes import (
    code_digest,
    describe_changes,
    fingerprint_settings,
    record_settings,
)
from pinpoint.stack.supervisor.programs import (
    JOBS_WORKER,
    TRAINING_WORKER,
    build_environment,
    list_external_services,
    list_programs,
)
from pinpoint.stack.supervisor.running import accepts_connections
from pinpoint.stack.supervisor.supervisord import UNREACHABLE_ERRORS, ProcessStatus, Supervisor

_READY_TIMEOUT_S: Final = 120.0
_STOP_GRACE_S: Final = 30.0
_STOP_ORDER: Final = (
    ("beat", "worker", JOBS_WORKER, TRAINING_WORKER, "api"),
    ("index",),
    ("postgres", "redis"),
)
_FAILED_STATES: Final = frozenset({"fatal", "exited", "stopped", "unknown"})

OnMessage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process of a home without a supervisor.

    Args:
        pid: Process id.
        name: Name of the stack's program, else the process name.
    """

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """Status of the stack of one home.

    Args:
        state: `up`: every process runs and the API is ready. `degraded`: some do not run, or the
            API is not ready. `orphaned`: processes run without their supervisor. `down`: no
            process runs.
        home: Path of the home.
        api_url: Base URL of the API, also while it is down.
        api_ready: Whether `/health/ready` succeeds.
        supervisor_pid: Process id of supervisord.
        started_at: Start time of supervisord.
        processes: One entry per process; the training worker's only after it was started.
        external: Services used instead of embedded ones: `database`, `broker`, `index`.
        pgdata: Data directory of the embedded PostgreSQL.
        orphans: Processes of this home without a supervisor, excluding their child processes;
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


def start_stack(settings: Settings, on_message: OnMessage | None = None) -> StackStatus:
    """Start the stack; do nothing if it is up with these settings and this code.

    Args:
        settings: Settings of the stack.
        on_message: Called with progress messages.

    Raises:
        StackError: A process cannot be started; the message names it and its log.
        DatabaseUnavailableError: The database named by PINPOINT_DATABASE_URL does not answer.
        BadBundleError: A new index needs the built-in bundle, and its weights are not installed.
    """
    on_message = on_message or _ignore_message
    paths = StackPaths(settings.services.home)
    paths.create()
    with stack_lock(paths.lock_file):
        state, supervisor = read_state(paths), Supervisor(paths)
        new_fingerprint, running = fingerprint_settings(settings), supervisor.answers()
        if running and state is not None and state.fingerprint == new_fingerprint:
            now = stack_status(settings)
            if now.state == "up":
                return now
        else:
            if running and state is not None:
                for reason in describe_changes(state, settings, load_operator_key(paths)):
                    on_message(f"restarting the stack: {reason}")
            _prepare_bundle(settings, paths, on_message)
            _shut_down_stack(paths, supervisor, on_message)
            state = _launch_supervisor(settings, paths, supervisor, state)
        _start_all(settings, paths, supervisor, state, on_message)
        now = stack_status(settings)
        pids = {process.name: process.pid or 0 for process in now.processes}
        write_state(paths, replace(state, fingerprint=new_fingerprint, pids=pids))
        return now


def _prepare_bundle(settings: Settings, paths: StackPaths, on_message: OnMessage) -> None:
    """Prepare the built-in bundle for a new index.

    Each process would do it when it needs the bundle; here an error ends `up` with its message.
    """
    if settings.encoder.bundle != BUILT_IN_BUNDLE or paths.live_contract() is not None:
        return
    if not (paths.bundles_dir / BUILT_IN_BUNDLE).is_dir():
        on_message(f"preparing the bundle {BUILT_IN_BUNDLE}, once for this home")
    prepare_built_in(paths.home)


def stop_stack(settings: Settings, on_message: OnMessage | None = None) -> StackStatus:
    """Stop the stack; afterwards none of its processes runs.

    Raises:
        StackError: A process could not be ended.
    """
    paths = StackPaths(settings.services.home)
    if paths.home.is_dir():
        with stack_lock(paths.lock_file):
            _shut_down_stack(paths, Supervisor(paths), on_message or _ignore_message)
            for folder in (paths.socket_dir, paths.postgres_socket_dir):
                shutil.rmtree(folder, ignore_errors=True)
    return stack_status(settings)


def stack_status(settings: Settings) -> StackStatus:
    """Read the status of the stack; changes nothing, and the home need not exist."""
    paths = StackPaths(settings.services.home)
    state, supervisor = read_state(paths), Supervisor(paths)
    base = StackStatus(
        state="down",
        home=str(paths.home),
        api_url=state.api_url if state else None,
        api_ready=False,
        supervisor_pid=None,
        started_at=None,
        processes=(),
        external=tuple(state.external if state else list_external_services(settings)),
        pgdata=(state.pgdata or None) if state else None,
    )
    try:
        pid = supervisor.pid()
        statuses = tuple(
            process
            for process in supervisor.processes()
            if (process.name, process.state) != (TRAINING_WORKER, "stopped")
        )
    except UNREACHABLE_ERRORS:
        remaining = processes.find_stack_processes(paths) if paths.home.is_dir() else []
        orphans = _describe_orphans(remaining, state)
        return replace(base, state="orphaned", orphans=orphans) if remaining else base
    ready = state is not None and _is_healthy(f"{state.api_url}/health/ready")
    is_well = ready and all(process.state in ("running", "starting") for process in statuses)
    return replace(
        base,
        state="up" if is_well else "degraded",
        api_ready=ready,
        supervisor_pid=pid,
        started_at=datetime.fromisoformat(state.started_at) if state and state.started_at else None,
        processes=statuses,
        orphans=_describe_orphans(processes.find_unsupervised(paths, pid), state),
    )


def erase_stack(settings: Settings) -> None:
    """Remove a stopped stack with all its data.

    Raises:
        StackError: The stack is not down.
    """
    paths = StackPaths(settings.services.home)
    if processes.find_stack_processes(paths):
        raise StackError(f"the stack of {paths.home} is not down")
    if paths.pgdata.exists():
        PostgresServer(paths).erase()
    for folder in (paths.socket_dir, paths.postgres_socket_dir, paths.home):
        shutil.rmtree(folder, ignore_errors=True)


def _launch_supervisor(
    settings: Settings, paths: StackPaths, supervisor: Supervisor, before: StackState | None
) -> StackState:
    """Write configuration and state, and start supervisord, which starts no program yet."""
    external_services = list_external_services(settings)
    if "database" not in external_services:
        server = PostgresServer(paths)
        server.initialize()
        server.clear_stale_locks()
    if "broker" not in external_services:
        RedisServer(paths).initialize()
    load_operator_key(paths)
    port = choose_port(settings.api.host, settings.api.port, before.api_port if before else None)
    supervisor.configure(list_programs(settings, paths))
    supervisor.launch(build_environment(settings, paths, port))
    state = StackState(
        api_host=settings.api.host,
        api_port=port,
        fingerprint="",  # written when the whole stack is up
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        supervisor_pid=supervisor.pid(),
        pids={},
        pgdata="" if "database" in external_services else str(paths.pgdata),
        versions={name: version(name) for name in ("pinpoint", "supervisor", "celery", "torch")},
        external=external_services,
        settings=record_settings(settings, load_operator_key(paths)),
        code=code_digest(),
    )
    write_state(paths, state)
    return state


def _start_all(
    settings: Settings,
    paths: StackPaths,
    supervisor: Supervisor,
    state: StackState,
    on_message: OnMessage,
) -> None:
    """Start programs that do not run, each after its dependencies are ready."""
    names = [program.name for program in list_programs(settings, paths)]
    server, broker = PostgresServer(paths), RedisServer(paths)
    for name in ("postgres", "redis"):
        if name in names:
            supervisor.start(name)
    if "postgres" in names:
        on_message("waiting for PostgreSQL")
        _wait_until_ready(paths, supervisor, "postgres", server.ready)
        server.prepare()
    on_message("migrating the database")
    migrate.upgrade_database(settings.services.database_url or paths.owner_url())
    if "redis" in names:
        on_message("waiting for Redis")
        _wait_until_ready(paths, supervisor, "redis", broker.ready)
    if "index" in names:
        on_message("waiting for the index")
        supervisor.start("index")
        _wait_until_ready(
            paths, supervisor, "index", lambda: accepts_connections(paths.index_socket)
        )
    for name in ("api", "worker", "beat"):
        supervisor.start(name)
    on_message("waiting for API and worker")
    _wait_until_ready(
        paths, supervisor, "api", lambda: _is_healthy(f"{state.api_url}/health/ready")
    )
    if "redis" in names:
        _wait_until_ready(paths, supervisor, "worker", lambda: broker.consumers() > 0)
    _wait_until_ready(paths, supervisor, "beat", lambda: True)
    # Last, because Redis counts the consumers of all queues.
    supervisor.start(JOBS_WORKER)
    _wait_until_ready(paths, supervisor, JOBS_WORKER, lambda: True)


def _wait_until_ready(
    paths: StackPaths, supervisor: Supervisor, name: str, ready: Callable[[], bool]
) -> None:
    """Wait until a program is ready; stop waiting if it keeps failing.

    Raises:
        StackError: The program does not become ready.
    """
    until = time.monotonic() + _READY_TIMEOUT_S
    while True:
        current = next(process for process in supervisor.processes() if process.name == name)
        if current.pid is not None and ready():
            return
        # A program that fails repeatedly at its start will not become ready.
        if current.state in _FAILED_STATES or current.restarts >= 4 or time.monotonic() > until:
            log = paths.logs_dir / f"{name}.log"
            last = log.read_text(encoding="utf-8", errors="replace")[-800:] if log.exists() else ""
            raise StackError(f"{name} does not become ready ({current.state}); see {log}:\n{last}")
        time.sleep(0.05)


def _shut_down_stack(paths: StackPaths, supervisor: Supervisor, on_message: OnMessage) -> None:
    """End every process of this home, in order if the supervisor still answers.

    Raises:
        StackError: A process could not be ended.
    """
    if supervisor.answers():
        for names in _STOP_ORDER:
            on_message(f"stopping {', '.join(names)}")
            supervisor.stop(names, _STOP_GRACE_S + 5)
        supervisor.shutdown()
        processes.wait_until_ended(processes.find_stack_processes(paths), 5.0)
    remaining = processes.find_stack_processes(paths)
    for process in remaining:
        if process.pid == supervisor.recorded_pid():
            # A hanging supervisor ignores SIGTERM and would restart the processes that are stopped
            # below, so it is killed first.
            processes.end_processes([process], 0.0)
    servers = [
        process for process in remaining if processes.process_name(process) in processes.SERVERS
    ]
    # Clients first: servers wait for their clients, and clients log a lost server.
    survivors = processes.end_processes(
        [process for process in remaining if process not in servers], _STOP_GRACE_S
    )
    survivors += processes.end_processes(servers, _STOP_GRACE_S)
    survivors += processes.find_stack_processes(paths)
    if survivors:
        raise StackError(f"these processes cannot be ended: {survivors}")
    for path in (paths.supervisor_socket, paths.redis_socket, paths.index_socket):
        path.unlink(missing_ok=True)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3.0) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _describe_orphans(
    unwatched: Sequence[psutil.Process], state: StackState | None
) -> tuple[Orphan, ...]:
    """Describe the topmost processes only: a child process ends with its parent."""
    pids, programs_of = {process.pid for process in unwatched}, {} if state is None else state.pids
    names = {pid: name for name, pid in programs_of.items()}
    return tuple(
        Orphan(process.pid, names.get(process.pid) or processes.process_name(process))
        for process in unwatched
        if processes.parent_pid(process) not in pids
    )


def _ignore_message(_: str) -> None:
    return None
