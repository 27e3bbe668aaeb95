"""The owner's side of the wire, and the socket: one thread for each connection.

The owner answers what is about the whole index and passes the rest to the engine that has the build
open, without looking at the vectors in it.
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
from pinpoint.store import vectors_wire as wire
from pinpoint.store.vectors_serve import Answer, Told, ensure_by, info_of, named, said

MAX_CONNECTIONS: Final = 512
SOCKET_PATH_BYTES: Final = 107


class Owner(Told, Protocol):
    """What the owner says itself, and its two ways to the engine."""

    def rebuild(self, contract: str | None = None) -> None:
        """Start a rebuild unless one runs."""
        ...

    def check_installation(self, installation: str | None) -> None:
        """Raise `Misconfigured` for an installation that the index does not belong to."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """The fields of `RebuildProgress`."""
        ...

    def exchange(self, frame: bytes) -> bytes:
        """Bring a question to the engine; returns its answer."""
        ...

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        """Bring a write of these ids to the engine; returns its answer."""
        ...


def _ping(_: Owner, __: wire.Fields, ___: list[wire.Array]) -> Answer:
    return {"pid": os.getpid()}, ()


def _rebuild(owner: Owner, fields: wire.Fields, _: list[wire.Array]) -> Answer:
    contract = fields.get("contract")
    owner.rebuild(None if contract is None else str(contract))
    return {}, ()


def _progress(owner: Owner, _: wire.Fields, __: list[wire.Array]) -> Answer:
    return {"progress": dict(owner.progress())}, ()


OWN: Final[Mapping[str, Callable[[Owner, wire.Fields, list[wire.Array]], Answer]]] = {
    "ping": _ping,
    "info": info_of,
    "ensure": ensure_by,
    "rebuild": _rebuild,
    "progress": _progress,
}
"""What the owner answers itself."""
READS: Final = frozenset({"search", "fetch", "scroll", "count"})
WRITES: Final[Mapping[str, Callable[[wire.Fields], Iterable[bytes]]]] = {
    "upsert": lambda fields: (row[0] for row in fields["points"]),
    "delete": lambda fields: (row[0] for row in fields["versions"]),
    "forget": lambda fields: fields["ids"],
}
"""What the owner passes on, and the ids in it."""


def front(owner: Owner, frame: bytes) -> bytes:
    """Answer one frame as the owner: of what it passes on it reads the header only."""

    def called() -> bytes:
        fields, _ = wire.decode(frame, whole=False)
        verb = str(fields.get("verb"))
        if verb not in wire.OF_THE_OWNER and not (verb == "rebuild" and fields.get("take_over")):
            asked = fields.get("installation")
            owner.check_installation(None if asked is None else str(asked))
        if verb in READS:
            return owner.exchange(frame)
        if verb in WRITES:
            return owner.write((UUID(bytes=each) for each in WRITES[verb](fields)), frame)
        return wire.encode(*named(OWN, fields)(owner, fields, []))

    return said(called)


class IndexServer:
    """Listens on a 0600 Unix socket and answers until closed.

    Args:
        path: The socket; a stale one (nobody answers) is removed.
        owner: What answers; called from many threads.

    Raises:
        StackError: The path is too long or taken by a living process.
    """

    def __init__(self, path: Path, owner: Owner) -> None:
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
                    connection.send_bytes(front(self._owner, connection.recv_bytes(wire.MAX_FRAME)))
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
