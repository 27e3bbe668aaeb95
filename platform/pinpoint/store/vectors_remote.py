"""The index in another process: the same port, over frames, and the client of the index owner."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pinpoint import deadline
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import IndexUnavailable
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store import vectors_wire as wire
from pinpoint.store.vectors_payload import UPSERT_SLICE, slices

_SEARCH_SLICE: Final = 256
_FETCH_SLICE: Final = 1_000
_ID_SLICE: Final = 5_000
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildProgress:
    """Where the owner's last rebuild stands."""

    state: str
    """`idle`, `streaming`, `optimizing`, `verifying`, `catching up`, `replaying`, `done` or
    `failed`."""
    build: str | None
    contract: str | None
    points: int
    error: str | None


class FramedIndex(ABC):
    """The index behind whoever answers frames."""

    @abstractmethod
    def _exchange(self, frame: bytes) -> bytes:
        """Bring a request; returns the answer."""

    def info(self) -> IndexInfo:
        """What the index holds and which build it is; answers while it loads."""
        fields, _ = self._call({"verb": "info"})
        return wire.unpack_info(fields["info"])

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            OtherContract: It is there, for another contract.
        """
        request = {"verb": "ensure", "contract": spec.contract, "dims": dict(spec.dims)}
        self._call({**request, "installation": spec.installation})

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is."""
        for part in slices(points, UPSERT_SLICE):
            fields, arrays = wire.pack_points(part)
            self._call({"verb": "upsert", "contract": contract, **fields}, arrays)

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        for part in slices(list(versions.items()), UPSERT_SLICE):
            self._call({"verb": "delete", "versions": [[each.bytes, v] for each, v in part]})

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        for part in slices(list(ids), _ID_SLICE):
            self._call({"verb": "forget", "ids": [each.bytes for each in part]})

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id."""
        answers: list[list[Hit]] = []
        for part in slices(queries, _SEARCH_SLICE):
            fields, arrays = wire.pack_queries(part)
            reply, _ = self._call({"verb": "search", **fields}, arrays)
            answers += [[wire.unpack_hit(row) for row in rows] for rows in reply["hits"]]
        return answers

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        points: list[IndexPoint] = []
        for part in slices(ids, _FETCH_SLICE):
            request = {"verb": "fetch", "ids": [each.bytes for each in part], "vectors": vectors}
            points += wire.unpack_points(*self._call(request))
        return points

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list is the end."""
        request = {
            "verb": "scroll",
            "after": after and after.bytes,
            "limit": limit,
            "organization": organization_id and organization_id.bytes,
        }
        fields, _ = self._call(request)
        return [(UUID(bytes=each), int(v), bool(alive)) for each, v, alive in fields["rows"]]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        request = {"verb": "count", "filter": where and wire.pack_filter(where)}
        fields, _ = self._call(request)
        return int(fields["count"])

    def _call(
        self, fields: Mapping[str, Any], arrays: Sequence[wire.Array] = ()
    ) -> tuple[wire.Fields, list[wire.Array]]:
        answer, arrays_back = wire.decode(self._exchange(wire.encode(fields, arrays)))
        if "error" in answer:
            wire.raise_error(answer["error"])
        return answer, arrays_back


class EngineIndex(FramedIndex):
    """One open build, with the verbs that only the owner asks of an engine.

    Args:
        exchange: Brings a request's frame to the engine, returns the answer's.
    """

    def __init__(self, exchange: Callable[[bytes], bytes]) -> None:
        self._bring = exchange

    def _exchange(self, frame: bytes) -> bytes:
        return self._bring(frame)

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of what is stored under these ids, tombstones too."""
        found: dict[UUID, tuple[int, bool]] = {}
        for part in slices(ids, _ID_SLICE):
            fields, _ = self._call({"verb": "versions", "ids": [each.bytes for each in part]})
            found |= {UUID(bytes=each): (int(v), bool(alive)) for each, v, alive in fields["rows"]}
        return found

    def flush(self) -> None:
        """Make all writes durable."""
        self._call({"verb": "flush"})


class RemoteIndex(FramedIndex):
    """The index that another process owns. Safe between threads and after a fork.

    Every thread of every process has its own connection. All verbs are idempotent, so a call that
    finds its connection broken (the owner was restarted) is tried once more.

    Args:
        path: The owner's socket.
        timeout_s: Longest wait for the owner in one call; a request's budget shortens it.
        installation: Says which installation asks; the owner refuses others than that of the
            index. None: it is not said, and nothing is checked.
        breaker: Leaves an owner alone that does not answer; None asks it every time.
    """

    def __init__(
        self,
        path: Path,
        timeout_s: float = 30.0,
        *,
        installation: Callable[[], str] | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._attempt = nullcontext if breaker is None else breaker.attempt
        self._own = threading.local()
        self._installation = installation

    def _call(
        self, fields: Mapping[str, Any], arrays: Sequence[wire.Array] = ()
    ) -> tuple[wire.Fields, list[wire.Array]]:
        # Not for what says nothing of the points: it is asked while PostgreSQL is away, too.
        if self._installation is not None and fields["verb"] not in wire.OF_THE_OWNER:
            fields = {**fields, "installation": self._installation()}
        return super()._call(fields, arrays)

    def ping(self) -> None:
        """Raise `IndexUnavailable` unless the owner answers, loading or not."""
        self._call({"verb": "ping"})

    def rebuild(self, contract: str | None = None, *, take_over: bool = False) -> None:
        """Start building the next index from PostgreSQL; one that runs already goes on.

        Args:
            contract: Digest of the contract that is to serve; None keeps that of today.
            take_over: Also where the index belongs to another installation.

        Raises:
            Conflict: One for another contract is running.
            Misconfigured: The index belongs to another installation.
        """
        self._call({"verb": "rebuild", "contract": contract, "take_over": take_over})

    def progress(self) -> RebuildProgress:
        """Where the last rebuild stands."""
        fields, _ = self._call({"verb": "progress"})
        return RebuildProgress(**fields["progress"])

    def close(self) -> None:
        """Drop this thread's connection; the next call makes another."""
        self._own.link = None

    def _exchange(self, frame: bytes) -> bytes:
        with self._attempt():
            try:
                return self._once(frame)
            except BlockingIOError as error:
                raise _unavailable("gave no answer in time") from error
            except (OSError, EOFError):
                time.sleep(min(_PAUSE_S, deadline.bounded_s(_PAUSE_S)))
                try:
                    return self._once(frame)
                except BlockingIOError as error:
                    raise _unavailable("gave no answer in time") from error
                except (OSError, EOFError) as error:
                    raise _unavailable("does not answer") from error

    def _once(self, frame: bytes) -> bytes:
        wait_s = deadline.bounded_s(self._timeout_s)
        link: _Link | None = getattr(self._own, "link", None)
        if link is None or link.pid != os.getpid():
            link = _Link(self._path, wait_s)
        # Held only while whole: after a failure the next reply could be the last one's.
        self._own.link = None
        link.limit(wait_s)
        link.connection.send_bytes(frame)
        reply: bytes = link.connection.recv_bytes(wire.MAX_FRAME)
        self._own.link = link
        return reply


class _Link:
    """One connection to the owner, and the socket below it, whose limits can be set."""

    __slots__ = ("_limit_s", "_socket", "connection", "pid")

    def __init__(self, path: Path, wait_s: float) -> None:
        self.pid = os.getpid()
        self._limit_s = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(wait_s)
            self._socket.connect(str(path))
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise
        # Another descriptor of the same socket: options set on one hold for both.
        self.connection = Connection(os.dup(self._socket.fileno()))

    def __del__(self) -> None:
        self._socket.close()

    def limit(self, wait_s: float) -> None:
        """Let no read or write take longer than `wait_s` seconds."""
        if wait_s == self._limit_s:
            return
        whole = int(wait_s)
        value = struct.pack("ll", whole, max(1, int((wait_s - whole) * 1e6)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._limit_s = wait_s


def refuse_index() -> IndexUnavailable:
    """The error of a call that the index's circuit breaker does not let through."""
    return _unavailable("did not answer the last calls")


def is_index_failure(error: BaseException) -> bool:
    """Whether an error means that the index did not answer at all."""
    return isinstance(error, IndexUnavailable)


def _unavailable(what: str) -> IndexUnavailable:
    return IndexUnavailable(f"the index {what}; `pinpoint status` shows whether it runs")
