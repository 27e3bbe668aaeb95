"""Request ids, the headers every response carries, one log line per request, and the last net.

Pure ASGI, so that uploads stream through it. Neither bodies, nor query strings, nor credentials
are logged.
"""

from __future__ import annotations

import re
import time
from typing import Final
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinpoint import logs
from pinpoint.api import problems

REQUEST_ID: Final = "X-Request-ID"
ACCESS: Final = "X-Pinpoint-Access"
CLIENT_LEFT: Final = 499
"""In the log and in metrics: the client went away before its request had arrived; no error."""
_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")

_log = logs.get(__name__)


class Tracing:
    """Wraps the application; see the module's first line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = _choose_request_id(scope)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                _set_headers(MutableHeaders(scope=message), state)
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=state["request_id"])
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # nobody is there to be answered; the line below says so
        except Exception as error:
            _log.error("unforeseen error", exc_info=error)
            if status:
                # The answer has begun; cutting the connection is the only honest end.
                raise
            answer = problems.response(
                Request(scope),
                "internal",
                500,
                "an unforeseen error; it is in the server's log under this request id",
            )
            await answer(scope, receive, send_with_headers)
        finally:
            if not status and state.get("client_left"):
                status = CLIENT_LEFT
            route = scope.get("route")
            scope["app"].state.meters.observe_request(
                scope["method"], getattr(route, "path", None), status
            )
            _log.info(
                "request",
                method=scope["method"],
                path=getattr(route, "path", scope["path"]),
                status=status,
                organization=state.get("organization"),
                **_batch_field(scope),
                ms=round((time.perf_counter() - start_s) * 1000, 1),
            )


def _choose_request_id(scope: Scope) -> str:
    client_id = Headers(scope=scope).get(REQUEST_ID, "")
    return client_id if _ID_PATTERN.fullmatch(client_id) else uuid4().hex


def _batch_field(scope: Scope) -> dict[str, str]:
    """The batch that the path names, under the word that workers use in their lines."""
    batch_id = scope.get("path_params", {}).get("batch_id")
    return {"batch_id": str(batch_id)} if batch_id else {}


def _set_headers(headers: MutableHeaders, state: dict[str, str]) -> None:
    headers[REQUEST_ID] = state["request_id"]
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if "access" in state:
        headers[ACCESS] = state["access"]
