"""`/v1/neighbors`, `/v1/coverage` and `/v1/gaps`: spatial queries about the gallery."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.v1 import cell_formats, cursors, media_types
from pinpoint.api.v1.image_filter_parameters import find_source_ids
from pinpoint.api.v1.schemas.spatial import (
    CellFeatures,
    CellQuery,
    CellsOut,
    CoverageQuery,
    GapQuery,
    NeighborResultsOut,
    NeighborsIn,
)
from pinpoint.bootstrap import Services
from pinpoint.iteration import batched
from pinpoint.records import Caller, CellFilter, Point, PointNeighbor, SourceKind

router = APIRouter(prefix="/v1", tags=["spatial queries"])

_LIST: Final = "cells"
_CELL: Final = re.compile(r"8[0-9a-f]{14}", re.ASCII)
_RESULTS_PER_CHUNK: Final = 200
_PROBLEMS: Final = problems.problem_responses(400, 401, 403, 404, 422, 503)
_CELL_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page of cells: JSON, or by the header `Accept` GeoJSON with their "
        "boundaries.",
        "content": {media_types.GEOJSON: {"schema": media_types.refer_to_schema(CellFeatures)}},
    },
    **_PROBLEMS,
}
Accept = Annotated[str, Header(include_in_schema=False)]


@router.post(
    "/neighbors",
    operation_id="find_neighbors",
    summary="Images near points",
    response_model=NeighborResultsOut,
    responses=_PROBLEMS,
)
def find_neighbors(caller: ReadCaller, services: AppServices, body: NeighborsIn) -> Response:
    """Find the nearest indexed images of up to 10,000 points, for each source kind."""
    points = [Point(point.lat, point.lon) for point in body.points]
    with services.gallery.read(caller.organization_id) as gallery:
        neighbors = gallery.neighbors(
            points,
            radius_m=body.radius_m,
            per_kind=body.limit_per_kind,
            source_kinds=body.source_kinds,
        )
    return StreamingResponse(_encode_results(points, neighbors), media_type=media_types.JSON)


def _encode_results(
    points: Sequence[Point], neighbors: Sequence[Sequence[PointNeighbor]]
) -> Iterator[bytes]:
    """Encode one result in each line, in chunks of several lines."""
    encode = msgspec.json.Encoder().encode
    start = b'{"results":[\n'
    for pairs in batched(zip(points, neighbors, strict=True), _RESULTS_PER_CHUNK):
        lines = [
            encode({"lat": point.lat, "lon": point.lon, "neighbors": near}) for point, near in pairs
        ]
        yield start + b",\n".join(lines)
        start = b",\n"
    yield b"\n]}\n"


@router.get(
    "/coverage",
    operation_id="list_coverage",
    summary="Images by cell and source kind",
    response_model=CellsOut,
    responses=_CELL_RESPONSES,
)
def list_coverage(
    request: Request,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[CoverageQuery, Query()],
    accept: Accept = "*/*",
) -> Response:
    """List the H3 cells with images, with their number for each source kind."""
    cell_filter = _to_cell_filter(caller, services, query, source_kinds=tuple(query.source_kind))
    return _read_page(request, caller, services, query, cell_filter, accept)


@router.get(
    "/gaps",
    operation_id="list_gaps",
    summary="Cells with images of one source kind only",
    response_model=CellsOut,
    responses=_CELL_RESPONSES,
)
def list_gaps(
    request: Request,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[GapQuery, Query()],
    accept: Accept = "*/*",
) -> Response:
    """List the H3 cells with images of exactly one source kind."""
    cell_filter = _to_cell_filter(
        caller, services, query, only_gaps=True, missing_kind=query.missing_kind
    )
    return _read_page(request, caller, services, query, cell_filter, accept)


def _to_cell_filter(
    caller: Caller,
    services: Services,
    query: CellQuery,
    *,
    source_kinds: tuple[SourceKind, ...] = (),
    only_gaps: bool = False,
    missing_kind: SourceKind | None = None,
) -> CellFilter:
    """Convert query parameters to a filter.

    Raises:
        NotFoundError: A source does not exist.
    """
    source_ids: tuple[UUID, ...] = ()
    if query.source:
        with services.database.read(caller.organization_id) as catalog:
            source_ids = find_source_ids(query.source, catalog)
    return CellFilter(
        resolution=query.resolution,
        box=query.bbox,
        polygons=query.polygon or (),
        source_ids=source_ids,
        source_kinds=source_kinds,
        only_gaps=only_gaps,
        missing_kind=missing_kind,
        min_images=query.min_images,
    )


def _read_page(
    request: Request,
    caller: Caller,
    services: Services,
    query: CellQuery,
    cell_filter: CellFilter,
    accept: str,
) -> Response:
    after_cell = None
    if query.cursor is not None:
        (after_cell,) = cursors.decode_cursor(query.cursor, _LIST, 1)
        if not _CELL.fullmatch(after_cell):
            raise cursors.make_cursor_error()
    with services.gallery.read(caller.organization_id) as gallery:
        try:
            # One extra cell shows whether there is another page.
            page = gallery.coverage_cells(cell_filter, limit=query.limit + 1, after_cell=after_cell)
        except ValueError as error:
            raise cursors.make_cursor_error() from error
    cells = page[: query.limit]
    next_link = None
    if len(page) > query.limit:
        next_link = cursors.build_next_link(request, cursors.encode_cursor(_LIST, cells[-1].cell))
    if (
        media_types.choose_media_type(accept, (media_types.JSON, media_types.GEOJSON))
        == media_types.GEOJSON
    ):
        response = cell_formats.format_geojson(cells, next_link)
    else:
        response = cell_formats.format_json(cells, next_link)
    response.headers["Vary"] = "Accept"
    cursors.add_link_header(response, next_link)
    return response
