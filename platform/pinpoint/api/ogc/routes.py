"""The router of `/ogc`: every route needs the scope `read`, and has HEAD and OPTIONS."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute

from pinpoint.api.auth import require_scope
from pinpoint.api.ogc.feature_routes import FeatureRoutes
from pinpoint.api.ogc.layer_collections import find_collection
from pinpoint.api.ogc.layer_route import LayerRoute
from pinpoint.api.ogc.tile_routes import TileRoutes

METHODS: Final = "GET, HEAD, OPTIONS"


def _build_router() -> APIRouter:
    # The API has an OpenAPI document of its own, with literal paths: /ogc/api.
    router = APIRouter(
        prefix="/ogc",
        tags=["layers"],
        dependencies=[Depends(require_scope("read"))],
        route_class=LayerRoute,
        include_in_schema=False,
    )
    FeatureRoutes(router=router, collection_dependency=find_collection)
    TileRoutes(router=router)
    for route in list(router.routes):
        if isinstance(route, APIRoute):
            route.methods = {*(route.methods or ()), "HEAD"}
            router.routes.append(_make_options_route(route.path))
    return router


def _make_options_route(path: str) -> APIRoute:
    """Describe the methods of a path to anybody: clients ask before they authenticate."""

    def list_methods() -> Response:
        return Response(status_code=204, headers={"Allow": METHODS})

    return APIRoute(path, list_methods, methods=["OPTIONS"], include_in_schema=False)


router = _build_router()
