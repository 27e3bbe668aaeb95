"""`/api/map`: vector tiles of the Panoramax API, and the map style that draws them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.panoramax.links import API_PATH, MAP_TILE, Links
from pinpoint.errors import NotFoundError

router = APIRouter(prefix=f"{API_PATH}/map", tags=["panoramax"])

MAX_ZOOM: Final = 22
SOURCE_MAX_ZOOM: Final = 15
"""Zoom of the most detailed tiles that the viewer requests; it enlarges them beyond."""
SOURCE: Final = "geovisio"
"""Name of the source, by which the viewer recognizes the layers that it filters."""
_GRID_MAX_ZOOM: Final = 6
_COLOR: Final = "#FF6F00"
_PRIVATE: Final = {"Cache-Control": "private, no-store"}
_PROBLEMS: Final = problems.problem_responses(401, 403, 404, 422, 503)

Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom level.", examples=[14])]
Column = Annotated[int, Path(ge=0, description="Column, from west to east.", examples=[8299])]
Row = Annotated[int, Path(ge=0, description="Row, from north to south.", examples=[5636])]


@router.get(
    "/style.json",
    operation_id="get_panoramax_style",
    summary="Map style of the Panoramax API",
    responses=_PROBLEMS,
)
def get_style(request: Request, caller: ReadCaller) -> JSONResponse:
    """Return a MapLibre style of the tiles, without labels and without a base map."""
    return JSONResponse(_make_style(Links(request)), headers=_PRIVATE)


@router.get(
    "/{z}/{x}/{y}.mvt",
    operation_id="get_panoramax_tile",
    summary="Vector tile of the Panoramax API",
    response_class=Response,
    responses={
        200: {"content": {MAP_TILE: {"schema": {"type": "string", "format": "binary"}}}},
        **_PROBLEMS,
    },
)
def get_tile(z: Zoom, x: Column, y: Row, caller: ReadCaller, services: AppServices) -> Response:
    """Return one tile: a grid at low zoom, sequences above it, and single items from zoom 15."""
    if x >= 2**z or y >= 2**z:
        raise NotFoundError(f"there is no tile {z}/{x}/{y}")
    with services.gallery.read(caller.organization_id) as gallery:
        tile = gallery.build_map_tile(z, x, y)
    return Response(tile, media_type=MAP_TILE, headers=_PRIVATE)


def _make_style(links: Links) -> dict[str, Any]:
    density = ["get", "coef"]
    return {
        "version": 8,
        "name": "Pinpoint",
        "sources": {
            SOURCE: {
                "type": "vector",
                "tiles": [links.api("/map/{z}/{x}/{y}.mvt")],
                "minzoom": 0,
                "maxzoom": SOURCE_MAX_ZOOM,
            }
        },
        "layers": [
            {
                "id": f"{SOURCE}_grid",
                "type": "circle",
                "source": SOURCE,
                "source-layer": "grid",
                "maxzoom": _GRID_MAX_ZOOM + 1,
                "paint": {
                    "circle-color": _COLOR,
                    "circle-opacity": ["interpolate", ["linear"], density, 0, 0.35, 1, 0.9],
                    "circle-radius": ["interpolate", ["linear"], density, 0, 4, 1, 14],
                },
            },
            {
                "id": f"{SOURCE}_sequences",
                "type": "line",
                "source": SOURCE,
                "source-layer": "sequences",
                "layout": {"line-cap": "square"},
                "paint": {
                    "line-color": _COLOR,
                    "line-width": ["interpolate", ["linear"], ["zoom"], 0, 0.5, 10, 1.5, 22, 4],
                },
            },
            {
                "id": f"{SOURCE}_pictures",
                "type": "circle",
                "source": SOURCE,
                "source-layer": "pictures",
                "paint": {"circle-color": _COLOR},
            },
        ],
    }
