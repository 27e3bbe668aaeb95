"""An index owner in its own process, as the stack runs it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from index_gallery import ORG_A, gallery
from pinpoint.errors import IndexUnavailableError
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.store.vectors.rpc.client import RemoteIndex

EVERYTHING = IndexFilter(organization_id=ORG_A)
TESTS = Path(__file__).resolve().parent


ENGINE, BUILDER = "pinpoint.stack.index.engine_process", "pinpoint.stack.index.build"


def children_of(pid: int, program: str) -> list[psutil.Process]:
    """A process's children that run a program."""
    children = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
            if program in child.cmdline():
                children.append(child)
    return children


class Owner:
    """An owner process and its client."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source = folder / "index", source
        self.short = Path(tempfile.mkdtemp(prefix="pp", dir="/tmp"))
        self.socket = self.short / "i.sock"
        self.client = RemoteIndex(self.socket, timeout_s=20)
        self.log = folder / "owner.log"
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "pinpoint.stack.index.owner", "--folder", str(self.folder),
            "--socket", str(self.socket), "--points", "index_gallery:open_folder_source",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        paths = [str(TESTS), *sys.path]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "INDEX_TEST_SOURCE": str(self.source),
        }

    def start(self) -> RemoteIndex:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command(), env=self.environment(), stderr=log)
        until(self.answers)
        return self.client

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.client.ping()
        except IndexUnavailableError:
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def engines(self) -> list[psutil.Process]:
        """Processes that have a build open."""
        return children_of(self.process.pid, ENGINE)

    def builds(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "builds").iterdir())


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def owner(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    owner_process = Owner(tmp_path, source)
    yield owner_process
    if owner_process.process is not None and owner_process.process.poll() is None:
        owner_process.kill()
    shutil.rmtree(owner_process.short)


def question(limit: int = 5) -> IndexQuery:
    vector = gallery(2)[1].vectors["image"]
    return IndexQuery(channel="image", vector=vector, filter=EVERYTHING, limit=limit, exact=True)


def ask(client):
    return client.search([question()])[0]
