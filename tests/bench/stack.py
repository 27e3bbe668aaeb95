"""A private PostgreSQL and index owners for one run of the bench; nothing stays behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pinpoint.errors import IndexUnavailable
from pinpoint.records import IndexSpec
from pinpoint.stack import migrate
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.postgres import PostgresServer
from pinpoint.store.vectors_remote import RemoteIndex

TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Bench:
    """One run's services; PostgreSQL as `pinpoint up` sets it up, so it waits for the disk."""

    places: StackPlaces
    server: PostgresServer
    _ends: ExitStack = field(repr=False)

    def database(self, name: str) -> tuple[str, str]:
        """A migrated database: the owner's URL and the API's."""
        self.server.prepare(name)
        migrate.upgrade(self.places.owner_url(name))
        return self.places.owner_url(name), self.places.api_url(name)

    def index(self, name: str, points: str, database: str) -> RemoteIndex:
        """An index owner in its own process, as the stack runs it, and its client."""
        folder, socket = self.index_folder(name), self.places.socket_dir / f"{name}.sock"
        environment = {
            **os.environ,
            "PINPOINT_HOME": str(self.places.home),
            "PINPOINT_DATABASE_URL": self.places.owner_url(database),
            "PYTHONPATH": str(TESTS),
        }
        command = [sys.executable, "-P", "-m", "pinpoint.stack.index_owner"]
        command += ["--folder", str(folder), "--socket", str(socket), "--points", points]
        log = (self.places.logs_dir / f"{name}.log").open("ab")
        self._ends.callback(log.close)
        owner = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        self._ends.callback(_end, owner)
        client = RemoteIndex(socket)
        until = time.monotonic() + 60
        while True:
            try:
                client.ping()
                return client
            except IndexUnavailable:
                if owner.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def index_folder(self, name: str) -> Path:
        """Where the owner of that name keeps its builds."""
        return self.places.home / f"index-{name}"


@contextmanager
def bench() -> Iterator[Bench]:
    """Everything below one temporary home, removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="pinpoint-bench-"))
    places = StackPlaces(root / "home")
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, root, ignore_errors=True)
        places.create()
        ends.callback(shutil.rmtree, places.socket_dir, ignore_errors=True)
        server = PostgresServer(places)
        ends.callback(server.erase)
        ends.callback(server.stop)
        server.start()
        yield Bench(places, server, ends)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def rebuild(index: RemoteIndex, spec: IndexSpec, say) -> None:
    """Let the owner's child build and optimise an index from PostgreSQL, and wait for the swap."""
    index.ensure(spec)
    index.rebuild()
    last = ""
    while True:
        now = index.progress()
        if now.state != last:
            say(f"index: {now.state} ({now.points} points)")
            last = now.state
        if now.state == "done":
            return
        if now.state == "failed":
            raise RuntimeError(f"the index was not built: {now.error}")
        time.sleep(0.5)
