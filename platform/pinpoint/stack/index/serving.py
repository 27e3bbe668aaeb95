"""The index that the owner serves: the engine of the current build, and the swap to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import IndexUnavailableError
from pinpoint.records import IndexInfo, IndexSpec
from pinpoint.stack.index.builds import Builds
from pinpoint.stack.index.engine_process import EngineProcess
from pinpoint.stack.paths import read_build_contract, read_build_info
from pinpoint.store.vectors.payload import check_installation, new_build, no_index
from pinpoint.store.vectors.rpc.client import EngineIndex

INFO_CACHE_TTL_S: Final = 1.0
"""Cache TTL of `info`, seconds; then the engine is queried, which checks that it is alive."""
CRASH_LOOP_S: Final = 5.0
"""Crash-loop window, seconds: a second exit within it waits for the next `load_again`."""


class ServingIndex:
    """The current build behind one lock, because its engine answers one request at a time.

    Args:
        folder: Folder of the builds; only this process and its engines may use it.
    """

    def __init__(self, folder: Path) -> None:
        self._builds = Builds(folder)
        self._lock = threading.RLock()
        self._load_lock = threading.Lock()
        self._engine: EngineProcess | None = None
        self._info: IndexInfo | None = None
        self._info_read_at = 0.0
        self._not_ready_reason = "loading"
        self._load_failed = False
        self._replaced_at = -CRASH_LOOP_S
        self._closing = False
        self._written_ids: set[UUID] | None = None
        self._build_info_cache: tuple[Path | None, Mapping[str, Any]] = (None, {})
        self.served = EngineIndex(self.exchange)
        """The current build; a rebuild reads from it."""

    def load(self) -> None:
        """Open the current build. `info` describes a failure; a rebuild repairs it."""
        try:
            self._builds.delete_unused()
        except (IndexUnavailableError, OSError) as error:
            logs.get_logger(__name__).error("unused index builds not deleted", detail=str(error))
        with self._load_lock:
            self._open_current()

    def load_again(self) -> bool:
        """Open the current build if that has failed before, or if its engine has ended.

        Returns:
            Whether the build still cannot be opened.
        """
        with self._load_lock:
            if self._needs_load():
                self._open_current()
            return self._needs_load()

    def _needs_load(self) -> bool:
        with self._lock:
            return self._load_failed and self._engine is None and not self._closing

    def _open_current(self) -> None:
        try:
            name = self._builds.current()
            # Queries do not wait for this: they are rejected with the reason.
            engine = (
                None if name is None else EngineProcess(self._builds.path(name), self._engine_ended)
            )
            if engine is not None and not EngineIndex(engine.exchange).info().ready:
                engine.kill()
                raise IndexUnavailableError(
                    f"build {name} is missing; run `pinpoint index rebuild`"
                )
        except (IndexUnavailableError, OSError) as error:
            logs.get_logger(__name__).error("index.load_failed", detail=str(error))
            self._not_ready_reason = "its folder cannot be read; see the owner's log"
            if isinstance(error, IndexUnavailableError):
                self._not_ready_reason = error.message
            self._load_failed = True
            return
        with self._lock:
            if self._engine is None and self._builds.current() == name and not self._closing:
                self._set_engine(engine)
                self._load_failed = False
                self._not_ready_reason = (
                    "there is no index yet; it is created when the bundle is known"
                )
            elif engine is not None:
                engine.kill()

    def _engine_ended(self, engine: EngineProcess) -> None:
        with self._lock:
            # The rebuild handles an engine that was replaced or has not served yet.
            if engine is not self._engine or self._closing:
                return
            self._set_engine(None)
            self._load_failed = True
            self._not_ready_reason = (
                f"its engine ended with status {engine.status()} and is restarting"
            )
        logs.get_logger(__name__).error("index.engine_ended", status=engine.status())
        if time.monotonic() - self._replaced_at > CRASH_LOOP_S:
            self._replaced_at = time.monotonic()
            self.load_again()

    def _require_engine(self) -> EngineProcess:
        if self._engine is None:
            raise IndexUnavailableError(f"the index is not ready: {self._not_ready_reason}")
        return self._engine

    def exchange(self, frame: bytes) -> bytes:
        """Send a request to the engine; return its answer."""
        with self._lock:
            return self._require_engine().exchange(frame)

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        """Send a write of these ids to the engine; return its answer."""
        with self._lock:
            engine = self._require_engine()
            # Recorded before the write: a failed write is compared again, a duplicate is cheap.
            if self._written_ids is not None:
                self._written_ids.update(ids)
            self._info = None
            return engine.exchange(frame)

    def info(self) -> IndexInfo:
        """State of the index; `ready` is false while it loads.

        Every query reads this before and after its search. The last value stays valid until a write
        or a swap, so a cached value is returned without waiting for a search.
        """
        cached = self._cached_info()
        if cached is not None:
            return cached
        with self._lock:
            # The previous holder of the lock may have refreshed the cache.
            cached, engine = self._cached_info(), self._engine
            if cached is not None:
                return cached
            if engine is None:
                return no_index("qdrant-edge", self._not_ready_reason)
            try:
                current_info = self.served.info()
            except IndexUnavailableError as error:
                return no_index("qdrant-edge", error.message)
            self._info_read_at = time.monotonic()
            # `close` removes the engine without the lock.
            self._info = current_info if self._engine is engine else None
            return current_info

    def _cached_info(self) -> IndexInfo | None:
        """The last value of `info`, or None if it has expired."""
        return self._info if time.monotonic() - self._info_read_at < INFO_CACHE_TTL_S else None

    def ensure(self, spec: IndexSpec) -> None:
        """Create an empty index if there is none.

        Raises:
            ModelMismatchError: The index has another contract.
        """
        with self._lock:
            if self._engine is None and self._builds.current() is None:
                self._set_engine(self._create_first_build(spec))
            self.served.ensure(spec)
            self._info = None

    def _create_first_build(self, spec: IndexSpec) -> EngineProcess:
        name = new_build()
        self._builds.path(name).mkdir(mode=0o700)
        try:
            engine = EngineProcess(self._builds.path(name), self._engine_ended)
            try:
                EngineIndex(engine.exchange).ensure(spec)
                self._builds.point_to(name)
            except BaseException:
                engine.kill()
                raise
        except BaseException:
            self._builds.discard(name)
            raise
        return engine

    def measure_lock_wait_s(self) -> float:
        """Acquire and release the lock; return the wait in seconds."""
        started = time.monotonic()
        with self._lock:
            return time.monotonic() - started

    def take_written_ids(self) -> set[UUID]:
        """Ids written since the last call; the first call starts the recording."""
        with self._lock:
            written, self._written_ids = self._written_ids or set(), set()
            return written

    def stop_recording_writes(self) -> None:
        """Stop recording writes."""
        with self._lock:
            self._written_ids = None

    def check_installation(self, installation: str | None) -> None:
        """Check that the current build belongs to an installation.

        Raises:
            ConfigurationError: The build belongs to another installation, or to none.
        """
        if installation is None:
            return
        engine = self._engine
        if engine is None:
            name = self._builds.current()
            folder = None if name is None else self._builds.path(name)
        else:
            folder = engine.folder
        if folder is not None and (build_info := self._load_build_info(folder)) is not None:
            build_installation = build_info.get("installation")
            check_installation(
                None if build_installation is None else str(build_installation), installation
            )

    def _load_build_info(self, folder: Path) -> Mapping[str, Any] | None:
        """Metadata of a build; it never changes, so it is read once."""
        if self._build_info_cache[0] != folder:
            build_info = read_build_info(folder)
            if build_info is None:
                return None
            self._build_info_cache = (folder, build_info)
        return self._build_info_cache[1]

    def contract(self) -> str | None:
        """Contract digest of the current build, also if it cannot be opened."""
        name = self._builds.current()
        return None if name is None else read_build_contract(self._builds.path(name))

    def swap(
        self, name: str, new_engine: EngineProcess, finish: Callable[[set[UUID]], None]
    ) -> None:
        """Make another build the current one.

        Args:
            name: Name of the build.
            new_engine: Its engine.
            finish: Called with the last written ids while no call is served; afterwards
                `new_engine` must be complete.
        """
        with self._lock:
            finish(self.take_written_ids())
            EngineIndex(new_engine.exchange).flush()
            before = self._builds.current()
            self._builds.point_to(name)
            old_engine = self._set_engine(new_engine)
            self._written_ids = None
        if old_engine is not None:
            # Killed without a flush: its build is deleted, and queries need the disk.
            old_engine.kill()
            old_engine.await_end()
        if before is not None:
            self._builds.discard(before)

    def serves(self, engine: EngineProcess) -> bool:
        """Whether this engine serves queries."""
        return engine is self._engine

    def close(self) -> None:
        """Flush and close the current build."""
        self._closing = True
        self._not_ready_reason = "the owner is shutting down"
        # Without the lock, which is held while an engine answers: a hanging engine must end too.
        engine = self._set_engine(None)
        if engine is not None:
            engine.end()

    def _set_engine(self, engine: EngineProcess | None) -> EngineProcess | None:
        """Replace the serving engine; return the previous one."""
        before, self._engine, self._info = self._engine, engine, None
        return before
