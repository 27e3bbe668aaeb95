"""Pages of H3 cells as JSON and GeoJSON, encoded without models: a page has up to 50,000 cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from fastapi.responses import Response

from pinpoint.api.v1.media_types import GEOJSON, JSON
from pinpoint.geo.cells import cell_polygons
from pinpoint.records import SOURCE_KINDS, CoverageCell

_DEGREE_DECIMALS: Final = 7
"""Decimals of coordinates in degrees: about one centimeter."""


def format_json(cells: Sequence[CoverageCell], next_link: str | None) -> Response:
    """Format a page as JSON (`CellsOut`)."""
    body = {
        "cells": [{**_to_fields(cell), "counts": cell.counts} for cell in cells],
        "next": next_link,
    }
    return Response(msgspec.json.encode(body), media_type=JSON)


def format_geojson(cells: Sequence[CoverageCell], next_link: str | None) -> Response:
    """Format a page as a FeatureCollection (`CellFeatures`) of boundaries."""
    links = []
    if next_link is not None:
        links.append({"rel": "next", "type": GEOJSON, "href": next_link})
    body = {
        "type": "FeatureCollection",
        "features": [_to_feature(cell) for cell in cells],
        "links": links,
    }
    return Response(msgspec.json.encode(body), media_type=GEOJSON)


def _to_fields(cell: CoverageCell) -> dict[str, Any]:
    return {
        "cell": cell.cell,
        "resolution": cell.resolution,
        "lat": round(cell.center.lat, _DEGREE_DECIMALS),
        "lon": round(cell.center.lon, _DEGREE_DECIMALS),
        "images": cell.images,
        "first_captured_at": cell.first_captured_at,
        "last_captured_at": cell.last_captured_at,
        "license": cell.license,
        "attribution": cell.attribution,
    }


def _to_feature(cell: CoverageCell) -> dict[str, Any]:
    properties = _to_fields(cell)
    counts = {count.source_kind: count for count in cell.counts}
    for kind in SOURCE_KINDS:
        count = counts.get(kind)
        properties[f"{kind}_images"] = 0 if count is None else count.images
        for name in ("first_captured_at", "last_captured_at"):
            properties[f"{kind}_{name}"] = None if count is None else getattr(count, name)
    return {
        "type": "Feature",
        "id": cell.cell,
        "geometry": boundary_geometry(cell.cell),
        "properties": properties,
    }


def boundary_geometry(cell: str) -> dict[str, Any]:
    """Boundary of a cell as a GeoJSON geometry, cut at the antimeridian."""
    rings = [
        [
            [
                (round(point.lon, _DEGREE_DECIMALS), round(point.lat, _DEGREE_DECIMALS))
                for point in polygon.exterior
            ]
        ]
        for polygon in cell_polygons(cell)
    ]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}
