"""RPC server of the index owner on a Unix socket, with one thread per connection.

The owner answers requests about the index as a whole. It passes all others to the engine process
that has the build open, without decoding their vectors.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import StackError
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.handlers import (
    EngineState,
    ResponseFrame,
    encode_response,
    find_handler,
    handle_ensure,
    handle_info,
)

MAX_CONNECTIONS: Final = 512
SOCKET_PATH_BYTES: Final = 107


class IndexOwner(EngineState, Protocol):
    """Requests that the owner answers, and its two calls to the engine."""

    def rebuild(self, contract: str | None = None) -> None:
        """Start a rebuild unless one runs."""
        ...

    def check_installation(self, installation: str | None) -> None:
        """Raise `ConfigurationError` for an installation that the index does not belong to."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """The fields of `RebuildProgress`."""
        ...

    def exchange(self, frame: bytes) -> bytes:
        """Pass a query to the engine; returns its response."""
        ...

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        """Pass a write of these ids to the engine; returns its response."""
        ...


def _handle_ping(_: IndexOwner, __: codec.Fields, ___: list[codec.Array]) -> ResponseFrame:
    return {"pid": os.getpid()}, ()


def _handle_rebuild(owner: IndexOwner, fields: codec.Fields, _: list[codec.Array]) -> ResponseFrame:
    contract = fields.get("contract")
    owner.rebuild(None if contract is None else str(contract))
    return {}, ()


def _handle_progress(owner: IndexOwner, _: codec.Fields, __: list[codec.Array]) -> ResponseFrame:
    return {"progress": dict(owner.progress())}, ()


OWNER_HANDLERS: Final[
    Mapping[str, Callable[[IndexOwner, codec.Fields, list[codec.Array]], ResponseFrame]]
] = {
    "ping": _handle_ping,
    "info": handle_info,
    "ensure": handle_ensure,
    "rebuild": _handle_rebuild,
    "progress": _handle_progress,
}
"""Handlers of the requests that the owner answers."""
READS: Final = frozenset({"search", "fetch", "scroll", "count"})
WRITES: Final[Mapping[str, Callable[[codec.Fields], Iterable[bytes]]]] = {
    "upsert": lambda fields: (row["id"] for row in fields["points"]),
    "write_tombstones": lambda fields: (row[0] for row in fields["versions"]),
    "delete_points": lambda fields: fields["ids"],
}
"""Writes that the owner passes to the engine, and the ids in each of them."""


def handle_frame(owner: IndexOwner, frame: bytes) -> bytes:
    """Handle one frame as the owner; of a frame for the engine only the header is decoded."""

    def respond() -> bytes:
        fields, _ = codec.decode(frame, whole=False)
        verb = str(fields.get("verb"))
        if verb not in codec.UNCHECKED_VERBS and not (
            verb == "rebuild" and fields.get("take_over")
        ):
            installation = fields.get("installation")
            owner.check_installation(None if installation is None else str(installation))
        if verb in READS:
            return owner.exchange(frame)
        if verb in WRITES:
            return owner.write((UUID(bytes=point_id) for point_id in WRITES[verb](fields)), frame)
        return codec.encode(*find_handler(OWNER_HANDLERS, fields)(owner, fields, []))

    return encode_response(respond)


class IndexServer:
    """Serves requests on a Unix socket with mode 0600 until closed.

    Args:
        path: Path of the socket; a stale socket without a listener is removed.
        owner: Handles the requests; called from many threads.

    Raises:
        StackError: The path is too long, or a living process listens on it.
    """

    def __init__(self, path: Path, owner: IndexOwner) -> None:
        self._owner = owner
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
        """Start to serve in a background thread."""
        threading.Thread(target=self._accept_connections, name="index-accept", daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections and remove the socket."""
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept_connections(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError as error:
                logs.get_logger(__name__).info("index.listener_closed", detail=str(error))
                return
            if not self._slots.acquire(blocking=False):
                logs.get_logger(__name__).warning(
                    "index.too_many_connections", limit=MAX_CONNECTIONS
                )
                connection.close()
                continue
            name = "index-client"
            threading.Thread(
                target=self._serve_connection, args=(connection,), name=name, daemon=True
            ).start()

    def _serve_connection(self, connection: Connection) -> None:
        try:
            with connection:
                while True:
                    connection.send_bytes(
                        handle_frame(self._owner, connection.recv_bytes(codec.MAX_FRAME))
                    )
        except EOFError:
            return  # the client closed the connection
        except OSError as error:
            logs.get_logger(__name__).warning("index.connection_dropped", detail=str(error))
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
