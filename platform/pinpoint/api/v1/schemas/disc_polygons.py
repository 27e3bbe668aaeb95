"""Discs on the sphere as GeoJSON polygons (RFC 7946), also across the antimeridian and the poles.

A disc is traced with continuous longitudes, which may leave ±180°, and is then cut at the
antimeridian (3.1.9). Letters: V vertices.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from pinpoint.api.v1.schemas.posterior import list_polygon_coordinates
from pinpoint.arrays import Floats
from pinpoint.geo.points import EARTH_RADIUS_M, destination, normalize_lon
from pinpoint.records import Point

_NUM_VERTICES: Final = 72
"""The polygon has 99.9 % of the disc's area."""
_MIN_RADIUS_M: Final = 1.0
_GRID_DEG: Final = 1e-7
_MAX_RADIUS_M: Final = np.pi * EARTH_RADIUS_M
"""Distance from a position to its antipode."""


def outline_disc(center: Point, radius_m: float) -> list[list[list[tuple[float, float]]]]:
    """Return the coordinates of a MultiPolygon: `(lon, lat)` in degrees, exteriors first.

    Args:
        center: Center of the disc.
        radius_m: Great-circle radius; less than one meter is drawn as one meter.
    """
    disc = _trace_disc(np.array([center.lat, center.lon]), max(radius_m, _MIN_RADIUS_M))
    windows = [
        shapely.transform(
            disc.intersection(shapely.box(-180.0 + turn, -90.0, 180.0 + turn, 90.0)),
            lambda positions, turn=turn: positions - (turn, 0.0),
        )
        for turn in (-360.0, 0.0, 360.0)
    ]
    # Parts of different turns may share a meridian; the grid removes differences of rounding.
    united = shapely.union_all(shapely.set_precision(windows, _GRID_DEG))
    return list_polygon_coordinates(
        [part for part in shapely.get_parts(united).tolist() if isinstance(part, Polygon)]
    )


def _trace_disc(center: Floats, radius_m: float) -> BaseGeometry:
    """Trace a disc in a plane of continuous longitude and latitude, around its center."""
    to_north_m, to_south_m = np.radians([90.0 - center[0], 90.0 + center[0]]) * EARTH_RADIUS_M
    # A circle through a pole has no longitude there, so it is drawn slightly larger.
    if min(abs(radius_m - to_north_m), abs(radius_m - to_south_m)) < _MIN_RADIUS_M:
        radius_m += 2 * _MIN_RADIUS_M
    with_north, with_south = radius_m > to_north_m, radius_m > to_south_m
    if with_north and with_south:
        return _trace_rest(center, radius_m)
    ring = _trace_circle(center, radius_m)
    if with_north or with_south:
        pole = 90.0 if with_north else -90.0
        ring = np.concatenate([ring, [(ring[-1, 0], pole), (ring[0, 0], pole)]])
    return Polygon(ring)


def _trace_rest(center: Floats, radius_m: float) -> BaseGeometry:
    """Trace a disc with both poles: the Earth without a disc around the antipode."""
    antipode = np.array([-center[0], normalize_lon(float(center[1]) + 180.0)])
    earth = shapely.box(antipode[1] - 180.0, -90.0, antipode[1] + 180.0, 90.0)
    rest_m = _MAX_RADIUS_M - radius_m
    if rest_m < _MIN_RADIUS_M:
        return earth
    return earth.difference(Polygon(_trace_circle(antipode, rest_m)))


def _trace_circle(center: Floats, radius_m: float) -> Floats:
    """Return a closed circle, `[V + 1, 2]` longitude and latitude; longitudes are continuous."""
    bearings = np.linspace(0.0, 360.0, _NUM_VERTICES + 1)
    ring = destination(center, bearings, radius_m)
    lon = np.unwrap(ring[:, 1], period=360.0)
    # The whole circle moves by full turns to its center.
    lon += 360.0 * np.round((center[1] - lon.mean()) / 360.0)
    # The end is the beginning, exactly: after no turn, or after a full one around a pole.
    lon[-1] = lon[0] + 360.0 * np.round((lon[-1] - lon[0]) / 360.0)
    ring[-1, 0] = ring[0, 0]
    return np.column_stack([lon, ring[:, 0]])
