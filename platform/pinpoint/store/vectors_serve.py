"""The owner's side of the wire: a fixed list of verbs, one thread for each connection."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadRequest, IndexUnavailable, PinpointError, StackError
from pinpoint.ports import VectorIndex
from pinpoint.records import IndexSpec
from pinpoint.store import vectors_wire as wire

MAX_CONNECTIONS: Final = 512
MAX_ROWS: Final = 50_000
SOCKET_PATH_BYTES: Final = 107


class ServedIndex(VectorIndex, Protocol):
    """An index that can build its successor."""

    def rebuild(self, contract: str | None = None) -> None:
        """Start a rebuild unless one runs."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """The fields of `RebuildProgress`."""
        ...


Answer = tuple[wire.Fields, Sequence[wire.Array]]
Verb = Callable[[ServedIndex, wire.Fields, list[wire.Array]], Answer]


def _ping(_: ServedIndex, __: wire.Fields, ___: list[wire.Array]) -> Answer:
    return {"pid": os.getpid()}, ()


def _info(index: ServedIndex, _: wire.Fields, __: list[wire.Array]) -> Answer:
    return {"info": dataclasses.asdict(index.info())}, ()


def _ensure(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    dims = {str(name): int(width) for name, width in fields["dims"].items()}
    if any(not 0 < width <= wire.MAX_WIDTH for width in dims.values()):
        raise BadRequest(f"vector widths must be 1 to {wire.MAX_WIDTH}, not {dims}")
    index.ensure(IndexSpec(contract=str(fields["contract"]), dims=dims))
    return {}, ()


def _rebuild(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    contract = fields.get("contract")
    index.rebuild(None if contract is None else str(contract))
    return {}, ()


def _progress(index: ServedIndex, _: wire.Fields, __: list[wire.Array]) -> Answer:
    return {"progress": dict(index.progress())}, ()


def _upsert(index: ServedIndex, fields: wire.Fields, arrays: list[wire.Array]) -> Answer:
    contract = fields.get("contract")
    index.upsert(wire.unpack_points(fields, arrays), None if contract is None else str(contract))
    return {}, ()


def _delete(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    index.delete({UUID(bytes=each): int(version) for each, version in fields["versions"]})
    return {}, ()


def _forget(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    index.forget([UUID(bytes=each) for each in fields["ids"]])
    return {}, ()


def _search(index: ServedIndex, fields: wire.Fields, arrays: list[wire.Array]) -> Answer:
    answers = index.search(wire.unpack_queries(fields, arrays))
    return {"hits": [[wire.pack_hit(hit) for hit in hits] for hits in answers]}, ()


def _fetch(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    ids = [UUID(bytes=each) for each in fields["ids"]]
    return wire.pack_points(index.fetch(ids, vectors=bool(fields["vectors"])))


def _scroll(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    after, organization = fields["after"], fields["organization"]
    rows = index.scroll(
        None if after is None else UUID(bytes=after),
        min(int(fields["limit"]), MAX_ROWS),
        None if organization is None else UUID(bytes=organization),
    )
    return {"rows": [[each.bytes, version, alive] for each, version, alive in rows]}, ()


def _count(index: ServedIndex, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    where = fields["filter"]
    return {"count": index.count(None if where is None else wire.unpack_filter(where))}, ()


VERBS: Final[Mapping[str, Verb]] = {
    "ping": _ping,
    "info": _info,
    "ensure": _ensure,
    "rebuild": _rebuild,
    "progress": _progress,
    "upsert": _upsert,
    "delete": _delete,
    "forget": _forget,
    "search": _search,
    "fetch": _fetch,
    "scroll": _scroll,
    "count": _count,
}


def answer(index: ServedIndex, frame: bytes) -> bytes:
    """Answer one frame; whatever goes wrong becomes an error frame, never an exception."""
    try:
        fields, arrays = wire.decode(frame)
        verb = VERBS.get(str(fields.get("verb")))
        if verb is None:
            raise BadRequest(f"the index owner knows no verb {fields.get('verb')!r}")
        try:
            return wire.encode(*verb(index, fields, arrays))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadRequest(f"not an index message: {error!r}", reason="bad_frame") from error
    except PinpointError as error:
        return wire.encode(wire.pack_error(error))
    except Exception as error:
        logs.get(__name__).exception("index.verb_failed")
        return wire.encode(wire.pack_error(IndexUnavailable(f"the index engine failed: {error}")))


class IndexServer:
    """Listens on a 0600 Unix socket and answers until closed.

    Args:
        path: The socket; a stale one (nobody answers) is removed.
        index: What answers.

    Raises:
        StackError: The path is too long or taken by a living process.
    """

    def __init__(self, path: Path, index: ServedIndex) -> None:
        self._index = index
        self._path = path
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise StackError(f"the socket path {path} is longer than {SOCKET_PATH_BYTES} bytes")
        _remove_stale(path)
        umask = os.umask(0o177)
        try:
            self._listener = Listener(str(path), family="AF_UNIX", backlog=64)
        except OSError as error:
            raise StackError(f"cannot listen at {path}: {error.strerror}") from error
        finally:
            os.umask(umask)

    def start(self) -> None:
        """Answer in the background."""
        threading.Thread(target=self._accept, name="index-accept", daemon=True).start()

    def close(self) -> None:
        """Take no more connections and remove the socket."""
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError as error:
                logs.get(__name__).info("index.listener_closed", detail=str(error))
                return
            if not self._slots.acquire(blocking=False):
                logs.get(__name__).warning("index.too_many_connections", limit=MAX_CONNECTIONS)
                connection.close()
                continue
            name = "index-client"
            threading.Thread(
                target=self._converse, args=(connection,), name=name, daemon=True
            ).start()

    def _converse(self, connection: Connection) -> None:
        try:
            with connection:
                while True:
                    connection.send_bytes(
                        answer(self._index, connection.recv_bytes(wire.MAX_FRAME))
                    )
        except EOFError:
            return  # the client hung up
        except OSError as error:
            logs.get(__name__).warning("index.connection_dropped", detail=str(error))
        finally:
            self._slots.release()


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise StackError(f"another process answers at {path}; stop it first (`pinpoint down`)")
