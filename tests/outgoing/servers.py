"""Real listeners: one that must never be contacted, and a server with hostile answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ALLOWED_ADDRESS = "127.77.0.1"
"""Loopback address that the tests allow; all others are refused."""


@dataclass
class Trap:
    """A listener on every address of this machine that records connections."""

    port: int
    connections: list[str] = field(default_factory=list)


@contextmanager
def open_trap() -> Iterator[Trap]:
    listener = socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=False
    )
    trap = Trap(listener.getsockname()[1])

    def record() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listener.accept()
                trap.connections.append(connection.getsockname()[0])
                connection.close()

    thread = threading.Thread(target=record, daemon=True)
    thread.start()
    try:
        yield trap
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


Answer = Callable[[socket.socket, str, bytes], None]
"""Answers a request: connection, target, head of the request."""


@dataclass
class RawServer:
    """A server that answers with plain bytes."""

    port: int
    requests: list[bytes] = field(default_factory=list)

    def url(self, target: str, host: str = "photos.test") -> str:
        return f"http://{host}:{self.port}{target}"


@contextmanager
def serve(answer: Answer) -> Iterator[RawServer]:
    listener = socket.create_server((ALLOWED_ADDRESS, 0))
    server = RawServer(listener.getsockname()[1])

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := connection.recv(65_536)):
                head += data
            server.requests.append(head)
            if head:
                answer(connection, head.split(b" ")[1].decode(), head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def make_response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send_endless_chunks(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


def send_slowly(connection: socket.socket, start: bytes, piece: bytes) -> None:
    connection.sendall(start)
    while True:
        connection.sendall(piece)
        time.sleep(0.05)
