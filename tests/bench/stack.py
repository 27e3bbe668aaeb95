"""A complete stack for one part of the bench, as `pinpoint up` starts it; removed afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.files import tower
from conftest import dismiss, home_folder, watch_over
from pinpoint.cli.api_client import ApiClient
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings, WorkerSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.redis import RedisServer
from pinpoint.stack.state import read_state
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.programs import build_environment
from pinpoint.stack.supervisor.supervisord import Supervisor
from pinpoint.store.vectors.rpc.client import RemoteIndex
from pinpoint_client.transport import HttpTransport

Say = Callable[[str], None]
Tower = Callable[[Path], tuple[EncoderSettings, str]]
"""Writes a bundle to the folder of bundles if needed; returns settings that name it, and its
description."""
_BACKGROUND = ("beat", "worker", "jobs-worker")
_START_S, _STOP_S = 120.0, 40.0
_TELL_S = 15.0
_NEVER_S = 10 * 86_400.0


@dataclass(frozen=True)
class Stack:
    """One running stack."""

    settings: Settings
    tower: str

    @property
    def paths(self) -> StackPaths:
        return StackPaths(self.settings.services.home)

    @property
    def index(self) -> RemoteIndex:
        return RemoteIndex(self.paths.index_socket)

    def client(self, organization: str) -> ApiClient:
        """API client of an organization."""
        state = read_state(self.paths)
        if state is None:
            raise RuntimeError("the stack is down")
        key = self.paths.operator_key_file.read_text().strip()
        return ApiClient(HttpTransport(state.api_url, key, organization, embedded=True))

    def pid(self, program: str) -> int:
        """Process id of a running program."""
        pids = {
            program_state.name: program_state.pid
            for program_state in Supervisor(self.paths).processes()
        }
        pid = pids[program]
        if pid is None:
            raise RuntimeError(f"{program} does not run")
        return pid

    def stop_background(self) -> None:
        """Stop the background programs."""
        Supervisor(self.paths).stop(_BACKGROUND, _STOP_S)

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        """Run this many workers: the stack's own, and others as on additional machines."""
        supervisor = Supervisor(self.paths)
        with ExitStack() as ends:
            supervisor.start("worker")
            ends.callback(self.stop_background)
            for number in range(1, count):
                ends.callback(_stop_process, self._another_worker(number))
            broker, until = RedisServer(self.paths), time.monotonic() + _START_S
            while broker.consumers() < count:
                if time.monotonic() > until:
                    raise RuntimeError(f"{count} workers do not start in {_START_S:g} s")
                time.sleep(0.1)
            yield

    def _another_worker(self, number: int) -> subprocess.Popen[bytes]:
        state = read_state(self.paths)
        if state is None:
            raise RuntimeError("the stack is down")
        command = [sys.executable, "-P", "-m", "celery", "-A", "pinpoint_workers.app:app", "worker"]
        command += [
            "--pool=solo",
            "--concurrency=1",
            "-Q",
            "ingest,backfill,maintenance",
            "-n",
            f"more{number}@pinpoint",
        ]
        with (self.paths.logs_dir / f"worker{number}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=build_environment(self.settings, self.paths, state.api_port),
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def rebuild(self, say: Say) -> None:
        """Rebuild and optimize the index from PostgreSQL, and wait for the swap."""
        index = self.index
        index.rebuild()
        reported, reported_at = "", 0.0
        while (now := index.progress()).state != "done":
            if now.state == "failed":
                raise RuntimeError(f"the index was not built: {now.error}")
            if now.state != reported or time.monotonic() > reported_at + _TELL_S:
                say(f"index: {now.state}, {now.points} points")
                reported, reported_at = now.state, time.monotonic()
            time.sleep(0.2)


@contextmanager
def stack(bundle: Tower = tower) -> Iterator[Stack]:
    """A running stack in a temporary home, removed afterwards."""
    with home_folder() as home:
        home.mkdir(mode=0o700)
        encoder, name = bundle(StackPaths(home).bundles_dir)
        settings = Settings(
            services=ServiceSettings(home=home),
            encoder=encoder,
            worker=WorkerSettings(reconcile_interval_s=_NEVER_S, prune_interval_s=_NEVER_S),
        )
        watcher = watch_over(home)
        try:
            lifecycle.start_stack(settings)
            yield Stack(settings, name)
        finally:
            lifecycle.stop_stack(settings)
            dismiss(watcher)
            lifecycle.erase_stack(settings)


def measure_mib(running: Stack) -> dict[str, float]:
    """Memory of the index owner and its engine, and disk of index and database, MiB."""
    build = running.paths.index_dir / "builds" / str(running.index.info().build)
    owner = psutil.Process(running.pid("index"))
    memory_infos = [process.memory_info() for process in (owner, *owner.children())]
    url = running.paths.owner_url().replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        (row,) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
    files = [path.stat().st_blocks * 512 for path in build.rglob("*") if path.is_file()]
    taken = {
        "owner_rss": sum(process.rss for process in memory_infos),
        # Mapped from the index's files: the kernel may reclaim these pages.
        "owner_rss_of_files": sum(process.shared for process in memory_infos),
        "index_on_disk": sum(files),
        "postgresql_on_disk": row[0],
    }
    return {name: size / 2**20 for name, size in taken.items()}


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
