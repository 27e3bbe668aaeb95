"""The index the owner serves: the current build, its flushing, and the swap to the next one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import IndexUnavailable
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.stack.index_build import Builds
from pinpoint.stack.places import contract_of_build
from pinpoint.store.vectors_edge import EdgeIndex
from pinpoint.store.vectors_payload import new_build, no_index

FLUSH_S: Final = 5.0
FLUSH_WRITES: Final = 4_096


class LiveIndex:
    """The current build behind one lock (the engine holds the interpreter's lock anyway).

    Args:
        folder: Of the builds; this process must be its only user.
    """

    def __init__(self, folder: Path) -> None:
        self._builds = Builds(folder)
        self._lock = threading.RLock()
        self._index: EdgeIndex | None = None
        self._why_not = "loading"
        self._load_failed = False
        self._touched: set[UUID] | None = None
        self._unflushed = 0
        self._flushed_at = time.monotonic()

    def load(self) -> None:
        """Open the current build. What is wrong with it is said by `info`; a rebuild mends it."""
        try:
            self._builds.sweep()
        except (IndexUnavailable, OSError) as error:
            logs.get(__name__).error("index.sweep_failed", detail=str(error))
        self._open_current()

    def load_again(self) -> bool:
        """Open the current build if that has failed before: its disk may have been full.

        Returns:
            Whether there is still one that cannot be opened.
        """
        with self._lock:
            if self._load_failed and self._index is None:
                self._open_current()
            return self._load_failed and self._index is None

    def _open_current(self) -> None:
        try:
            name = self._builds.current()
            index = None if name is None else EdgeIndex(self._builds.path(name))
            if index is not None and not index.info().ready:
                raise IndexUnavailable(f"build {name} is gone; run `pinpoint index rebuild`")
        except IndexUnavailable as error:
            logs.get(__name__).error("index.load_failed", detail=error.message)
            self._why_not, self._load_failed = error.message, True
            return
        with self._lock:
            self._index, self._load_failed = index, False
            self._why_not = "there is no index yet; it is made when the bundle is known"

    def _open(self) -> EdgeIndex:
        if self._index is None:
            raise IndexUnavailable(f"the index is not ready: {self._why_not}")
        return self._index

    @contextlib.contextmanager
    def _writing(self, ids: Iterable[UUID], count: int) -> Iterator[EdgeIndex]:
        with self._lock:
            index = self._open()
            # Before the write: what fails half-way is compared again, what is noted twice is cheap.
            if self._touched is not None:
                self._touched.update(ids)
            self._unflushed += count
            yield index

    def info(self) -> IndexInfo:
        """What the index holds; `ready` is false while it loads."""
        with self._lock:
            if self._index is None:
                return no_index("qdrant-edge", self._why_not)
            return self._index.info()

    def ensure(self, spec: IndexSpec) -> None:
        """Make an empty index if there is none.

        Raises:
            OtherContract: There is one for another contract.
        """
        with self._lock:
            if self._index is None and self._builds.current() is None:
                name = new_build()
                fresh = EdgeIndex(self._builds.path(name))
                fresh.ensure(spec)
                self._builds.point_to(name)
                self._index = fresh
            self._open().ensure(spec)

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points, unless newer ones are there."""
        with self._writing((point.id for point in points), len(points)) as index:
            index.upsert(points, contract)

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave tombstones."""
        with self._writing(versions, len(versions)) as index:
            index.delete(versions)

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good."""
        listed = list(ids)
        with self._writing(listed, len(listed)) as index:
            index.forget(listed)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request."""
        with self._lock:
            return self._open().search(queries)

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids."""
        with self._lock:
            return self._open().fetch(ids, vectors=vectors)

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order."""
        with self._lock:
            return self._open().scroll(after, limit, organization_id)

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        with self._lock:
            return self._open().count(where)

    def flush_if_due(self) -> None:
        """Flush after `FLUSH_WRITES` writes or `FLUSH_S` seconds, so that a crash costs little."""
        with self._lock:
            waited_s = time.monotonic() - self._flushed_at
            due = self._unflushed >= FLUSH_WRITES or (self._unflushed and waited_s >= FLUSH_S)
            if due and self._index is not None:
                self._index.flush()
                self._unflushed = 0
                self._flushed_at = time.monotonic()

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

    def current(self) -> EdgeIndex | None:
        """The build that serves; a rebuild reads from it."""
        return self._index

    def contract(self) -> str | None:
        """The contract of the build that serves, or would if it could be opened."""
        name = self._builds.current()
        return None if name is None else contract_of_build(self._builds.path(name))

    def swap(self, name: str, fresh: EdgeIndex, finish: Callable[[set[UUID]], None]) -> None:
        """Let another build serve.

        Args:
            name: The build's name.
            fresh: The build, open.
            finish: Called with the last written ids while no call is served; then `fresh` must
                hold all there is.
        """
        with self._lock:
            finish(self.take_writes())
            fresh.flush()
            before = self._builds.current()
            self._builds.point_to(name)
            old, self._index = self._index, fresh
            self._touched, self._unflushed = None, 0
        if old is not None:
            old.close()
        if before is not None:
            self._builds.discard(before)

    def close(self) -> None:
        """Flush and close the current build."""
        with self._lock:
            if self._index is not None:
                self._index.close()
                self._index = None
            self._why_not = "the owner is shutting down"
