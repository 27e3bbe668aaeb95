"""Positions: unit-sphere coordinates, bearings, destinations.

Letters: N positions. Arrays of positions are `[..., 2]` float64, latitude then longitude, degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from pinpoint.records import Point

EARTH_RADIUS_M: Final = 6_371_008.8
"""Mean radius R1 of the WGS84 ellipsoid (IUGG), meters."""

LatLonArray = NDArray[np.float64]
"""Positions `[..., 2]`: latitude, longitude, degrees."""


def lat_lon(points: Sequence[Point]) -> LatLonArray:
    """Positions of records as an array.

    Returns:
        `[N, 2]` degrees; `[0, 2]` for no points.
    """
    return np.array([(p.lat, p.lon) for p in points], dtype=np.float64).reshape(-1, 2)


@overload
def normalize_lon(lon_deg: float) -> float: ...
@overload
def normalize_lon(lon_deg: NDArray[np.float64]) -> NDArray[np.float64]: ...
def normalize_lon(lon_deg: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Longitude wrapped into [-180, 180); 180 becomes -180, so each meridian has one value."""
    wrapped = np.mod(np.asarray(lon_deg, dtype=np.float64) + 180.0, 360.0) - 180.0
    # A longitude just below -180 rounds to exactly 180 in the modulo.
    wrapped = np.where(wrapped >= 180.0, -180.0, wrapped)
    return float(wrapped) if wrapped.ndim == 0 else wrapped


def unit_xyz(positions: LatLonArray) -> NDArray[np.float64]:
    """Positions on the unit sphere.

    Args:
        positions: `[..., 2]` degrees.

    Returns:
        `[..., 3]`: x towards 0° N 0° E, y towards 0° N 90° E, z towards the north pole.
    """
    radians = np.radians(positions)
    lat, lon = radians[..., 0], radians[..., 1]
    across = np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), np.sin(lat)], axis=-1)


def from_xyz(xyz: NDArray[np.float64]) -> LatLonArray:
    """Directions as positions; vectors need not have unit length.

    Args:
        xyz: `[..., 3]`, not zero.

    Returns:
        `[..., 2]` degrees, longitude in [-180, 180).
    """
    lat = np.degrees(np.arctan2(xyz[..., 2], np.hypot(xyz[..., 0], xyz[..., 1])))
    lon = normalize_lon(np.asarray(np.degrees(np.arctan2(xyz[..., 1], xyz[..., 0]))))
    return np.stack([lat, lon], axis=-1)


def bearing_deg(origin: LatLonArray, target: LatLonArray) -> NDArray[np.float64]:
    """Initial bearing of the great circle from the origin to the target.

    Args:
        origin: `[..., 2]` degrees.
        target: `[..., 2]` degrees, broadcast against `origin`.

    Returns:
        `[...]` degrees clockwise from north in [0, 360); 0 if both positions are equal.
    """
    start, end = np.radians(origin), np.radians(target)
    turn = end[..., 1] - start[..., 1]
    east = np.sin(turn) * np.cos(end[..., 0])
    north = np.cos(start[..., 0]) * np.sin(end[..., 0]) - (
        np.sin(start[..., 0]) * np.cos(end[..., 0]) * np.cos(turn)
    )
    # A signed zero would make due north 180 or 360; adding 0.0 removes the sign.
    angle = np.mod(np.degrees(np.arctan2(east + 0.0, north + 0.0)), 360.0)
    same = np.all(np.asarray(origin) == np.asarray(target), axis=-1)
    return np.where(same | (angle >= 360.0), 0.0, angle)


def destination(
    origin: LatLonArray,
    bearing_deg: float | NDArray[np.float64],
    distance_m: float | NDArray[np.float64],
    radius_m: float = EARTH_RADIUS_M,
) -> LatLonArray:
    """Position at a bearing and distance from an origin, along a great circle.

    Args:
        origin: `[..., 2]` degrees.
        bearing_deg: Direction at the origin, clockwise from north; broadcast.
        distance_m: Distance along the ground; broadcast.
        radius_m: Radius of the sphere.

    Returns:
        `[..., 2]` degrees, longitude in [-180, 180).
    """
    start = np.radians(np.asarray(origin, dtype=np.float64))
    lat, lon = start[..., 0], start[..., 1]
    course = np.radians(bearing_deg)
    angle = np.asarray(distance_m, dtype=np.float64) / radius_m
    origin_xyz = unit_xyz(np.asarray(origin, dtype=np.float64))
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=-1)
    # Computed with vectors, not angles, so that the poles need no special case.
    ahead = np.cos(course)[..., None] * north + np.sin(course)[..., None] * east
    return from_xyz(np.cos(angle)[..., None] * origin_xyz + np.sin(angle)[..., None] * ahead)
