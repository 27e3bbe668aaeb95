"""One private PostgreSQL and Redis for the whole run, a fresh database for each test.

The kernel ends the servers together with this process, and a watcher stops the full stack when
the pipe to this process closes: no process remains, even after `kill -9`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from file_schedule import UnitScheduling, sort_tests
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack import migrate
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import PostgresServer
from pinpoint.stack.servers.redis import RedisServer
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.stack.supervisor.lifecycle import StackStatus

TESTS = Path(__file__).parent
TRIALS = TESTS / "trials"
SERVER_FIXTURES = frozenset({"postgres", "_redis", "server_paths", "running_stack"})
"""A test that uses one of these, also through another fixture, is marked `stack`."""
STACK_TESTS = (
    "trials/",
    "stack/test_backup.py",
    "stack/test_index_engine.py",
    "stack/test_index_owner.py",
    "stack/test_index_rebuild.py",
    "stack/test_stack_lifecycle.py",
)
"""Beginnings of the ids of tests that start their servers themselves; marked `stack` as well."""
SLOW_TESTS = (
    "store/test_feature_cache.py::test_concurrent_processes_read_whole_features_only",
    "cli/test_cli_exit_codes.py::test_help_of_every_command_exits_0_without_heavy_imports",
    "cli/test_cli_messages.py",
    "docs/test_site.py",
    "nets/test_nets_geoclip.py",
    "nets/test_nets_losses.py::test_embedder_networks_overfit_one_batch",
    "nets/test_nets_joint_embedding.py",
)
"""Beginnings of the ids of tests without servers that take more than 3 s; marked `slow`."""
TEST_BUNDLE = "descriptor"
"""The bundle of every stack that names no other: most tests need vectors, not good ones."""
TEMPLATE = "template_pinpoint"
# Test data need not survive a crash of the machine, so writes need not reach the disk.
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def pytest_configure(config: pytest.Config) -> None:
    # SIGTERM (a CI that gives up) has to run the fixtures' ends, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    for name in [name for name in os.environ if name.startswith("PINPOINT_")]:
        if not name.startswith("PINPOINT_TEST_"):
            del os.environ[name]
    os.environ["PINPOINT_BUNDLE"] = TEST_BUNDLE


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Trials inject faults and are slow: they run only on request.
    are_requested = any("trials" in argument for argument in config.invocation_params.args)
    return True if collection_path == TRIALS and not are_requested else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> UnitScheduling:
    config.option.loadscopereorder = False
    return UnitScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server and the slow ones; `make test-fast` leaves them out."""
    items[:] = sort_tests(items)
    for item in items:
        test_id = item.nodeid.removeprefix("tests/")
        if SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("stack")
        if test_id.startswith(STACK_TESTS):
            item.add_marker("stack")
        if test_id.startswith(SLOW_TESTS):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PINPOINT_")]:
        if not name.startswith("PINPOINT_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PINPOINT_BUNDLE", TEST_BUNDLE)


@pytest.fixture(scope="session")
def server_paths() -> Iterator[StackPaths]:
    _sweep_killed_runs()
    with home_folder() as home:
        paths = StackPaths(home)
        paths.create()
        yield paths
        shutil.rmtree(paths.socket_dir, ignore_errors=True)


def _sweep_killed_runs() -> None:
    """Remove the files of runs that a `kill -9` or a power cut kept from doing so themselves."""
    for root in Path(tempfile.gettempdir()).glob("pinpoint-test-*"):
        paths = StackPaths(root / "home")
        if root.stat().st_mtime > time.time() - 6 * 3600 or processes.find_stack_processes(paths):
            continue
        PostgresServer(paths).erase()
        for folder in (paths.socket_dir, root):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_paths: StackPaths) -> Iterator[PostgresServer]:
    """The run's PostgreSQL, with a migrated template database."""
    server = PostgresServer(server_paths, QUICK)
    server.start()
    try:
        server.prepare(TEMPLATE)
        migrate.upgrade_database(server_paths.owner_url(TEMPLATE))
        yield server
    finally:
        server.stop()
        server.erase()


@pytest.fixture
def _database(postgres: PostgresServer) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    yield name
    postgres.drop(name)


@pytest.fixture
def database_url(_database: str, server_paths: StackPaths) -> str:
    """Owner URL of the migrated database of this test."""
    return server_paths.owner_url(_database)


@pytest.fixture
def api_database_url(_database: str, server_paths: StackPaths) -> str:
    """URL of the same database for the API role."""
    return server_paths.api_url(_database)


@pytest.fixture(scope="session")
def _redis(server_paths: StackPaths) -> Iterator[RedisServer]:
    server = RedisServer(server_paths)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(_redis: RedisServer, server_paths: StackPaths) -> str:
    """Broker URL of the run's Redis, emptied for this test."""
    _redis.flush()
    return server_paths.broker_url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of this test, named by PINPOINT_HOME."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("PINPOINT_HOME", str(folder))
    yield folder
    paths = StackPaths(folder)
    for folder_ in (paths.socket_dir, paths.postgres_socket_dir):
        shutil.rmtree(folder_, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A real stack that other tests talk to."""

    home: Path
    paths: StackPaths
    settings: Settings
    status: StackStatus

    @property
    def api_url(self) -> str:
        assert self.status.api_url is not None
        return self.status.api_url

    @property
    def operator_key(self) -> str:
        return self.paths.operator_key_file.read_text(encoding="utf-8").strip()

    @property
    def as_operator(self) -> dict[str, str]:
        """Headers of a request by the operator of this machine."""
        return {"Authorization": f"Bearer {self.operator_key}"}


@pytest.fixture(scope="session")
def running_stack() -> Iterator[RunningStack]:
    """A stack as `pinpoint up` starts it, in a temporary home; checks that no process remains."""
    with home_folder() as home:
        settings = Settings(services=ServiceSettings(home=home))
        paths = StackPaths(home)
        watcher = watch_over(home)
        try:
            yield RunningStack(home, paths, settings, lifecycle.start_stack(settings))
        finally:
            lifecycle.stop_stack(settings)
            remaining = processes.find_stack_processes(paths)
            dismiss(watcher)
            lifecycle.erase_stack(settings)
        assert remaining == []


def watch_over(home: Path) -> subprocess.Popen[bytes]:
    """Start a process that stops the stack when this process exits."""
    code = (
        "import sys; from pathlib import Path;"
        "from pinpoint.settings import ServiceSettings, Settings;"
        "from pinpoint.stack.supervisor import lifecycle;"
        "message = sys.stdin.buffer.read();"
        "settings = Settings(services=ServiceSettings(home=Path(sys.argv[1])));"
        "message or (lifecycle.stop_stack(settings), lifecycle.erase_stack(settings))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, start_new_session=True
    )


def dismiss(watcher: subprocess.Popen[bytes]) -> None:
    """Stop the watcher without stopping the stack."""
    watcher.communicate(b"ended\n", timeout=30)


@contextmanager
def home_folder() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="pinpoint-test-"))
    try:
        yield root / "home"
    finally:
        shutil.rmtree(root, ignore_errors=True)
