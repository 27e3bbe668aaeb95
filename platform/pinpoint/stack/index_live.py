"""The index the owner serves: the engine of the current build, and the swap to the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import IndexUnavailable
from pinpoint.records import IndexInfo, IndexSpec
from pinpoint.stack.index_engine import Engine
from pinpoint.stack.index_folder import Builds
from pinpoint.stack.places import about_build, contract_of_build
from pinpoint.store.vectors_payload import check_installation, new_build, no_index
from pinpoint.store.vectors_remote import EngineIndex

KNOWN_S: Final = 1.0
"""How long `info` says what it was told last; then the engine is asked, also whether it lives."""
SOON_S: Final = 5.0
"""An engine that ends sooner after another one is not replaced at once, but by `load_again`."""


class LiveIndex:
    """The current build behind one lock: its engine answers one question at a time anyway.

    Args:
        folder: Of the builds; this process and its engines must be its only users.
    """

    def __init__(self, folder: Path) -> None:
        self._builds = Builds(folder)
        self._lock = threading.RLock()
        self._load_lock = threading.Lock()
        self._engine: Engine | None = None
        self._info: IndexInfo | None = None
        self._info_read_at = 0.0
        self._not_ready_reason = "loading"
        self._load_failed = False
        self._replaced_at = -SOON_S
        self._closing = False
        self._written_ids: set[UUID] | None = None
        self._build_info_cache: tuple[Path | None, Mapping[str, Any]] = (None, {})
        self.served = EngineIndex(self.exchange)
        """The build that serves; a rebuild reads from it."""

    def load(self) -> None:
        """Open the current build. What is wrong with it is said by `info`; a rebuild mends it."""
        try:
            self._builds.sweep()
        except (IndexUnavailable, OSError) as error:
            logs.get(__name__).error("index.sweep_failed", detail=str(error))
        with self._load_lock:
            self._open_current()

    def load_again(self) -> bool:
        """Open the current build if that has failed before, or if its engine has ended.

        Returns:
            Whether there is still one that cannot be opened.
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
            # Nobody waits for this: questions are refused meanwhile, and told why.
            engine = None if name is None else Engine(self._builds.path(name), self._engine_ended)
            if engine is not None and not EngineIndex(engine.exchange).info().ready:
                engine.kill()
                raise IndexUnavailable(f"build {name} is gone; run `pinpoint index rebuild`")
        except (IndexUnavailable, OSError) as error:
            logs.get(__name__).error("index.load_failed", detail=str(error))
            self._not_ready_reason = "its folder cannot be read; the owner's log says why"
            if isinstance(error, IndexUnavailable):
                self._not_ready_reason = error.message
            self._load_failed = True
            return
        with self._lock:
            if self._engine is None and self._builds.current() == name and not self._closing:
                self._set_engine(engine)
                self._load_failed = False
                self._not_ready_reason = (
                    "there is no index yet; it is made when the bundle is known"
                )
            elif engine is not None:
                engine.kill()

    def _engine_ended(self, engine: Engine) -> None:
        with self._lock:
            # One that was let go, or that has not served yet: a rebuild sees to it.
            if engine is not self._engine or self._closing:
                return
            self._set_engine(None)
            self._load_failed = True
            self._not_ready_reason = (
                f"its engine ended with status {engine.status()}; another one starts"
            )
        logs.get(__name__).error("index.engine_ended", status=engine.status())
        if time.monotonic() - self._replaced_at > SOON_S:
            self._replaced_at = time.monotonic()
            self.load_again()

    def _require_engine(self) -> Engine:
        if self._engine is None:
            raise IndexUnavailable(f"the index is not ready: {self._not_ready_reason}")
        return self._engine

    def exchange(self, frame: bytes) -> bytes:
        """Bring a question to the engine; returns its answer."""
        with self._lock:
            return self._require_engine().exchange(frame)

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        """Bring a write of these ids to the engine; returns its answer."""
        with self._lock:
            engine = self._require_engine()
            # Before the write: what fails half-way is compared again, what is noted twice is cheap.
            if self._written_ids is not None:
                self._written_ids.update(ids)
            self._info = None
            return engine.exchange(frame)

    def info(self) -> IndexInfo:
        """What the index holds; `ready` is false while it loads.

        Every question asks for this before and after it searches. What was said last stays true
        until something is written or another engine serves, so it waits for no search then.
        """
        cached = self._cached_info()
        if cached is not None:
            return cached
        with self._lock:
            # Whoever had the lock may just have asked.
            cached, engine = self._cached_info(), self._engine
            if cached is not None:
                return cached
            if engine is None:
                return no_index("qdrant-edge", self._not_ready_reason)
            try:
                current_info = self.served.info()
            except IndexUnavailable as error:
                return no_index("qdrant-edge", error.message)
            self._info_read_at = time.monotonic()
            # `close` takes the engine away without the lock.
            self._info = current_info if self._engine is engine else None
            return current_info

    def _cached_info(self) -> IndexInfo | None:
        """What was said last, while it may be said again."""
        return self._info if time.monotonic() - self._info_read_at < KNOWN_S else None

    def ensure(self, spec: IndexSpec) -> None:
        """Make an empty index if there is none.

        Raises:
            OtherContract: There is one for another contract.
        """
        with self._lock:
            if self._engine is None and self._builds.current() is None:
                self._set_engine(self._create_first_build(spec))
            self.served.ensure(spec)
            self._info = None

    def _create_first_build(self, spec: IndexSpec) -> Engine:
        name = new_build()
        self._builds.path(name).mkdir(mode=0o700)
        try:
            engine = Engine(self._builds.path(name), self._engine_ended)
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
        """Wait for the index as a caller does; how long it took."""
        started = time.monotonic()
        with self._lock:
            return time.monotonic() - started

    def take_written_ids(self) -> set[UUID]:
        """Ids written since the last call; the first call starts the record."""
        with self._lock:
            written, self._written_ids = self._written_ids or set(), set()
            return written

    def stop_recording_writes(self) -> None:
        """Stop recording writes."""
        with self._lock:
            self._written_ids = None

    def check_installation(self, installation: str | None) -> None:
        """Refuse an installation that the current build does not belong to.

        Raises:
            Misconfigured: It belongs to another one, or names none.
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
        """What a build says of itself; it never changes, so it is read once."""
        if self._build_info_cache[0] != folder:
            build_info = about_build(folder)
            if build_info is None:
                return None
            self._build_info_cache = (folder, build_info)
        return self._build_info_cache[1]

    def contract(self) -> str | None:
        """The contract of the build that serves, or would if it could be opened."""
        name = self._builds.current()
        return None if name is None else contract_of_build(self._builds.path(name))

    def swap(self, name: str, new_engine: Engine, finish: Callable[[set[UUID]], None]) -> None:
        """Let another build serve.

        Args:
            name: The build's name.
            fresh: Its engine.
            finish: Called with the last written ids while no call is served; then `fresh` must
                hold all there is.
        """
        with self._lock:
            finish(self.take_written_ids())
            EngineIndex(new_engine.exchange).flush()
            before = self._builds.current()
            self._builds.point_to(name)
            old_engine = self._set_engine(new_engine)
            self._written_ids = None
        if old_engine is not None:
            # Not asked to flush: its build goes, and whoever is served now needs the disk.
            old_engine.kill()
            old_engine.await_end()
        if before is not None:
            self._builds.discard(before)

    def serves(self, engine: Engine) -> bool:
        """Whether questions go to this engine."""
        return engine is self._engine

    def close(self) -> None:
        """Flush and close the current build."""
        self._closing = True
        self._not_ready_reason = "the owner is shutting down"
        # Without the lock, which is held while an engine answers: one that hangs must end too.
        engine = self._set_engine(None)
        if engine is not None:
            engine.end()

    def _set_engine(self, engine: Engine | None) -> Engine | None:
        """Let an engine answer from now on, or none; returns the one before."""
        before, self._engine, self._info = self._engine, engine, None
        return before
