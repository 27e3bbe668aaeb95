"""Rebuilding while serving: a child builds and catches up, the owner replays the rest and swaps.

What is built is opened by an engine of its own, so that nobody waits for that, nor for the replay.

Writes go on to the old build. Two records of them are replayed into the new one: rows of
PostgreSQL newer than the child's last watermark, and the ids the owner itself wrote, copied from
the old build where the new one has another version (a worker writes the index before its
transaction commits). Until the pointer file is replaced a crash anywhere leaves the old build
serving.

A build for another contract is verified first, and gets from the old one only what needs no vector:
`pinpoint.switching` brings the rest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import Conflict, PinpointError, StackError
from pinpoint.records import IndexInfo
from pinpoint.stack.index_build import FEW, ROUNDS, open_source, replay
from pinpoint.stack.index_engine import Engine
from pinpoint.stack.index_live import LiveIndex
from pinpoint.stack.index_yield import await_calm, give_way, giving_way
from pinpoint.store.vectors_payload import UPSERT_SLICE, new_build, slices
from pinpoint.store.vectors_remote import EngineIndex
from pinpoint.store.vectors_verify import check_whole


class OwnedIndex(LiveIndex):
    """The live index that can also build its successor.

    Args:
        folder: Of the builds; this process and its engines must be its only users.
        points: Factory of the point source, `module:function`.
    """

    def __init__(self, folder: Path, points: str) -> None:
        super().__init__(folder)
        self._points = points
        self._child: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._progress: dict[str, Any] = {}
        self._say("idle", build=None, points=0, error=None, contract=None)

    def _say(self, state: str, **fields: Any) -> None:
        # Replaced, never changed, so that a reader needs no lock.
        self._progress = {**self._progress, "state": state, **fields}

    def progress(self) -> Mapping[str, Any]:
        """`state`, `build`, `contract`, `points` and `error` of the last rebuild."""
        return self._progress

    def info(self) -> IndexInfo:
        """What the index holds, and what a rebuild is doing."""
        info, now = super().info(), self._progress
        if now["state"] in ("idle", "done"):
            return info
        said = now["error"] or f"{now['points']} points"
        doing = f"rebuild {now['state']}: {said}"
        return dataclasses.replace(
            info, loading=f"{info.loading}; {doing}" if info.loading else doing
        )

    def rebuild(self, contract: str | None = None) -> None:
        """Start a rebuild; one that runs already goes on.

        Args:
            contract: Digest of the contract that is to serve; None keeps that of today.

        Raises:
            Conflict: One for another contract is running.
        """
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                if contract not in (None, self._progress["contract"]):
                    raise Conflict("the index is being rebuilt for another contract; wait for that")
                return
            wanted = contract or self.contract()
            self._say("streaming", build=new_build(), contract=wanted, points=0, error=None)
            # Not from the connection's thread: the child dies with the thread that started it.
            self._thread = threading.Thread(target=self._rebuild, name="index-rebuild", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End a running build, flush and close the current one."""
        self._closing = True
        child = self._child
        if child is not None:
            child.kill()
        super().close()

    def _rebuild(self) -> None:
        name = self._progress["build"]
        log = logs.get(__name__).bind(build=name)
        fresh: Engine | None = None
        try:
            self.take_writes()
            self._run_child(self._builds.path(name), self._progress["contract"])
            self._say("replaying")
            fresh = Engine(self._builds.path(name), self._engine_ended)
            self._catch_up(name, fresh)
            self._say("done", points=super().info().points)
            log.info("index.rebuilt", points=self._progress["points"])
        except Exception as error:
            said = error.message if isinstance(error, PinpointError) else repr(error)
            log.exception("index.rebuild_failed")
            self.drop_record()
            if fresh is not None and not self.serves(fresh):
                fresh.kill()
                fresh.await_end()
            if self._builds.current() != name:
                self._builds.discard(name)
            self._say("failed", error=said)

    def _run_child(self, folder: Path, contract: str | None) -> None:
        command = [
            sys.executable,
            "-P",
            "-m",
            "pinpoint.stack.index_build",
            "--folder",
            str(folder),
        ]
        command += ["--points", self._points, "--parent", str(os.getpid())]
        command += ["--alone"] if super().info().points == 0 else []
        if contract is not None:
            command += ["--contract", contract]
            command += ["--verified"] if contract != self.contract() else []
        with (
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            ) as child,
            giving_way(child, self.waited_s),
        ):
            self._child = child
            if self._closing:
                child.kill()
            if child.stdout is not None:
                for line in child.stdout:
                    said = json.loads(line)
                    self._say(str(said["state"]), points=int(said["points"]))
            status = child.wait()
        self._child = None
        if status != 0:
            raise StackError(
                f"the process that builds the index ended with status {status}; the old index "
                "goes on serving, the owner's log says why"
            )

    def _catch_up(self, name: str, engine: Engine) -> None:
        fresh, about = EngineIndex(engine.exchange), self._builds.about(name)
        source = open_source(self._points, self._progress["contract"])
        other = self.contract() != about["contract"]
        mark, _ = replay(source, fresh, int(about["watermark"]), self._give_way)
        for _ in range(ROUNDS):
            written = self.take_writes()
            self._copy(written, fresh, self._give_way, vectors=not other)
            if len(written) < FEW:
                break
        mark, _ = replay(source, fresh, mark, self._give_way)
        if other:
            check_whole(fresh.count, source, mark)

        def finish(written: set[UUID]) -> None:
            self._copy(written, fresh, lambda: None, vectors=not other)

        # What is written down now is not written down while nothing is served.
        fresh.flush()
        await_calm(self.waited_s)
        self.swap(name, engine, finish)
        if other:
            replay(source, self.served, mark)

    def _give_way(self) -> None:
        give_way(self.waited_s)

    def _copy(
        self,
        ids: Iterable[UUID],
        fresh: EngineIndex,
        between: Callable[[], None],
        *,
        vectors: bool,
    ) -> None:
        old = self.served
        for part in slices(list(ids), UPSERT_SLICE):
            between()
            versions, there = old.versions(part), fresh.versions(part)
            # Most came with their rows: only what differs is read with its vectors.
            behind = [each for each in part if versions.get(each) != there.get(each)]
            if vectors:  # those of another contract say nothing here
                fresh.upsert(old.fetch(behind, vectors=True))
            stored = {each: versions[each] for each in behind if each in versions}
            fresh.delete({each: version for each, (version, alive) in stored.items() if not alive})
            fresh.forget([each for each in behind if each not in stored])
