"""Distances: great circles for ranking and regions, WGS84 geodesics for reported figures.

The sphere differs from the ellipsoid by up to 0.56 %: good enough for ranking and regions, not for
reported figures. Letters: N and M positions.
"""

from __future__ import annotations

import numpy as np
from geographiclib.geodesic import Geodesic
from numpy.typing import NDArray

from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, bearing_deg, destination, unit_xyz
from pinpoint.records import Point


def _arc_from_chords(
    near: NDArray[np.float64], far: NDArray[np.float64], radius_m: float
) -> NDArray[np.float64]:
    """Arc from squared chords to a point (`near`) and to its antipode (`far`).

    The textbook haversine loses half of its digits near antipodes; this form (Kahan) does not.
    """
    return 2.0 * radius_m * np.arctan2(np.sqrt(near), np.sqrt(far))


def haversine_m(
    a: LatLonArray, b: LatLonArray, radius_m: float = EARTH_RADIUS_M
) -> NDArray[np.float64]:
    """Great-circle distance, element by element.

    Args:
        a: `[..., 2]` degrees.
        b: `[..., 2]` degrees, broadcast against `a`: `[N, 2]` and `[2]` give `[N]`.
        radius_m: Radius of the sphere.

    Returns:
        `[...]` meters in [0, π R]; exactly symmetric.
    """
    left, right = unit_xyz(np.asarray(a)), unit_xyz(np.asarray(b))
    near = np.square(left - right).sum(axis=-1)
    far = np.square(left + right).sum(axis=-1)
    return np.asarray(_arc_from_chords(near, far, radius_m))


def pairwise_m(
    a: LatLonArray, b: LatLonArray | None = None, radius_m: float = EARTH_RADIUS_M
) -> NDArray[np.float64]:
    """Great-circle distances between all pairs.

    Args:
        a: `[N, 2]` degrees.
        b: `[M, 2]` degrees; without it, `a` itself.
        radius_m: Radius of the sphere.

    Returns:
        `[N, M]` meters.
    """
    left = unit_xyz(np.asarray(a))
    right = left if b is None else unit_xyz(np.asarray(b))
    return _arc_from_chords(squared_chords(left, right), squared_chords(left, -right), radius_m)


def squared_chords(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared chords between all pairs of unit vectors `[N, 3]` and `[M, 3]`: `[N, M]` in [0, 4].

    Equals `2 (1 - cos)`, without cancellation for positions that are close together.
    """
    total = np.zeros((len(a), len(b)))
    # Axis by axis, so no [N, M, 3] array is allocated.
    for left, right in zip(a.T, b.T, strict=True):
        total += np.square(np.subtract.outer(left, right))
    return total


def great_circle(a: LatLonArray, b: LatLonArray, step_m: float = 100_000.0) -> LatLonArray:
    """Positions along a great circle, for drawing.

    Args:
        a: `[2]` degrees, start.
        b: `[2]` degrees, end; between antipodes one of many paths is chosen.
        step_m: Longest step.

    Returns:
        `[N, 2]` degrees, both ends included. Longitudes start as in `a` and continue past ±180
        if the path crosses that meridian, so they jump only at a pole.
    """
    start, end = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    length_m = float(haversine_m(start, end))
    away_m = np.linspace(0.0, length_m, 2 + int(length_m // step_m))
    way = destination(start, float(bearing_deg(start, end)), away_m)
    way[:, 1] = start[1] + np.unwrap(way[:, 1] - way[0, 1], period=360.0)
    return way


def geodesic_m(a: Point, b: Point) -> float:
    """Shortest path between two points on the WGS84 ellipsoid, meters.

    Source: Karney 2013, `geographiclib`; accurate to nanometers, antipodes included. About 50 µs.
    """
    line = Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon, Geodesic.DISTANCE)
    return float(line["s12"])


def geodesics_m(a: LatLonArray, b: LatLonArray) -> NDArray[np.float64]:
    """WGS84 geodesics, element by element: `geodesic_m` in a loop, about 50 µs each.

    Args:
        a: `[..., 2]` degrees.
        b: `[..., 2]` degrees, broadcast against `a`.

    Returns:
        `[...]` meters; NaN where a coordinate is NaN.
    """
    left, right = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    pairs = zip(left.reshape(-1, 2).tolist(), right.reshape(-1, 2).tolist(), strict=True)
    inverse = Geodesic.WGS84.Inverse
    lengths = [inverse(*here, *there, Geodesic.DISTANCE)["s12"] for here, there in pairs]
    return np.array(lengths, dtype=np.float64).reshape(left.shape[:-1])


def geodesic_bearing_deg(a: Point, b: Point) -> float:
    """Azimuth at `a` of the geodesic to `b`, in [0, 360) degrees; 0 for equal points."""
    line = Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon, Geodesic.AZIMUTH)
    if (a.lat, a.lon) == (b.lat, b.lon):
        return 0.0
    return float(line["azi1"]) % 360.0
