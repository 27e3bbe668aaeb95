"""Coarse positions: a disc, a city or a country instead of a position that must not be revealed.

A coarse position is computed from the protected area, never from the position in it. Therefore all
photos of an area have the same one, and their mean reveals nothing more. Outside of protected areas
a minimum radius uses a fixed grid, so a place has the same coarse position each time.

Letters: N vertices of a polygon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.gazetteer import City, cities, nearest_cities
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, from_xyz, lat_lon, unit_xyz
from pinpoint.records import Point, Ring

CITY_RADIUS_M: Final = 25_000.0
"""Radius of a city, and the step of larger ones: the usual threshold of correct cities (Hays and
Efros, 2008; Vo et al., 2017)."""
_EDGE_STEP_DEG: Final = 0.5
"""Longest edge of an outline whose distances are measured at its vertices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarsePosition:
    """A disc that contains a position which is not revealed."""

    point: Point
    radius_m: float
    place: str | None = None
    """Name of the city or country, if it is one."""


def snap_to_grid(point: Point, step_m: float) -> Point:
    """Nearest node of a grid that does not depend on the position; at most `step_m` away.

    Rows are circles of latitude `step_m` apart; each has as many nodes as fit at that distance.

    Args:
        point: Any position.
        step_m: Distance of the nodes, above 0.
    """
    step_deg = min(math.degrees(step_m / EARTH_RADIUS_M), 90.0)
    lat = max(-90.0, min(90.0, round(point.lat / step_deg) * step_deg))
    num_nodes = max(1, int(360.0 * math.cos(math.radians(lat)) / step_deg))
    lon = round(point.lon / (360.0 / num_nodes)) * (360.0 / num_nodes)
    return Point(lat, lon - 360.0 if lon > 180.0 else lon)


def coarsen_point(point: Point, min_radius_m: float, error_m: float = 0.0) -> CoarsePosition:
    """Disc around a grid node that contains a position and its error.

    Args:
        point: The position.
        min_radius_m: Step of the grid; the radius is a multiple of it.
        error_m: Radius of the disc of the exact answer around the position.
    """
    node = snap_to_grid(point, min_radius_m)
    # The bound of the shift, not the shift itself, which depends on the position.
    return CoarsePosition(point=node, radius_m=_round_up(min_radius_m + error_m, min_radius_m))


def coarsen_area(exterior: Ring, min_radius_m: float, error_m: float = 0.0) -> CoarsePosition:
    """Disc around a grid node that contains a whole area; the same one for all positions in it.

    Args:
        exterior: Outline of the part of the area that contains the position.
        min_radius_m: As `coarsen_point`.
        error_m: As `coarsen_point`.
    """
    outline = _densify(exterior)
    node = snap_to_grid(_center(outline), min_radius_m)
    reach_m = _reach_m(node, outline)
    return CoarsePosition(point=node, radius_m=_round_up(reach_m + error_m, min_radius_m))


def coarsen_to_city(exterior: Ring, error_m: float = 0.0) -> CoarsePosition:
    """The city nearest to an area, and a disc around it that contains the area."""
    outline = _densify(exterior)
    city = _nearest_city(outline)
    name = ", ".join(part for part in (city.name, city.region, city.country) if part)
    reach_m = _reach_m(city.point, outline)
    return CoarsePosition(
        point=city.point, radius_m=_round_up(reach_m + error_m, CITY_RADIUS_M), place=name
    )


def coarsen_to_country(exterior: Ring, error_m: float = 0.0) -> CoarsePosition:
    """The country of the city nearest to an area, and a disc that contains all its cities.

    The table of cities has no borders: an area next to one may get the neighboring country.
    """
    outline = _densify(exterior)
    country = _nearest_city(outline).country
    center, radius_m = _country_disc(country)
    reach_m = max(radius_m, _reach_m(center, outline) + error_m)
    return CoarsePosition(point=center, radius_m=_round_up(reach_m, CITY_RADIUS_M), place=country)


@cache
def _country_disc(country: str) -> tuple[Point, float]:
    """Center of the cities of a country (ISO 3166 code), and the distance of the farthest one."""
    positions = lat_lon([city.point for city in cities() if city.country == country])
    center = _center(positions)
    return center, _reach_m(center, positions)


def _nearest_city(outline: LatLonArray) -> City:
    return nearest_cities(lat_lon([_center(outline)]))[0]


def _center(positions: LatLonArray) -> Point:
    """Direction of the mean of the unit vectors."""
    lat, lon = from_xyz(unit_xyz(positions).mean(axis=0)[None])[0].tolist()
    return Point(lat, lon)


def _reach_m(center: Point, positions: LatLonArray) -> float:
    """Distance of the farthest position; 1 % more covers what a sphere differs from WGS84."""
    return 1.01 * float(haversine_m(positions, lat_lon([center])[0]).max())


def _round_up(length_m: float, step_m: float) -> float:
    return step_m * max(1, math.ceil(length_m / step_m))


def _densify(ring: Ring) -> LatLonArray:
    """Vertices `[N, 2]` of an outline with edges of at most `_EDGE_STEP_DEG`, planar in degrees."""
    vertices = lat_lon(ring)
    edges = np.diff(vertices, axis=0)
    num_parts = np.maximum(1, np.ceil(np.abs(edges).max(axis=1) / _EDGE_STEP_DEG)).astype(np.intp)
    start = np.repeat(np.arange(len(edges)), num_parts)
    offset = np.arange(len(start)) - np.repeat(np.cumsum(num_parts) - num_parts, num_parts)
    outline: LatLonArray = vertices[start] + edges[start] * (offset / num_parts[start])[:, None]
    return outline
