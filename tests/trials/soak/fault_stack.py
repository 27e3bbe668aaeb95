"""The stack that faults are injected into: its start, its processes and its clock."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from conftest import dismiss, home_folder, watch_over
from pinpoint.api_settings import ApiSettings
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings, WorkerSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import read_state
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.programs import build_environment
from pinpoint.stack.supervisor.supervisord import UNREACHABLE_ERRORS, ProcessStatus, Supervisor

LEASE_S = 4.0
BLOBS_MB, INDEX_MB = 48, 1024
_SECOND = (
    "worker",
    "--pool=solo",
    "--concurrency=1",
    "--without-gossip",
    "--without-mingle",
    "-Q",
    "ingest,backfill,maintenance",
    "-n",
    "second@pinpoint",
)


class FaultStack:
    """One running stack with short settings."""

    def __init__(
        self,
        home: Path,
        folder: Path,
        *,
        faked_clock: bool,
        small_disks: bool,
        chunk: int,
        lease_s: float,
        broker_url: str | None,
    ) -> None:
        self.settings = Settings(
            services=ServiceSettings(home=home, broker_url=broker_url),
            encoder=EncoderSettings(bundle="descriptor"),
            api=ApiSettings(),
            worker=WorkerSettings(
                task_batch_size=chunk,
                lease_ttl_s=lease_s,
                recovery_interval_s=1.0,
                tombstone_ttl_s=30.0,
                reconcile_interval_s=3_600.0,
            ),
        )
        self.paths = StackPaths(home)
        self.supervisor = Supervisor(self.paths)
        self.small_disks = small_disks
        self._clock = folder / "offset"
        self._clock.write_bytes(struct.pack("q", 0))
        self._shim = _shim(folder) if faked_clock else None
        self._second: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.offset_s = 0

    def up(self) -> None:
        """Start the supervisor, as an init system does."""
        with self._lock, self._as_faked():
            lifecycle.start_stack(self.settings)

    @contextlib.contextmanager
    def _as_faked(self) -> Iterator[None]:
        if self._shim is None:
            yield
            return
        os.environ.update(LD_PRELOAD=str(self._shim), SOAK_CLOCK_FILE=str(self._clock))
        try:
            yield
        finally:
            del os.environ["LD_PRELOAD"], os.environ["SOAK_CLOCK_FILE"]

    @property
    def faked_clock(self) -> bool:
        """Whether the clock of the stack's processes can be set."""
        return self._shim is not None

    def set_clock(self, offset_s: int) -> None:
        """Every process of the stack sees this offset at once."""
        self.offset_s = offset_s
        with self._clock.open("r+b") as file:
            file.write(struct.pack("q", offset_s))

    def second_worker(self) -> None:
        """Start a worker outside the supervisor, as on a second machine."""
        if self._second is not None and self._second.poll() is None:
            return
        state = read_state(self.paths)
        assert state is not None
        with self._as_faked(), (self.paths.logs_dir / "worker2.log").open("ab") as log:
            self._second = subprocess.Popen(
                [sys.executable, "-P", "-m", "celery", "-A", "pinpoint_workers.app:app", *_SECOND],
                env=build_environment(self.settings, self.paths, state.api_port),
                stdout=log,
                stderr=log,
                cwd="/",
            )

    @property
    def second_pid(self) -> int | None:
        one = self._second
        return one.pid if one is not None and one.poll() is None else None

    def process(self, name: str) -> ProcessStatus:
        return next(one for one in self.supervisor.processes() if one.name == name)

    def pid(self, name: str) -> int | None:
        """Process id of a program, None while it has none or the supervisor does not answer."""
        if name == "supervisor":
            return self.supervisor.recorded_pid()
        with contextlib.suppress(*UNREACHABLE_ERRORS):
            return self.process(name).pid
        return None

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Rows, as the superuser; asked again while PostgreSQL is away."""

        def ask() -> list[Any]:
            dsn = self.paths.superuser_dsn("pinpoint")
            with psycopg.connect(dsn, autocommit=True, connect_timeout=3) as connection:
                connection.execute("SET search_path = pinpoint, public")
                cursor = connection.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

        return patiently(ask, psycopg.OperationalError, 90.0)

    def logged(self, program: str) -> Iterator[dict[str, Any]]:
        """Lines of a program's log that are JSON."""
        for path in sorted(self.paths.logs_dir.glob(f"{program}.log*"), reverse=True):
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("{"):
                        with contextlib.suppress(ValueError):
                            yield json.loads(line)

    def close_second(self) -> None:
        if self._second is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self._second.pid).resume()
            self._second.kill()
            self._second.wait()


def patiently(ask: Callable[[], Any], error: type[Exception], limit_s: float) -> Any:
    until = time.monotonic() + limit_s
    while True:
        try:
            return ask()
        except error:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


@contextlib.contextmanager
def run_fault_stack(
    *,
    clock: bool = True,
    disks: bool = True,
    second: bool = True,
    chunk: int = 16,
    lease_s: float = LEASE_S,
    broker_url: str | None = None,
) -> Iterator[FaultStack]:
    """Run a stack for fault injection, and remove it afterwards.

    Args:
        clock: Let its clock be set, where there is a C compiler.
        disks: Give blobs and index small disks, where mounting is allowed.
        second: Run a second worker beside the supervised one.
        chunk: Items in one task.
        lease_s: How long a claim holds.
        broker_url: A broker instead of the embedded Redis.
    """
    with (
        home_folder() as home,
        tempfile.TemporaryDirectory(prefix="pinpoint-test-") as clock_folder,
    ):
        home.mkdir(mode=0o700)
        # The user that runs PostgreSQL has to read it too.
        Path(clock_folder).chmod(0o755)
        mounted = [] if not disks else _mount(home)
        stack = FaultStack(
            home,
            Path(clock_folder),
            faked_clock=clock,
            small_disks=bool(mounted),
            chunk=chunk,
            lease_s=lease_s,
            broker_url=broker_url,
        )
        watcher = watch_over(home)
        try:
            stack.up()
            if second:
                stack.second_worker()
            yield stack
        finally:
            stack.close_second()
            pid = stack.supervisor.recorded_pid()
            if pid is not None and psutil.pid_exists(pid):
                psutil.Process(pid).resume()
            lifecycle.stop_stack(stack.settings)
            dismiss(watcher)
            for folder in mounted:
                subprocess.run(["umount", "-l", str(folder)], check=False)
            lifecycle.erase_stack(stack.settings)


def _mount(home: Path) -> list[Path]:
    """Small file systems for blobs and index; none where mounting is not allowed."""
    done: list[Path] = []
    for name, size_mb in (("blobs", BLOBS_MB), ("index", INDEX_MB)):
        folder = home / name
        folder.mkdir(mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            done.append(folder)
    return done


def _shim(folder: Path) -> Path | None:
    """Compile the library that shifts a process' clock; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    made = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    made.chmod(0o755)
    return made
