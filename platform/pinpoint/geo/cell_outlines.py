"""Outlines of H3 cells on the Web Mercator map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely
from h3.api import basic_int as h3
from numpy.typing import NDArray

from pinpoint.geo.map_tiles import HALF_WIDTH_M, MapTile, to_web_mercator

_CAP_LAT_DEG: Final = 89.9


def outline_cells(cells: Sequence[int], tile: MapTile) -> NDArray[Any]:
    """Polygons of cells in EPSG:3857, on the side of the map where a tile is.

    A cell at the meridian 180 continues beyond the edge of the map. On the tile of zoom 0, which
    has both edges, it is a polygon at each of them.

    Args:
        cells: N ids.
        tile: The tile.

    Returns:
        `[N]` shapely polygons or multipolygons.
    """
    boundaries = [h3.cell_to_boundary(cell) for cell in cells]
    if not boundaries:
        return np.array([], dtype=object)
    positions = np.array([vertex for boundary in boundaries for vertex in boundary])
    sizes = np.array([len(boundary) for boundary in boundaries])
    owners = np.repeat(np.arange(len(cells)), sizes)
    firsts = np.cumsum(sizes) - sizes
    # Longitudes continue from the first vertex, which is at most half a turn from the tile.
    start_lon = _turn_near(positions[firsts, 1], tile.center_lon)[owners]
    positions[:, 1] = _turn_near(positions[:, 1], start_lon)
    outlines = shapely.polygons(shapely.linearrings(to_web_mercator(positions), indices=owners))
    for index in _find_pole_cells(cells):
        outlines[index] = _outline_pole_cell(np.array(boundaries[index]))
    return _repeat_at_edges(outlines) if tile.zoom == 0 else outlines


def _turn_near(
    lon_deg: NDArray[np.float64], center_deg: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Longitudes turned by whole circles into ±180 degrees around others."""
    return (lon_deg - center_deg + 180.0) % 360.0 - 180.0 + center_deg


def _find_pole_cells(cells: Sequence[int]) -> list[int]:
    """Indexes of cells that contain a pole."""
    if not cells:
        return []
    resolution = h3.get_resolution(cells[0])
    poles = {h3.latlng_to_cell(lat, 0.0, resolution) for lat in (90.0, -90.0)}
    return [index for index, cell in enumerate(cells) if cell in poles]


def _outline_pole_cell(boundary: NDArray[np.float64]) -> Any:
    """The part of the map between a boundary `[V, 2]` and the edge next to the pole."""
    vertices = boundary[np.argsort(boundary[:, 1])]
    turn = np.array([0.0, 360.0])
    side = np.concatenate([vertices[-1:] - turn, vertices, vertices[:1] + turn])
    cap_lat = float(np.copysign(_CAP_LAT_DEG, vertices[0, 0]))
    corners = [[cap_lat, side[-1, 1]], [cap_lat, side[0, 1]]]
    return shapely.Polygon(to_web_mercator(np.concatenate([side, np.array(corners)])))


def _repeat_at_edges(outlines: NDArray[Any]) -> NDArray[Any]:
    """Add a copy at the opposite edge of the map to each outline that crosses one edge."""
    bounds = shapely.bounds(outlines)
    is_west, is_east = bounds[:, 0] < -HALF_WIDTH_M, bounds[:, 2] > HALF_WIDTH_M
    for is_beyond, offset_m in (
        (is_west & ~is_east, 2.0 * HALF_WIDTH_M),
        (is_east & ~is_west, -2.0 * HALF_WIDTH_M),
    ):
        offset = np.array([offset_m, 0.0])
        for index in np.flatnonzero(is_beyond):
            corners = shapely.get_coordinates(outlines[index])
            pair = [shapely.Polygon(corners), shapely.Polygon(corners + offset)]
            outlines[index] = shapely.MultiPolygon(pair)
    return outlines
