"""Builds of the embedded index on disk, and the child process that makes one from PostgreSQL.

    index/current          name of the build that serves, replaced atomically
    index/builds/<name>/   index.json and the shard

What serves is never optimised in place, because every call would stall meanwhile: a niced child
(`python -m pinpoint.stack.index_build`) writes a new folder and tells its progress on stdout.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pinpoint import logs
from pinpoint.errors import IndexUnavailable, Misconfigured, PinpointError
from pinpoint.ports import PointSource, VectorIndex
from pinpoint.settings import Settings
from pinpoint.stack.processes import end_with
from pinpoint.store.vectors_edge import EdgeIndex
from pinpoint.store.vectors_verify import verify

DEFAULT_POINTS: Final = "pinpoint.bootstrap:open_point_source"
"""Factory of the `PointSource`, `module:function`; it takes the digest of a contract, or None."""

ROUNDS: Final = 20
"""At most so often is brought what changed meanwhile."""
FEW: Final = 512
"""Changes that may be left for the next in turn to bring."""

_NAME: Final = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{4}")
_NICENESS: Final = 10

Report = Callable[[str, int], None]


class Builds:
    """The folder of builds and its pointer.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builds = folder / "builds"
        self._builds.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Folder of a build."""
        return self._builds / name

    def current(self) -> str | None:
        """Name of the build that serves, None before the first.

        Raises:
            IndexUnavailable: The pointer file holds something else.
        """
        pointer = self._folder / "current"
        try:
            name = pointer.read_text(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _NAME.fullmatch(name):
            raise IndexUnavailable(
                f"{pointer} names no build; write the name of a folder in {self._builds} into it, "
                "or remove it and rebuild the index"
            )
        return name

    def about(self, name: str) -> dict[str, Any]:
        """What a whole build says of itself: `contract`, `dims`, `watermark`."""
        about: dict[str, Any] = json.loads((self.path(name) / "index.json").read_text())
        return about

    def point_to(self, name: str) -> None:
        """Let `name` serve from now on, also after a crash."""
        draft = self._folder / "current.new"
        with draft.open("w") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / "current")
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self, name: str) -> None:
        """Remove a build."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def sweep(self) -> None:
        """Remove what crashes left: every build but the current one."""
        current = self.current()
        for folder in self._builds.iterdir():
            if folder.name != current:
                shutil.rmtree(folder, ignore_errors=True)


def open_source(factory: str, contract: str | None) -> PointSource:
    """Call a factory named `module:function`.

    Args:
        factory: Which.
        contract: Digest of the contract wanted; None for that of the settings' bundle.

    Raises:
        Misconfigured: There is no such function.
        BadBundle: There is no bundle of that contract.
    """
    module, _, function = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(
            f"no point source {factory!r}: {error}; give module:function"
        ) from error
    source: PointSource = make(contract)
    return source


def build(folder: Path, source: PointSource, report: Report, *, verified: bool = False) -> None:
    """Make a whole, optimised index in an empty folder.

    Args:
        folder: Its name becomes the build's.
        source: Where the points come from.
        report: Called with `streaming`, `optimizing`, `verifying` or `catching up`, and the points
            written, or looked for, so far.
        verified: Look for stored vectors in the end.

    Raises:
        IndexUnavailable: They are not found.
    """
    watermark = source.watermark()
    # Nobody asks this one but the verification, and that wants to know of the graph.
    index = EdgeIndex(folder, chooser=lambda _: "acorn")
    index.ensure(source.spec())
    written = 0
    for points in source.stream():
        index.upsert(points)
        written += len(points)
        report("streaming", written)
    index.delete(source.tombstones())
    report("optimizing", written)
    index.optimize()
    if verified:
        verify(index, lambda looked_for: report("verifying", looked_for))
    index.annotate(watermark=_caught_up(index, source, watermark, report))
    index.close()


def _caught_up(index: EdgeIndex, source: PointSource, since: int, report: Report) -> int:
    """Bring what changed during the build, until little is left; returns where to go on from.

    Here, because this process is niced and can be stopped while callers wait.
    """
    brought = 0
    for _ in range(ROUNDS):
        report("catching up", brought)
        mark, changed = replay(source, index, since)
        brought += changed
        # A transaction as old as the build keeps the mark: another round would bring the same.
        if changed < FEW or mark == since:
            return mark
        since = mark
    return since


def replay(
    source: PointSource,
    index: VectorIndex,
    since: int,
    between: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Bring rows that changed at or after `since`.

    Args:
        source: Where they come from.
        index: Where they go.
        since: A watermark.
        between: Called before each write.

    Returns:
        The mark to go on from, and how many rows there were.
    """
    mark, changed = source.watermark(), 0
    for points in source.stream(since=since):
        between()
        index.upsert(points)
        changed += len(points)
    buried = source.tombstones(since=since)
    index.delete(buried)
    return mark, changed + len(buried)


def _tell(state: str, points: int) -> None:
    sys.stdout.write(json.dumps({"state": state, "points": points}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Build one index, told by the owner; exit status 0 means it is whole."""
    parser = argparse.ArgumentParser(prog="pinpoint.stack.index_build")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--points", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--contract", help="digest; default: of the settings' bundle")
    parser.add_argument("--verified", action="store_true", help="look for a sample in the end")
    parser.add_argument("--alone", action="store_true", help="nobody is served: take all cores")
    given = parser.parse_args()
    end_with(given.parent)
    take_little(alone=given.alone)
    logs.configure(Settings.from_environment().log)
    try:
        source = open_source(given.points, given.contract)
        build(given.folder, source, _tell, verified=given.verified)
    except PinpointError as error:
        logs.get(__name__).error("index.build_failed", reason=error.reason, detail=error.message)
        raise SystemExit(1) from error


def take_little(*, alone: bool) -> None:
    """A low priority, and half of the cores unless nobody is served.

    Qdrant builds a graph with a thread per core, and a niced thread that runs already is not taken
    off its core at once: a question that needs two of them waits for the slower one. On two cores
    the longest question during a rebuild of 100,000 images fell from 1.10 s to 0.74 s, and the
    build took 203 s instead of 114 s: too dear where there is nothing to search yet.
    """
    os.nice(_NICENESS)
    if not alone and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[len(cores) // 2 :])


if __name__ == "__main__":
    main()
