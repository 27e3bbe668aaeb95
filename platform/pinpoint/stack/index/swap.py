"""Rebuild of a serving index: a child builds, an engine opens the build, the owner swaps.

The child (`index_build`) controls the rebuild and sends requests that only the owner can execute.
Until then writes go to the old build. Two records of them are replayed into the new one. The child
reads rows of PostgreSQL newer than its watermark. The owner copies ids that it wrote itself, if the
new build has another version (a worker writes the index before its transaction commits). A crash
before the pointer file is replaced leaves the old build serving.

A build for another contract is verified first. The owner copies only deletions into it, because the
old vectors do not fit; the model switch adds the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import ConflictError, PinpointError, StackError
from pinpoint.iteration import batched
from pinpoint.records import IndexInfo
from pinpoint.stack.index.engine_process import EngineProcess
from pinpoint.stack.index.serving import ServingIndex
from pinpoint.stack.index.throttle import pause_while_busy, wait_until_idle, yield_if_busy
from pinpoint.stack.paths import read_build_contract
from pinpoint.store.vectors.payload import UPSERT_SLICE, new_build
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.client import EngineIndex
from pinpoint.store.vectors.rpc.handlers import encode_response, find_handler

FORWARDED_VERBS: Final = frozenset({"upsert", "write_tombstones", "count"})
"""Verbs that are forwarded from the builder to the engine of the new build."""


class RebuildableIndex(ServingIndex):
    """The serving index with a rebuild.

    Args:
        folder: Folder of the builds; only this process and its engines may use it.
        points: Factory of the point source, `module:function`.
    """

    def __init__(self, folder: Path, points: str) -> None:
        super().__init__(folder)
        self._points = points
        self._child: subprocess.Popen[bytes] | None = None
        self._new_engine: EngineProcess | None = None
        self._is_other_contract = False
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._progress: dict[str, Any] = {}
        self._set_progress("idle", build=None, points=0, error=None, contract=None)

    def _set_progress(self, state: str, **fields: Any) -> None:
        # The mapping is replaced and never mutated, so that readers need no lock.
        self._progress = {**self._progress, "state": state, **fields}

    def progress(self) -> Mapping[str, Any]:
        """`state`, `build`, `contract`, `points` and `error` of the last rebuild."""
        return self._progress

    def info(self) -> IndexInfo:
        """State of the index, with the progress of a rebuild."""
        info, now = super().info(), self._progress
        if now["state"] in ("idle", "done"):
            return info
        detail = now["error"] or f"{now['points']} points"
        activity = f"rebuild {now['state']}: {detail}"
        return dataclasses.replace(
            info, loading=f"{info.loading}; {activity}" if info.loading else activity
        )

    def rebuild(self, contract: str | None = None) -> None:
        """Start a rebuild unless one is running.

        Args:
            contract: Contract digest of the new build; None keeps the current one.

        Raises:
            ConflictError: A rebuild for another contract is running.
        """
        with self._start_lock:
            if self._thread is not None and self._thread.is_alive():
                if contract not in (None, self._progress["contract"]):
                    raise ConflictError(
                        "the index is being rebuilt for another contract; wait for that"
                    )
                return
            target = contract or self.contract()
            self._set_progress(
                "streaming", build=new_build(), contract=target, points=0, error=None
            )
            # A separate thread: the child dies with the thread that started it.
            self._thread = threading.Thread(
                target=self._run_rebuild, name="index-rebuild", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Kill a running build, then flush and close the current one."""
        self._closing = True
        child = self._child
        if child is not None:
            child.kill()
        super().close()

    def _run_rebuild(self) -> None:
        name, contract = self._progress["build"], self._progress["contract"]
        log = logs.get_logger(__name__).bind(build=name)
        try:
            self.take_written_ids()
            self._run_child(name, contract)
            self._set_progress("done", points=super().info().points)
            log.info("index.rebuilt", points=self._progress["points"])
        except Exception as error:
            reason = error.message if isinstance(error, PinpointError) else repr(error)
            log.exception("index.rebuild_failed")
            self.stop_recording_writes()
            if self._new_engine is not None and not self.serves(self._new_engine):
                self._new_engine.kill()
                self._new_engine.await_end()
            if self._builds.current() != name:
                self._builds.discard(name)
            self._set_progress("failed", error=reason)
        self._new_engine = None

    def _run_child(self, name: str, contract: str | None) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "pinpoint.stack.index.build"]
        command += ["--folder", str(self._builds.path(name)), "--points", self._points]
        command += ["--parent", str(os.getpid()), "--link", str(theirs.fileno())]
        command += ["--alone"] if super().info().points == 0 else []
        if contract is not None:
            command += ["--contract", contract]
            command += ["--verified"] if contract != self.contract() else []
        with Connection(ours.detach()) as link:
            with theirs:
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            with child, pause_while_busy(child, self.measure_lock_wait_s):
                self._child = child
                if self._closing:
                    child.kill()
                self._handle_messages(link, name)
                status = child.wait()
        self._child = None
        if status != 0 or self._builds.current() != name:
            raise StackError(
                self._progress["error"]
                or f"the process that builds the index ended with status {status}; see the "
                "owner's log"
            )

    def _handle_messages(self, link: Connection, name: str) -> None:
        """Answer the requests of the child until it ends."""
        handlers: dict[str, Callable[[codec.Fields], codec.Fields]] = {
            "report": self._on_progress,
            "fail": self._on_error,
            "open": lambda _: self._on_open(name),
            "copy": lambda _: self._on_copy(),
            "swap": lambda _: self._on_swap(name),
        }

        def answer(frame: bytes) -> bytes:
            fields, _ = codec.decode(frame, whole=False)
            verb = str(fields.get("verb"))
            if verb in FORWARDED_VERBS and self._new_engine is not None:
                # After the swap the new engine serves, and serving allows one caller at a time.
                serving = self.serves(self._new_engine)
                return self.write((), frame) if serving else self._new_engine.exchange(frame)
            return codec.encode(find_handler(handlers, fields)(fields))

        try:
            while True:
                frame = link.recv_bytes(codec.MAX_FRAME)
                link.send_bytes(encode_response(functools.partial(answer, frame)))
        except (EOFError, OSError):
            return  # the child has ended; its exit status tells the result

    def _on_progress(self, fields: codec.Fields) -> codec.Fields:
        self._set_progress(str(fields["state"]), points=int(fields["points"]))
        return {}

    def _on_error(self, fields: codec.Fields) -> codec.Fields:
        self._set_progress(self._progress["state"], error=str(fields["why"]))
        return {}

    def _on_open(self, name: str) -> codec.Fields:
        self._set_progress("replaying")
        self._new_engine = EngineProcess(self._builds.path(name), self._engine_ended)
        self._is_other_contract = self.contract() != read_build_contract(self._builds.path(name))
        return {"other": self._is_other_contract}

    def _on_copy(self) -> codec.Fields:
        written = self.take_written_ids()
        self._copy_points(written, lambda: yield_if_busy(self.measure_lock_wait_s))
        return {"copied": len(written)}

    def _on_swap(self, name: str) -> codec.Fields:
        new_engine = self._require_new_engine()
        # Flushed now, so that less is flushed during the swap, while no query is served.
        EngineIndex(new_engine.exchange).flush()
        wait_until_idle(self.measure_lock_wait_s)
        self.swap(name, new_engine, lambda written: self._copy_points(written, lambda: None))
        return {}

    def _require_new_engine(self) -> EngineProcess:
        if self._new_engine is None:
            raise StackError("the new build is not open")
        return self._new_engine

    def _copy_points(self, ids: Iterable[UUID], before_slice: Callable[[], None]) -> None:
        old_index, new_index = self.served, EngineIndex(self._require_new_engine().exchange)
        for id_slice in batched(ids, UPSERT_SLICE):
            before_slice()
            versions, new_versions = old_index.versions(id_slice), new_index.versions(id_slice)
            # Most were replayed from their rows: only differing points are read with vectors.
            outdated = [
                point_id
                for point_id in id_slice
                if versions.get(point_id) != new_versions.get(point_id)
            ]
            if not self._is_other_contract:  # vectors of another contract do not fit
                new_index.upsert(old_index.fetch(outdated, vectors=True))
            stored = {point_id: versions[point_id] for point_id in outdated if point_id in versions}
            new_index.write_tombstones(
                {point_id: version for point_id, (version, alive) in stored.items() if not alive}
            )
            new_index.delete_points([point_id for point_id in outdated if point_id not in stored])
