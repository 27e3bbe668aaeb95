"""`/web/basemap/operator`: the operator's own background map of the web page, from files.

`PINPOINT_API_BASEMAP_TILES` names a PMTiles archive, `PINPOINT_API_BASEMAP_STYLE` a MapLibre style.
Both are settings, never parameters of the page, because a style decides which hosts a browser asks.
The map needs no key, as the rest of the page.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from pinpoint.api.dependencies import AppServices
from pinpoint.api.web_page import security_headers, send_file
from pinpoint.api_settings import ApiSettings
from pinpoint.errors import NotFoundError

router = APIRouter(prefix="/web/basemap/operator", include_in_schema=False)


class OperatorBasemap(BaseModel):
    """What the page draws instead of its own background map.

    Args:
        style: URL of the style, relative to the page or absolute; None without one.
        tiles: URL of the PMTiles archive, relative to the page; None without one.
    """

    style: str | None
    tiles: str | None


@router.get("/map.json")
async def get_operator_basemap(services: AppServices) -> Response:
    """Return the URLs of the operator's background map."""
    settings = services.settings.api
    style = None if settings.basemap_style is None else "web/basemap/operator/style.json"
    tiles = None if settings.basemap_tiles is None else "web/basemap/operator/tiles.pmtiles"
    basemap = OperatorBasemap(
        style=settings.basemap_style if settings.has_style_url else style, tiles=tiles
    )
    return JSONResponse(basemap.model_dump(), headers=security_headers(settings))


@router.get("/style.json")
async def get_operator_style(request: Request, services: AppServices) -> Response:
    """Return the style file of the operator."""
    settings = services.settings.api
    style = None if settings.has_style_url else settings.basemap_style
    return _send_operator_file(
        request, None if style is None else Path(style), "application/json", settings
    )


@router.get("/tiles.pmtiles")
async def get_operator_tiles(request: Request, services: AppServices) -> Response:
    """Return the PMTiles archive of the operator, or a range of it."""
    settings = services.settings.api
    return _send_operator_file(request, settings.basemap_tiles, "application/vnd.pmtiles", settings)


def _send_operator_file(
    request: Request, file: Path | None, media_type: str, settings: ApiSettings
) -> Response:
    if file is None:
        raise NotFoundError("the operator has set no background map")
    try:
        return send_file(request, file.expanduser(), media_type, security_headers(settings))
    except OSError:
        # The path is the operator's; a visitor does not learn it.
        raise NotFoundError(
            "a file of the background map does not exist or cannot be read; see "
            "PINPOINT_API_BASEMAP_TILES and PINPOINT_API_BASEMAP_STYLE"
        ) from None
