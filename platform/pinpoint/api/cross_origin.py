"""Cross-origin requests of web pages (CORS), for the origins of `PINPOINT_API_CORS_ORIGINS`.

Off by default. A page sends its key itself; cookies and saved passwords are never accepted, so no
page can use the rights of another. A preflight request needs no key, because browsers send none.
"""

from __future__ import annotations

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pinpoint.http_headers import API_KEY_HEADER, IDEMPOTENCY_KEY_HEADER, ORGANIZATION_HEADER

EXPOSED_HEADERS: Final = (
    "Content-Disposition",
    "ETag",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Pinpoint-Rows",
    "X-Request-ID",
)
"""Response headers that a page may read, besides the few that browsers always show."""
ACCEPTED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    IDEMPOTENCY_KEY_HEADER,
    "If-Match",
    "If-None-Match",
    "Range",
    API_KEY_HEADER,
    ORGANIZATION_HEADER,
    "X-Request-ID",
)
"""Request headers that a page may send."""
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PREFLIGHT_AGE_S: Final = 600


class CrossOrigin:
    """Middleware around the application; see the module docstring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._origins: tuple[str, ...] = ()
        self._cors_app: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; requests of other origins pass through without CORS headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origins = parse_origins(scope["app"].state.services.settings.api.cors_origins)
        if not origins:
            await self._app(scope, receive, send)
            return
        if origins != self._origins:
            self._origins, self._cors_app = origins, self._make_cors_app(origins)
        origin = Request(scope).headers.get("origin")
        is_allowed = "*" in origins or origin in origins
        await (self._cors_app if is_allowed else self._app)(scope, receive, send)

    def _make_cors_app(self, origins: tuple[str, ...]) -> ASGIApp:
        return CORSMiddleware(
            self._app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=ACCEPTED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            allow_credentials=False,
            max_age=_PREFLIGHT_AGE_S,
        )


def parse_origins(text: str | None) -> tuple[str, ...]:
    """Parse the comma-separated origins of the setting; empty if it is not set."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
