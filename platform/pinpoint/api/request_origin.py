"""Host names and origins that requests may name.

A page of another host can make a visitor's browser call an API on loopback: it sends requests to a
loopback address (`Origin` shows it), or lets its name resolve to that address (DNS rebinding,
`Host` shows it). An API on a loopback address therefore accepts its own names only. Those of a
reverse proxy come from `PINPOINT_API_HOST_NAMES`, which also turns the check on for other
addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pinpoint.api import problems
from pinpoint.api.cross_origin import parse_origins
from pinpoint.api.host_names import (
    is_loopback,
    is_origin_of_host,
    is_own_host,
    parse_host_name,
    parse_host_names,
    parse_origin_name,
)
from pinpoint.errors import ForbiddenError

if TYPE_CHECKING:
    from pinpoint.api_settings import ApiSettings


class OriginCheck:
    """Middleware that refuses requests with a foreign `Host` or `Origin`; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 403."""
        if scope["type"] == "http":
            request = Request(scope)
            try:
                check_origin(request, scope["app"].state.services.settings.api)
            except ForbiddenError as error:
                answer = problems.problem_from_error(request, error)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_origin(request: Request, settings: ApiSettings) -> None:
    """Check the host and the origin that a request names.

    Args:
        request: The request.
        settings: Address, host names and permitted origins of the API.

    Raises:
        ForbiddenError: `Host` (`foreign_host`) or `Origin` (`foreign_origin`) is of another site.
    """
    is_loopback_api = settings.host == "localhost" or is_loopback(settings.host)
    host_names = parse_host_names(settings.host_names)
    if not is_loopback_api and not host_names:
        return
    host = request.headers.get("host", "")
    host_name = parse_host_name(host)
    is_allowed_name = host_name in host_names
    if not is_allowed_name and not is_own_host(host_name, settings.host):
        raise ForbiddenError(
            "the header `Host` names another host than this API; behind a reverse proxy, set "
            "PINPOINT_API_HOST_NAMES to the public name",
            reason="foreign_host",
        )
    origin = request.headers.get("origin")
    if origin is None or is_origin_of_host(origin, host):
        return
    permitted = parse_origins(settings.cors_origins)
    if "*" in permitted or origin in permitted or parse_origin_name(origin) in host_names:
        return
    raise ForbiddenError(
        "a web page of another origin may not call this API; PINPOINT_API_CORS_ORIGINS permits "
        "origins",
        reason="foreign_origin",
    )
