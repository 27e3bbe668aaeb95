"""Tiles of the Web Mercator map (OGC tile matrix set `WebMercatorQuad`, EPSG:3857).

The map ends at 85.0511° north and south, so positions nearer to a pole are in no tile. It has two
edges at the meridian 180: a position near it is in the buffers of tiles on both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import NotFoundError
from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import Box

MAX_ZOOM: Final = 22
HALF_WIDTH_M: Final = math.pi * 6_378_137.0
"""Half of the width of the map, in meters of EPSG:3857."""
_MAX_LAT_DEG: Final = 89.9
"""Limit of latitudes in projections, degrees; the pole is infinitely far away."""


@dataclass(frozen=True, slots=True)
class MapTile:
    """One tile; column `x` counts from west, row `y` from north.

    Raises:
        NotFoundError: The map has no such tile.
    """

    zoom: int
    x: int
    y: int

    def __post_init__(self) -> None:
        side = 2**self.zoom if 0 <= self.zoom <= MAX_ZOOM else 0
        if not (0 <= self.x < side and 0 <= self.y < side):
            raise NotFoundError(
                f"there is no tile {self.zoom}/{self.x}/{self.y}: zoom is from 0 to {MAX_ZOOM}, "
                "column and row from 0 to 2^zoom - 1"
            )

    @property
    def center_lon(self) -> float:
        """Longitude of the center, degrees."""
        return (self.x + 0.5) / float(2**self.zoom) * 360.0 - 180.0

    @property
    def side_m(self) -> float:
        """Width and height, in meters of EPSG:3857."""
        return 2.0 * HALF_WIDTH_M / float(2**self.zoom)

    def box(self, margin: float, margin_m: float = 0.0) -> Box:
        """The area of the tile with a margin.

        Args:
            margin: Share of the tile's side, on all sides.
            margin_m: Additional margin on the ground, meters.
        """
        side = 2**self.zoom
        north = _row_lat((self.y - margin) / side)
        south = _row_lat((self.y + 1 + margin) / side)
        west = (self.x - margin) / side * 360.0 - 180.0
        east = (self.x + 1 + margin) / side * 360.0 - 180.0
        margin_deg = math.degrees(margin_m / EARTH_RADIUS_M)
        north, south = min(north + margin_deg, 90.0), max(south - margin_deg, -90.0)
        shrink = math.cos(math.radians(max(abs(north), abs(south))))
        margin_deg = min(margin_deg / max(shrink, 1e-9), 180.0)
        west, east = west - margin_deg, east + margin_deg
        if east - west >= 360.0:
            return Box(south=south, west=-180.0, north=north, east=180.0)
        return Box(
            south=south,
            west=west + 360.0 if west < -180.0 else west,
            north=north,
            east=east - 360.0 if east > 180.0 else east,
        )


def _row_lat(row: float) -> float:
    """Latitude at a share of the map's height, from its north edge, degrees."""
    return math.degrees(math.atan(math.sinh(math.pi * (1.0 - 2.0 * row))))


def to_web_mercator(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates of EPSG:3857.

    Args:
        positions: `[N, 2]` latitude and longitude, degrees; longitudes may be outside ±180.

    Returns:
        `[N, 2]` x and y, meters. Latitudes are limited to ±89.9°.
    """
    lat = np.radians(np.clip(positions[:, 0], -_MAX_LAT_DEG, _MAX_LAT_DEG))
    x = positions[:, 1] / 180.0 * HALF_WIDTH_M
    y = np.arcsinh(np.tan(lat)) / math.pi * HALF_WIDTH_M
    return np.column_stack([x, y])
