"""Request ids, common response headers, the request log and the catch-all exception handler.

`asgi_correlation_id` chooses the id of a request; the middleware here logs the request under it.
Both are pure ASGI, so that uploads stream through them. Bodies, query strings and credentials are
not logged.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final

import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinpoint import logs
from pinpoint.api import problems, rate_limits

REQUEST_ID_HEADER: Final = "X-Request-ID"
ACCESS_HEADER: Final = "X-Pinpoint-Access"
CLIENT_CLOSED_REQUEST: Final = 499
"""Status in log and metrics for a client that disconnected before its request was complete."""
_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")

_log = logs.get_logger(__name__)


def add_request_ids(app: FastAPI) -> None:
    """Add the middlewares; the one added last is the outermost."""
    app.add_middleware(RequestLogMiddleware)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=REQUEST_ID_HEADER,
        validator=lambda client_id: _ID_PATTERN.fullmatch(client_id) is not None,
    )


class RequestLogMiddleware:
    """Middleware around the application; see the module docstring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other protocols than HTTP pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = correlation_id.get()
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
            pass  # The client is gone, so no answer is sent; the log line below records it.
        except Exception as error:
            _log.error("unforeseen error", exc_info=error)
            if status:
                # The response has started, so the only way to signal the error is to abort.
                raise
            answer = problems.make_internal_problem(Request(scope))
            await answer(scope, receive, send_with_headers)
        finally:
            if not status and state.get("client_left"):
                status = CLIENT_CLOSED_REQUEST
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


def _batch_field(scope: Scope) -> dict[str, str]:
    """Return the batch id of the path under the log field that workers use."""
    batch_id = scope.get("path_params", {}).get("batch_id")
    return {"batch_id": str(batch_id)} if batch_id else {}


def _set_headers(headers: MutableHeaders, state: dict[str, Any]) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if "access" in state:
        headers[ACCESS_HEADER] = state["access"]
    rate_limits.add_headers(headers, state)
