"""The child process that builds an index from PostgreSQL: `python -m pinpoint.stack.index_build`.

What serves is never optimised in place, because every call would stall meanwhile: a niced child
writes a new folder. Then it has the owner open that, brings what changed meanwhile, and has it
serve. All that takes work is done here and not in the owner, whose interpreter all questions share.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pinpoint import logs
from pinpoint.errors import Misconfigured, PinpointError
from pinpoint.ports import PointSource, VectorIndex
from pinpoint.settings import Settings
from pinpoint.stack.processes import end_with
from pinpoint.store import vectors_wire as wire
from pinpoint.store.vectors_apart import upsert_apart
from pinpoint.store.vectors_edge import EdgeIndex
from pinpoint.store.vectors_remote import FramedIndex
from pinpoint.store.vectors_verify import check_whole, verify

DEFAULT_POINTS: Final = "pinpoint.bootstrap:open_point_source"
"""Factory of the `PointSource`, `module:function`; it takes the digest of a contract, or None."""

ROUNDS: Final = 20
"""At most so often is brought what changed meanwhile."""
FEW: Final = 512
"""Changes that may be left for the next in turn to bring."""

_NICENESS: Final = 10

Report = Callable[[str, int], None]


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


def build(folder: Path, source: PointSource, report: Report, *, verified: bool = False) -> int:
    """Make a whole, optimised index in an empty folder.

    Args:
        folder: Its name becomes the build's.
        source: Where the points come from.
        report: Called with `streaming`, `optimizing`, `verifying` or `catching up`, and the points
            written, or looked for, so far.
        verified: Look for stored vectors in the end.

    Returns:
        The mark from which on changes are not in it.

    Raises:
        IndexUnavailable: Stored vectors are not found.
    """
    mark = source.watermark()
    # Nobody asks this one but the verification, and that wants to know of the graph.
    index = EdgeIndex(folder, chooser=lambda _: "acorn")
    index.ensure(source.spec())
    written = 0
    for points in source.stream():
        written += upsert_apart(index.upsert, points)
        report("streaming", written)
    index.delete(source.tombstones())
    report("optimizing", written)
    index.optimize()
    if verified:
        verify(index, lambda num_checked: report("verifying", num_checked))
    mark = _catch_up_with_changes(index, source, mark, report)
    index.close()
    return mark


def _catch_up_with_changes(
    index: EdgeIndex, source: PointSource, since: int, report: Report
) -> int:
    """Bring what changed during the build, until little is left; returns where to go on from."""
    num_replayed = 0
    for _ in range(ROUNDS):
        report("catching up", num_replayed)
        mark, changed = replay(source, index, since)
        num_replayed += changed
        # A transaction as old as the build keeps the mark: another round would bring the same.
        if changed < FEW or mark == since:
            return mark
        since = mark
    return since


def replay(source: PointSource, index: VectorIndex, since: int) -> tuple[int, int]:
    """Bring rows that changed at or after `since`.

    Args:
        source: Where they come from.
        index: Where they go.
        since: A watermark.

    Returns:
        The mark to go on from, and how many rows there were.
    """
    mark, changed = source.watermark(), 0
    for points in source.stream(since=since):
        upsert_apart(index.upsert, points)
        changed += len(points)
    tombstones = source.tombstones(since=since)
    index.delete(tombstones)
    return mark, changed + len(tombstones)


class Owner(FramedIndex):
    """The owner as its builder sees it: as an index it is what was built, once that is open.

    Args:
        link: Answered by `index_swap.OwnedIndex`.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link

    def _exchange(self, frame: bytes) -> bytes:
        self._link.send_bytes(frame)
        return self._link.recv_bytes(wire.MAX_FRAME)

    def report_progress(self, state: str, points: int) -> None:
        """Say how far the build is."""
        self._call({"verb": "tell", "state": state, "points": points})

    def fail(self, reason: str) -> None:
        """Say why there will be no build."""
        self._call({"verb": "fail", "why": reason})

    def open(self) -> bool:
        """Have what was built opened; whether it is of another contract than what serves."""
        fields, _ = self._call({"verb": "open"})
        return bool(fields["other"])

    def copy(self) -> int:
        """Have copied what the owner wrote meanwhile; returns how many ids that were."""
        fields, _ = self._call({"verb": "copy"})
        return int(fields["copied"])

    def swap(self) -> None:
        """Have it serve."""
        self._call({"verb": "swap"})


def hand_over(owner: Owner, source: PointSource, mark: int) -> None:
    """Bring what was built up to date and let it serve.

    Raises:
        IndexUnavailable: It is for another contract and does not hold all images.
    """
    other_contract = owner.open()
    mark, _ = replay(source, owner, mark)
    for _ in range(ROUNDS):
        if owner.copy() < FEW:
            break
    mark, _ = replay(source, owner, mark)
    if other_contract:
        check_whole(owner.count, source, mark)
    owner.swap()
    if other_contract:
        replay(source, owner, mark)


def _release_memory() -> None:
    """What was built is on disk: glibc would keep the memory it took while an engine opens it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def main() -> None:
    """Build one index and hand it over; exit status 0 means that it is whole, and serves."""
    parser = argparse.ArgumentParser(prog="pinpoint.stack.index_build")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--points", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--link", type=int, help="the owner's socket; default: there is no owner")
    parser.add_argument("--contract", help="digest; default: of the settings' bundle")
    parser.add_argument("--verified", action="store_true", help="look for a sample in the end")
    parser.add_argument("--alone", action="store_true", help="nobody is served: take all cores")
    arguments = parser.parse_args()
    end_with(arguments.parent)
    take_little(alone=arguments.alone)
    logs.configure(Settings.from_environment().log)
    owner = None if arguments.link is None else Owner(Connection(arguments.link))
    try:
        source = open_source(arguments.points, arguments.contract)
        if owner is None:
            build(arguments.folder, source, lambda state, points: None)
        else:
            mark = build(
                arguments.folder, source, owner.report_progress, verified=arguments.verified
            )
            _release_memory()
            hand_over(owner, source, mark)
    except PinpointError as error:
        logs.get(__name__).error("index.build_failed", reason=error.reason, detail=error.message)
        if owner is not None:
            owner.fail(error.message)
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
