"""Reads vector tiles with GDAL, and computes the tiles of positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyogrio
import shapely

EXTENT, BUFFER = 4096, 64


@dataclass(frozen=True)
class TileFeature:
    """One feature, in the coordinates of its tile."""

    geometry: Any
    attributes: dict[str, Any]


def read_tile(encoded: bytes) -> dict[str, list[TileFeature]]:
    """Features by layer; attributes without a value are left out."""
    if not encoded:
        return {}
    layers = {}
    for name, _geometry_type in pyogrio.list_layers(encoded).tolist():
        # Without CLIP=NO the driver cuts the buffer off.
        meta, _, geometries, columns = pyogrio.raw.read(encoded, layer=name, CLIP="NO")
        names = meta["fields"].tolist()
        layers[name] = [
            TileFeature(
                # The driver counts rows from the south.
                geometry=shapely.transform(
                    shapely.from_wkb(geometry), lambda xy: xy * (1, -1) + (0, EXTENT)
                ),
                attributes={
                    key: value
                    for key, value in zip(names, values, strict=True)
                    if value is not None and not (isinstance(value, float) and math.isnan(value))
                },
            )
            for geometry, *values in zip(geometries, *columns, strict=True)
        ]
    return layers


def to_tile(lat: float, lon: float, zoom: int) -> tuple[float, float]:
    """Column and row of a position, as fractions; row 0 is the north edge of the map."""
    lat = max(-89.999999, min(89.999999, lat))
    side = 2**zoom
    row = 0.5 - math.asinh(math.tan(math.radians(lat))) / (2.0 * math.pi)
    return (lon + 180.0) / 360.0 * side, row * side


def tile_of(lat: float, lon: float, zoom: int) -> tuple[int, int] | None:
    """Column and row of the tile with a position; None beyond the edges of the map."""
    column, row = to_tile(lat, lon, zoom)
    if not 0.0 <= row < 2**zoom:
        return None
    return math.floor(column) % 2**zoom, math.floor(row)


def places_in_tile(
    positions: np.ndarray, tile: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where positions are in the coordinates of a tile, by way of the antimeridian if nearer.

    Args:
        positions: `[N, 2]` latitude and longitude, degrees.
        tile: Zoom, column and row.

    Returns:
        Places `[N, 2]`, and their distances `[N]` from the edge of the buffer, negative inside it.
    """
    zoom, x, y = tile
    side = 2**zoom
    lat = np.radians(np.clip(positions[:, 0], -89.999999, 89.999999))
    rows = (0.5 - np.arcsinh(np.tan(lat)) / (2.0 * np.pi)) * side - y
    columns = (positions[:, 1] + 180.0) / 360.0 * side - x
    columns -= np.round((columns - 0.5) / side) * side
    places = np.column_stack([columns, rows]) * EXTENT
    outside = np.maximum(-BUFFER - places, places - EXTENT - BUFFER).max(axis=1)
    return places, outside


def buffer_box(margin: float = 0.0) -> Any:
    """The tile with its buffer, larger by a margin."""
    edge = BUFFER + margin
    return shapely.box(-edge, -edge, EXTENT + edge, EXTENT + edge)


def project_outline(outline: np.ndarray, tile: tuple[int, int, int], turn: int) -> Any:
    """A ring `[N, 2]` of latitudes and longitudes in a tile, turned by whole circles."""
    zoom, x, y = tile
    corners = [to_tile(lat, lon + 360.0 * turn, zoom) for lat, lon in outline.tolist()]
    return shapely.Polygon([((column - x) * EXTENT, (row - y) * EXTENT) for column, row in corners])
