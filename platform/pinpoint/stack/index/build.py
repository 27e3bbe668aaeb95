"""The child process that builds an index from PostgreSQL: `python -m pinpoint.stack.index.build`.

The serving index is never optimized in place, because calls would stall. Instead a low-priority
child writes a new folder. Then it tells the owner to open the folder, replays the changes made
during the build, and requests the swap. Heavy work runs in the child, because all queries share the
owner's interpreter.
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
from pinpoint.errors import ConfigurationError, PinpointError
from pinpoint.ports import PointSource, VectorIndex
from pinpoint.settings_file import load_settings
from pinpoint.stack.supervisor.processes import kill_with_parent
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.isolated_upsert import upsert_skipping_rejected
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.client import RpcIndex
from pinpoint.store.vectors.verify import check_counts, verify_self_retrieval

DEFAULT_POINTS: Final = "pinpoint.bootstrap:open_point_source"
"""Factory of the `PointSource`, `module:function`; its argument is a contract digest or None."""

MAX_ROUNDS: Final = 20
"""Maximum number of rounds that replay changes made during a build."""
FEW_CHANGES: Final = 512
"""Number of changes in a round below which no further round is needed."""

_NICENESS: Final = 10

BuildProgressCallback = Callable[[str, int], None]


def open_source(factory: str, contract: str | None) -> PointSource:
    """Call a factory named `module:function`.

    Args:
        factory: Name of the function.
        contract: Contract digest; None for that of the settings' bundle.

    Raises:
        ConfigurationError: The function does not exist.
        BadBundleError: No bundle has that contract.
    """
    module, _, function = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"no point source {factory!r}: {error}; give module:function"
        ) from error
    source: PointSource = make(contract)
    return source


def build_index(
    folder: Path, source: PointSource, report: BuildProgressCallback, *, verified: bool = False
) -> int:
    """Build a complete, optimized index in an empty folder.

    Args:
        folder: Folder of the build; its name becomes the name of the build.
        source: Source of the points.
        report: Called with `streaming`, `optimizing`, `verifying` or `catching up`, and the number
            of points written or checked so far.
        verified: Search for a sample of the stored vectors at the end.

    Returns:
        Watermark; later changes are not in the index.

    Raises:
        IndexUnavailableError: A search does not find stored vectors.
    """
    mark = source.watermark()
    # Only the verification searches this index, and it has to test the graph.
    index = EdgeIndex(folder, chooser=lambda _: "acorn")
    index.ensure(source.spec())
    written = 0
    for points in source.stream():
        written += upsert_skipping_rejected(index.upsert, points)
        report("streaming", written)
    index.write_tombstones(source.tombstones())
    report("optimizing", written)
    index.optimize()
    if verified:
        verify_self_retrieval(index, lambda num_checked: report("verifying", num_checked))
    mark = _catch_up_with_changes(index, source, mark, report)
    index.close()
    return mark


def _catch_up_with_changes(
    index: EdgeIndex, source: PointSource, since: int, report: BuildProgressCallback
) -> int:
    """Replay changes made during the build until few are left; return the next watermark."""
    num_replayed = 0
    for _ in range(MAX_ROUNDS):
        report("catching up", num_replayed)
        mark, changed = replay_changes(source, index, since)
        num_replayed += changed
        # A transaction as old as the build holds the watermark: a round would replay the same rows.
        if changed < FEW_CHANGES or mark == since:
            return mark
        since = mark
    return since


def replay_changes(source: PointSource, index: VectorIndex, since: int) -> tuple[int, int]:
    """Copy rows that changed at or after a watermark into an index.

    Args:
        source: Source of the rows.
        index: Destination.
        since: Watermark.

    Returns:
        The next watermark, and the number of rows.
    """
    mark, changed = source.watermark(), 0
    for points in source.stream(since=since):
        upsert_skipping_rejected(index.upsert, points)
        changed += len(points)
    tombstones = source.tombstones(since=since)
    index.write_tombstones(tombstones)
    return mark, changed + len(tombstones)


class OwnerClient(RpcIndex):
    """Client of the owner process, used by the builder.

    As an index it is the new build, once the owner has opened it.

    Args:
        link: Connection to `swap.RebuildableIndex`.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link

    def _exchange_frame(self, frame: bytes) -> bytes:
        self._link.send_bytes(frame)
        return self._link.recv_bytes(codec.MAX_FRAME)

    def report_progress(self, state: str, points: int) -> None:
        """Report the progress of the build."""
        self._call_verb({"verb": "report", "state": state, "points": points})

    def fail(self, reason: str) -> None:
        """Report why the build failed."""
        self._call_verb({"verb": "fail", "why": reason})

    def open(self) -> bool:
        """Make the owner open the new build; return whether its contract differs."""
        fields, _ = self._call_verb({"verb": "open"})
        return bool(fields["other"])

    def copy(self) -> int:
        """Make the owner copy points written since the last call; return the number of ids."""
        fields, _ = self._call_verb({"verb": "copy"})
        return int(fields["copied"])

    def swap(self) -> None:
        """Make the owner serve the new build."""
        self._call_verb({"verb": "swap"})


def request_swap(owner: OwnerClient, source: PointSource, mark: int) -> None:
    """Bring the new build up to date and request the swap.

    Raises:
        IndexUnavailableError: The build has another contract and does not contain all images.
    """
    other_contract = owner.open()
    mark, _ = replay_changes(source, owner, mark)
    for _ in range(MAX_ROUNDS):
        if owner.copy() < FEW_CHANGES:
            break
    mark, _ = replay_changes(source, owner, mark)
    if other_contract:
        check_counts(owner.count, source, mark)
    owner.swap()
    if other_contract:
        replay_changes(source, owner, mark)


def _release_memory() -> None:
    """Return free memory to the kernel: the build is on disk and an engine is about to open it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def main() -> None:
    """Build one index and request the swap; exit status 0 means that it is complete and serving."""
    parser = argparse.ArgumentParser(prog="pinpoint.stack.index.build")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--points", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--link", type=int, help="the owner's socket; default: no owner")
    parser.add_argument("--contract", help="digest; default: of the settings' bundle")
    parser.add_argument("--verified", action="store_true", help="search for a sample at the end")
    parser.add_argument("--alone", action="store_true", help="no queries are served: use all cores")
    arguments = parser.parse_args()
    kill_with_parent(arguments.parent)
    lower_priority(alone=arguments.alone)
    logs.configure(load_settings().log)
    owner = None if arguments.link is None else OwnerClient(Connection(arguments.link))
    try:
        source = open_source(arguments.points, arguments.contract)
        if owner is None:
            build_index(arguments.folder, source, lambda state, points: None)
        else:
            mark = build_index(
                arguments.folder, source, owner.report_progress, verified=arguments.verified
            )
            _release_memory()
            request_swap(owner, source, mark)
    except PinpointError as error:
        logs.get_logger(__name__).error(
            "index.build_failed", reason=error.reason, detail=error.message
        )
        if owner is not None:
            owner.fail(error.message)
        raise SystemExit(1) from error


def lower_priority(*, alone: bool) -> None:
    """Lower the priority of this process and use half of the cores.

    Qdrant builds a graph with one thread per core, and the kernel does not preempt a running
    low-priority thread at once: a query on two cores waits for the slower one. On two cores the
    longest query during a rebuild of 100,000 images fell from 1.10 s to 0.74 s, and the build took
    203 s instead of 114 s. That cost is too high while there is no index to search.

    Args:
        alone: No queries are served: use all cores.
    """
    os.nice(_NICENESS)
    if not alone and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[len(cores) // 2 :])


if __name__ == "__main__":
    main()
