"""The route class of `/ogc`: parameter checks, OGC status codes and cache headers for each route."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from pinpoint.api.ogc.item_parameters import check_parameters
from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.records import FEATURE_LAYERS

CACHE_CONTROL: Final = "private, no-store"
"""A page of one organization must not reach another one through a shared cache."""


class LayerRoute(APIRoute):
    """A route of `/ogc`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with checks before it and headers after it."""
        handle = super().get_route_handler()

        async def handle_checked(request: Request) -> Response:
            layer = FEATURE_LAYERS.get(request.path_params.get("collectionId", ""))
            check_parameters(request.query_params, self.name, layer)
            try:
                response = await handle(_remove_accept(request))
            except RequestValidationError as error:
                raise _translate_error(error) from error
            response.headers["Cache-Control"] = CACHE_CONTROL
            return response

        return handle_checked


def _remove_accept(request: Request) -> Request:
    """Remove the header `Accept`: `tipg` would answer browsers with pages that load scripts."""
    headers = [entry for entry in request.scope["headers"] if entry[0] != b"accept"]
    return Request({**request.scope, "headers": headers}, request.receive)


def _translate_error(error: RequestValidationError) -> BadRequestError | NotFoundError:
    """A wrong part of the path does not exist; a wrong parameter is a bad request."""
    field_error = error.errors()[0]
    place, *names = map(str, field_error["loc"])
    name = ".".join(names)
    if place == "path":
        return NotFoundError(f"no such resource: {name} does not exist")
    return BadRequestError(f"{name}: {field_error['msg']}")
