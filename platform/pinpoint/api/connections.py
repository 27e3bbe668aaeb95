"""uvicorn's HTTP/1.1 connections with timeouts for slow and idle clients.

uvicorn waits for a request head without limit. This class closes a connection that does not send
a complete head in time, for the first and each later request. If a response is sent before the
request body has arrived (a rejected upload), the connection lingers: the write side is closed, more
input is discarded for a while, and then the connection is aborted. An immediate close would send
a TCP reset, and clients that read only after sending all would lose the response. An authenticated
caller may finish sending; from other clients only a little more is read.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER_S: Final = 1.0
LINGER_BYTES: Final = 256_000
AUTHENTICATED_LINGER_S: Final = 30.0
AUTHENTICATED_LINGER_BYTES: Final = 1_000_000_000


def make_limited_protocol(header_timeout_s: float) -> type[H11Protocol]:
    """Return a connection class that waits `header_timeout_s` seconds for a request head."""

    class LimitedConnection(_Connection):
        head_timeout_s = header_timeout_s

    return LimitedConnection


class _Connection(H11Protocol):
    head_timeout_s = 10.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_lingering, self._droppable_bytes = False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request head."""
        super().connection_made(_Transport(transport, self))  # type: ignore[arg-type]
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received data, or discard it while lingering."""
        if self._is_lingering:
            self._droppable_bytes -= len(data)
            if self._droppable_bytes < 0:
                self.transport.pause_reading()
            return
        super().data_received(data)
        if self._is_between_requests():
            self._start_head_timer()
        else:
            self._cancel_head_timer()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Stop lingering, because the client has closed its side."""
        if self._is_lingering:
            self.transport.abort()
        return super().eof_received()

    def on_response_complete(self) -> None:
        """Continue with the next request of this connection."""
        super().on_response_complete()
        if not self._is_between_requests():
            self._cancel_head_timer()

    def start_linger(self, transport: asyncio.Transport) -> bool:
        """Start to linger if the request body is incomplete; return whether closing must wait."""
        if self._is_lingering:
            return True
        if self.conn.their_state is not h11.SEND_BODY or not transport.can_write_eof():
            return False
        self._is_lingering = True
        self._cancel_head_timer()
        is_authenticated = self.scope["state"].get("caller") is not None
        self._droppable_bytes = AUTHENTICATED_LINGER_BYTES if is_authenticated else LINGER_BYTES
        transport.write_eof()
        transport.resume_reading()
        self.loop.call_later(
            AUTHENTICATED_LINGER_S if is_authenticated else LINGER_S, transport.abort
        )
        return True

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start_head_timer(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._close_idle)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_idle(self) -> None:
        self._head_timer = None
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.abort()


class _Transport:
    """The server's transport with a `close` that may linger."""

    def __init__(self, transport: asyncio.Transport, connection: _Connection) -> None:
        self._transport, self._connection = transport, connection
        self._closing = False

    def close(self) -> None:
        """Close now, or start to linger."""
        self._closing = True
        if not self._connection.start_linger(self._transport):
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether the transport is closed or closing."""
        return self._closing or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
