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
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._info: IndexInfo | None = None
        self._asked_at = 0.0
        self._why_not = "loading"
        self._load_failed = False
        self._replaced_at = -SOON_S
        self._closing = False
        self._touched: set[UUID] | None = None
        self._read_about: tuple[Path | None, Mapping[str, Any]] = (None, {})
        self.served = EngineIndex(self.exchange)
        """The build that serves; a rebuild reads from it."""

    def load(self) -> None:
        """Open the current build. What is wrong with it is said by `info`; a rebuild mends it."""
        try:
            self._builds.sweep()
        except (IndexUnavailable, OSError) as error:
            logs.get(__name__).error("index.sweep_failed", detail=str(error))
        with self._opening:
            self._open_current()

    def load_again(self) -> bool:
        """Open the current build if that has failed before, or if its engine has ended.

        Returns:
            Whether there is still one that cannot be opened.
        """
        with self._opening:
            if self._is_shut():
                self._open_current()
            return self._is_shut()

    def _is_shut(self) -> bool:
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
            self._why_not = "its folder cannot be read; the owner's log says why"
            if isinstance(error, IndexUnavailable):
                self._why_not = error.message
            self._load_failed = True
            return
        with self._lock:
            if self._engine is None and self._builds.current() == name and not self._closing:
                self._serve(engine)
                self._load_failed = False
                self._why_not = "there is no index yet; it is made when the bundle is known"
            elif engine is not None:
                engine.kill()

    def _engine_ended(self, engine: Engine) -> None:
        with self._lock:
            # One that was let go, or that has not served yet: a rebuild sees to it.
            if engine is not self._engine or self._closing:
                return
            self._serve(None)
            self._load_failed = True
            self._why_not = f"its engine ended with status {engine.status()}; another one starts"
        logs.get(__name__).error("index.engine_ended", status=engine.status())
        if time.monotonic() - self._replaced_at > SOON_S:
            self._replaced_at = time.monotonic()
            self.load_again()

    def _open(self) -> Engine:
        if self._engine is None:
            raise IndexUnavailable(f"the index is not ready: {self._why_not}")
        return self._engine

    def exchange(self, frame: bytes) -> bytes:
        """Bring a question to the engine; returns its answer."""
        with self._lock:
            return self._open().exchange(frame)

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        """Bring a write of these ids to the engine; returns its answer."""
        with self._lock:
            engine = self._open()
            # Before the write: what fails half-way is compared again, what is noted twice is cheap.
            if self._touched is not None:
                self._touched.update(ids)
            self._info = None
            return engine.exchange(frame)

    def info(self) -> IndexInfo:
        """What the index holds; `ready` is false while it loads.

        Every question asks for this before and after it searches. What was said last stays true
        until something is written or another engine serves, so it waits for no search then.
        """
        known = self._known()
        if known is not None:
            return known
        with self._lock:
            # Whoever had the lock may just have asked.
            known, engine = self._known(), self._engine
            if known is not None:
                return known
            if engine is None:
                return no_index("qdrant-edge", self._why_not)
            try:
                said = self.served.info()
            except IndexUnavailable as error:
                return no_index("qdrant-edge", error.message)
            self._asked_at = time.monotonic()
            # `close` takes the engine away without the lock.
            self._info = said if self._engine is engine else None
            return said

    def _known(self) -> IndexInfo | None:
        """What was said last, while it may be said again."""
        return self._info if time.monotonic() - self._asked_at < KNOWN_S else None

    def ensure(self, spec: IndexSpec) -> None:
        """Make an empty index if there is none.

        Raises:
            OtherContract: There is one for another contract.
        """
        with self._lock:
            if self._engine is None and self._builds.current() is None:
                self._serve(self._first(spec))
            self.served.ensure(spec)
            self._info = None

    def _first(self, spec: IndexSpec) -> Engine:
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

    def waited_s(self) -> float:
        """Wait for the index as a caller does; how long it took."""
        begun = time.monotonic()
        with self._lock:
            return time.monotonic() - begun

    def take_writes(self) -> set[UUID]:
        """Ids written since the last call; the first call starts the record."""
        with self._lock:
            taken, self._touched = self._touched or set(), set()
            return taken

    def drop_record(self) -> None:
        """Stop recording writes."""
        with self._lock:
            self._touched = None

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
        if folder is not None and (about := self._about(folder)) is not None:
            held = about.get("installation")
            check_installation(None if held is None else str(held), installation)

    def _about(self, folder: Path) -> Mapping[str, Any] | None:
        """What a build says of itself; it never changes, so it is read once."""
        if self._read_about[0] != folder:
            about = about_build(folder)
            if about is None:
                return None
            self._read_about = (folder, about)
        return self._read_about[1]

    def contract(self) -> str | None:
        """The contract of the build that serves, or would if it could be opened."""
        name = self._builds.current()
        return None if name is None else contract_of_build(self._builds.path(name))

    def swap(self, name: str, fresh: Engine, finish: Callable[[set[UUID]], None]) -> None:
        """Let another build serve.

        Args:
            name: The build's name.
            fresh: Its engine.
            finish: Called with the last written ids while no call is served; then `fresh` must
                hold all there is.
        """
        with self._lock:
            finish(self.take_writes())
            EngineIndex(fresh.exchange).flush()
            before = self._builds.current()
            self._builds.point_to(name)
            old = self._serve(fresh)
            self._touched = None
        if old is not None:
            # Not asked to flush: its build goes, and whoever is served now needs the disk.
            old.kill()
            old.await_end()
        if before is not None:
            self._builds.discard(before)

    def serves(self, engine: Engine) -> bool:
        """Whether questions go to this engine."""
        return engine is self._engine

    def close(self) -> None:
        """Flush and close the current build."""
        self._closing = True
        self._why_not = "the owner is shutting down"
        # Without the lock, which is held while an engine answers: one that hangs must end too.
        engine = self._serve(None)
        if engine is not None:
            engine.end()

    def _serve(self, engine: Engine | None) -> Engine | None:
        """Let an engine answer from now on, or none; returns the one before."""
        before, self._engine, self._info = self._engine, engine, None
        return before
