"""HEAD on every path with GET, and OPTIONS on every path (RFC 9110, sections 9.3.2 and 9.3.7).

A route may answer both itself; the middleware serves the rest. HEAD runs the route of GET and sends
its headers only. OPTIONS needs no key, because the methods of a path are public in `/openapi.json`.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTE_KEYS: Final = ("route", "path_params")


class MethodSupport:
    """Middleware around the application; see the module docstring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other methods and protocols pass through."""
        if scope["type"] != "http" or scope["method"] not in ("HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        methods = list_methods(scope["app"], scope["path"])
        if _has_route(scope) or not methods:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            response = Response(status_code=204, headers={"Allow": ", ".join(methods)})
            await response(scope, receive, send)
        elif "HEAD" in methods:
            await self._send_head(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _send_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # The server reads the method of its own scope when it sends the response.
        get_scope = {**scope, "method": "GET"}
        try:
            await self._app(get_scope, receive, send_without_body)
        finally:
            # For the request log.
            scope.update({key: get_scope[key] for key in _ROUTE_KEYS if key in get_scope})


def list_methods(app: FastAPI, path: str) -> list[str]:
    """List the methods of a path in alphabetical order; empty if the path does not exist."""
    routes = [
        context.original_route
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, Route)
        and context.original_route.path_regex.match(path)
    ]
    # A route with this very path hides those with parameters, such as `/v1/images/metadata`.
    routes = [route for route in routes if route.path == path] or routes
    methods = {method for route in routes for method in route.methods or ()}
    if not methods:
        return []
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods | {"OPTIONS"})


def _has_route(scope: Scope) -> bool:
    """Whether a route answers this method itself."""
    return any(
        isinstance(context.original_route, Route)
        and context.original_route.matches(scope)[0] is Match.FULL
        for context in iter_route_contexts(scope["app"].routes)
    )
