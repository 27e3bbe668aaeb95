"""Vector index in another process: RPC over frames, and the client of the index owner."""

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
from pinpoint.errors import IndexUnavailableError
from pinpoint.iteration import batched
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store.vectors.payload import UPSERT_SLICE
from pinpoint.store.vectors.rpc import codec

_SEARCH_SLICE: Final = 256
_FETCH_SLICE: Final = 1_000
_ID_SLICE: Final = 5_000
_RETRY_PAUSE_S: Final = 0.1
_VERSION_ROWS: Final = list[tuple[UUID, int, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildProgress:
    """State of the owner's last rebuild."""

    state: str
    """`idle`, `streaming`, `optimizing`, `verifying`, `catching up`, `replaying`, `done` or
    `failed`."""
    build: str | None
    contract: str | None
    points: int
    error: str | None


class RpcIndex(ABC):
    """The index of a process that answers frames."""

    @abstractmethod
    def _exchange_frame(self, frame: bytes) -> bytes:
        """Send a request frame; returns the response frame."""

    def info(self) -> IndexInfo:
        """Content and build of the index; available while it loads."""
        fields, _ = self._call_verb({"verb": "info"})
        info: IndexInfo = codec.convert(fields["info"], IndexInfo)
        return info

    def ensure(self, spec: IndexSpec) -> None:
        """Create the index if it does not exist.

        Raises:
            ModelMismatchError: The index exists for another contract.
        """
        request = {"verb": "ensure", "contract": spec.contract, "dims": dict(spec.dims)}
        self._call_verb({**request, "installation": spec.installation})

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; skip a point whose stored version (also of a tombstone) is higher."""
        for chunk in batched(points, UPSERT_SLICE):
            fields, arrays = codec.pack_points(chunk)
            self._call_verb({"verb": "upsert", "contract": contract, **fields}, arrays)

    def write_tombstones(self, versions: Mapping[UUID, int]) -> None:
        """Write tombstones of these versions; no older version can replace them."""
        for chunk in batched(versions.items(), UPSERT_SLICE):
            self._call_verb({"verb": "write_tombstones", "versions": chunk})

    def delete_points(self, ids: Iterable[UUID]) -> None:
        """Delete points and tombstones, when no writer of an old version can be alive."""
        for chunk in batched(ids, _ID_SLICE):
            self._call_verb({"verb": "delete_points", "ids": chunk})

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Run several queries in one request; hits are best first, ties by `Hit.tie_key`."""
        results: list[list[Hit]] = []
        for chunk in batched(queries, _SEARCH_SLICE):
            fields, arrays = codec.pack_queries(chunk)
            reply, _ = self._call_verb({"verb": "search", **fields}, arrays)
            results += codec.convert(reply["hits"], list[list[Hit]])
        return results

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points with these ids, in no order; missing ids are omitted."""
        points: list[IndexPoint] = []
        for chunk in batched(ids, _FETCH_SLICE):
            request = {"verb": "fetch", "ids": chunk, "vectors": vectors}
            points += codec.unpack_points(*self._call_verb(request))
        return points

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list means the end."""
        request = {"verb": "scroll", "after": after, "limit": limit}
        fields, _ = self._call_verb({**request, "organization": organization_id})
        rows: list[tuple[UUID, int, bool]] = codec.convert(fields["rows"], _VERSION_ROWS)
        return rows

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        fields, _ = self._call_verb(
            {"verb": "count", "filter": where and codec.check_filter(where)}
        )
        count: int = codec.convert(fields["count"], int)
        return count

    def _call_verb(
        self, fields: Mapping[str, Any], arrays: Sequence[codec.Array] = ()
    ) -> tuple[codec.Fields, list[codec.Array]]:
        reply, reply_arrays = codec.decode(self._exchange_frame(codec.encode(fields, arrays)))
        if "error" in reply:
            codec.raise_error(reply["error"])
        return reply, reply_arrays


class EngineIndex(RpcIndex):
    """One open build, with the requests that only the owner sends to an engine.

    Args:
        exchange: Sends a request frame to the engine, and returns the response frame.
    """

    def __init__(self, exchange: Callable[[bytes], bytes]) -> None:
        self._send_frame = exchange

    def _exchange_frame(self, frame: bytes) -> bytes:
        return self._send_frame(frame)

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of the stored points and tombstones with these ids."""
        stored: dict[UUID, tuple[int, bool]] = {}
        for chunk in batched(ids, _ID_SLICE):
            fields, _ = self._call_verb({"verb": "versions", "ids": chunk})
            stored |= {
                point_id: (version, alive)
                for point_id, version, alive in codec.convert(fields["rows"], _VERSION_ROWS)
            }
        return stored

    def flush(self) -> None:
        """Make all writes durable."""
        self._call_verb({"verb": "flush"})


class RemoteIndex(RpcIndex):
    """The index that another process owns. Safe for threads and after a fork.

    Every thread of every process has its own connection. All requests are idempotent, so a call on
    a broken connection (the owner was restarted) is repeated once.

    Args:
        path: Socket of the owner.
        timeout_s: Maximum wait for the owner in one call, in seconds; the budget of a request
            shortens it.
        installation: Returns the id of this installation. The owner rejects all ids but that of the
            index. None sends no id and disables the check.
        breaker: Circuit breaker; None sends every request.
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
        self._thread_local = threading.local()
        self._installation = installation

    def _call_verb(
        self, fields: Mapping[str, Any], arrays: Sequence[codec.Array] = ()
    ) -> tuple[codec.Fields, list[codec.Array]]:
        # Requests that do not concern points carry no id: they must work while PostgreSQL is down.
        if self._installation is not None and fields["verb"] not in codec.UNCHECKED_VERBS:
            fields = {**fields, "installation": self._installation()}
        return super()._call_verb(fields, arrays)

    def ping(self) -> None:
        """Raise `IndexUnavailableError` unless the owner answers; it may still be loading."""
        self._call_verb({"verb": "ping"})

    def rebuild(self, contract: str | None = None, *, take_over: bool = False) -> None:
        """Start to build the next index from PostgreSQL; a running rebuild continues.

        Args:
            contract: Digest of the contract of the next index; None keeps the current contract.
            take_over: Also rebuild an index of another installation.

        Raises:
            ConflictError: A rebuild for another contract is running.
            ConfigurationError: The index belongs to another installation.
        """
        self._call_verb({"verb": "rebuild", "contract": contract, "take_over": take_over})

    def progress(self) -> RebuildProgress:
        """State of the last rebuild."""
        fields, _ = self._call_verb({"verb": "progress"})
        progress: RebuildProgress = codec.convert(fields["progress"], RebuildProgress)
        return progress

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        self._thread_local.link = None

    def _exchange_frame(self, frame: bytes) -> bytes:
        with self._attempt():
            try:
                return self._exchange_once(frame)
            except BlockingIOError as error:
                raise _index_unavailable("gave no answer in time") from error
            except (OSError, EOFError):
                time.sleep(min(_RETRY_PAUSE_S, deadline.limit_timeout_s(_RETRY_PAUSE_S)))
                try:
                    return self._exchange_once(frame)
                except BlockingIOError as error:
                    raise _index_unavailable("gave no answer in time") from error
                except (OSError, EOFError) as error:
                    raise _index_unavailable("does not answer") from error

    def _exchange_once(self, frame: bytes) -> bytes:
        wait_s = deadline.limit_timeout_s(self._timeout_s)
        link: _OwnerConnection | None = getattr(self._thread_local, "link", None)
        if link is None or link.pid != os.getpid():
            link = _OwnerConnection(self._path, wait_s)
        # Kept only if the exchange succeeds: after a failure the next reply could belong to this
        # request.
        self._thread_local.link = None
        link.limit(wait_s)
        link.connection.send_bytes(frame)
        reply: bytes = link.connection.recv_bytes(codec.MAX_FRAME)
        self._thread_local.link = link
        return reply


class _OwnerConnection:
    """One connection to the owner, and its socket, whose timeouts can be set."""

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
        # A second descriptor of the same socket: options set on one apply to both.
        self.connection = Connection(os.dup(self._socket.fileno()))

    def __del__(self) -> None:
        self._socket.close()

    def limit(self, wait_s: float) -> None:
        """Limit each read and write to `wait_s` seconds."""
        if wait_s == self._limit_s:
            return
        seconds = int(wait_s)
        value = struct.pack("ll", seconds, max(1, int((wait_s - seconds) * 1e6)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._limit_s = wait_s


def refuse_index() -> IndexUnavailableError:
    """Error of a call that the circuit breaker of the index rejects."""
    return _index_unavailable("did not answer the last calls")


def is_index_failure(error: BaseException) -> bool:
    """Whether an error means that the index did not answer at all."""
    return isinstance(error, IndexUnavailableError)


def _index_unavailable(problem: str) -> IndexUnavailableError:
    return IndexUnavailableError(f"the index {problem}; `pinpoint status` shows whether it runs")
