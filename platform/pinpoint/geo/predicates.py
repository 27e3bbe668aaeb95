"""Point-in-shape predicates: circle, box, polygons, with the semantics of both index engines.

Circles and boxes include their edges; 180 and -180 are one meridian. Polygons are planar.
Letters: N positions `[N, 2]` degrees.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, lat_lon, normalize_lon
from pinpoint.records import Box, Circle, Polygon, Ring

Mask = NDArray[np.bool_]
_MARGIN_DEG: Final = 1e-7


def inside_circle(positions: LatLonArray, circle: Circle) -> Mask:
    """Within the radius along a great circle, `[N]`."""
    return np.asarray(haversine_m(positions, lat_lon([circle.center])[0]) <= circle.radius_m)


def inside_box(positions: LatLonArray, box: Box) -> Mask:
    """Within the box, its edges included, `[N]`; `west > east` crosses the antimeridian."""
    lat, lon = positions[:, 0], positions[:, 1]
    equal_lon = np.where(np.abs(lon) == 180.0, -lon, lon)
    within = np.logical_and if box.west <= box.east else np.logical_or
    across = [within(value >= box.west, value <= box.east) for value in (lon, equal_lon)]
    return np.asarray((lat >= box.south) & (lat <= box.north) & (across[0] | across[1]))


def inside_polygons(positions: LatLonArray, polygons: Sequence[Polygon]) -> Mask:
    """Inside at least one polygon and outside of its holes, `[N]`."""
    inside = np.zeros(len(positions), dtype=np.bool_)
    for polygon in polygons:
        within = inside_ring(positions, polygon.exterior)
        for hole in polygon.holes:
            within &= ~inside_ring(positions, hole)
        inside |= within
    return inside


def inside_ring(positions: LatLonArray, ring: Ring) -> Mask:
    """Inside the ring, by the parity of its crossings to the east, `[N]`."""
    lat, lon = positions[:, 0], positions[:, 1]
    inside = np.zeros(len(positions), dtype=np.bool_)
    for a, b in itertools.pairwise(ring):
        if a.lat == b.lat:
            continue
        spans = (a.lat > lat) != (b.lat > lat)
        inside ^= spans & (lon < a.lon + (lat - a.lat) / (b.lat - a.lat) * (b.lon - a.lon))
    return inside


def circle_bounds(circle: Circle) -> Box:
    """The smallest box that contains a circle, widened by 1e-7 degrees (1 cm)."""
    center, angle = circle.center, circle.radius_m / EARTH_RADIUS_M
    south = center.lat - math.degrees(angle) - _MARGIN_DEG
    north = center.lat + math.degrees(angle) + _MARGIN_DEG
    if south <= -90 or north >= 90:
        # A pole has all longitudes.
        return Box(south=max(south, -90.0), west=-180.0, north=min(north, 90.0), east=180.0)
    # The meridians that touch the circle.
    half_width = math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(center.lat))))
    margin = math.degrees(half_width) + _MARGIN_DEG
    west, east = normalize_lon(center.lon - margin), normalize_lon(center.lon + margin)
    return Box(south=south, west=west, north=north, east=east)
