"""Circles, boxes and polygons against loops and shapely, also at antimeridian and poles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from pinpoint.geo import predicates
from pinpoint.records import Box, Circle, Point, Polygon

EDGES = [(lat, lon) for lat in (-90, -10, 0, 40, 90) for lon in (-180, -179.95, 0, 60, 179.95, 180)]


@pytest.fixture(scope="module")
def positions():
    rng = np.random.default_rng(2)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 1_500)))
    return np.vstack([EDGES, np.column_stack([lat, rng.uniform(-180, 180, 1_500)])]).astype(float)


def on_circle(lon, west, east):
    """Whether a meridian is in west..east; 180 and -180 are equal."""
    same = {lon, -lon} if abs(lon) == 180 else {lon}
    if west <= east:
        return any(west <= meridian <= east for meridian in same)
    return any(meridian >= west or meridian <= east for meridian in same)


@pytest.mark.parametrize(
    ("south", "west", "north", "east"),
    [
        (-30, -20, 40, 60),
        (-60, 150, 60, -150),
        (-10, 179.9, 10, -179.9),
        (-5, 90, 5, 180),
        (-5, -180, 5, -90),
        (-5, 180, 5, 180),
        (80, -180, 90, 180),
        (-90, 0, 90, -0.5),
    ],
)
def test_in_box_equals_loop(positions, south, west, north, east):
    inside = predicates.inside_box(positions, Box(south=south, west=west, north=north, east=east))
    expected = [south <= lat <= north and on_circle(lon, west, east) for lat, lon in positions]
    assert inside.tolist() == expected
    assert any(expected)


@pytest.mark.parametrize(
    ("lat", "lon", "radius_m"),
    [(45, 7, 3e6), (5, 179.9999, 2e6), (0, -180, 1), (90, 77, 1), (85, 20, 2.5e6), (0, 0, 2e7)],
)
def test_in_circle_equals_loop(positions, lat, lon, radius_m):
    def away_m(there):
        a, b = math.radians(lat), math.radians(there[0])
        h = math.sin((b - a) / 2) ** 2
        h += math.cos(a) * math.cos(b) * math.sin(math.radians(there[1] - lon) / 2) ** 2
        return 2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(h)))

    inside = predicates.inside_circle(positions, Circle(center=Point(lat, lon), radius_m=radius_m))
    expected = [away_m(position) <= radius_m for position in positions]
    assert inside.tolist() == expected
    assert any(expected)


@pytest.mark.parametrize(
    "corners",
    [
        [(-40, -60), (50, -70), (60, 80), (-30, 50)],
        [(-40, -60), (50, 10), (60, 80), (10, 15), (-30, 50)],  # not convex
        [(-89, -170), (70, 100), (-89, 170)],
    ],
)
def test_in_polygons_equals_shapely(positions, corners):
    inner = positions[len(EDGES) :]  # positions on the boundary have no defined result
    area = shapely.Polygon([(lon, lat) for lat, lon in corners])
    expected = shapely.contains_xy(area, inner[:, 1], inner[:, 0])
    ring = tuple(Point(*corner) for corner in (*corners, corners[0]))
    for exterior in (ring, ring[::-1]):
        polygon = Polygon(exterior=exterior)
        np.testing.assert_array_equal(predicates.inside_polygons(inner, [polygon]), expected)
    assert 0 < expected.sum() < len(inner)


def test_in_polygons_with_holes_equals_shapely(positions):
    inner = positions[len(EDGES) :]
    outlines = [
        ([(-40, -60), (50, -70), (60, 80), (-30, 50)], [[(0, 0), (20, 0), (20, 20), (0, 20)]]),
        ([(10, 10), (70, 10), (70, 170), (10, 170)], []),  # also covers the hole of the other
        ([(-80, 100), (-20, 100), (-20, 160)], [[(-40, 110), (-30, 110), (-30, 115)]]),
    ]
    expected = np.zeros(len(inner), dtype=bool)
    polygons = []
    for exterior, holes in outlines:
        area = shapely.Polygon(
            [(lon, lat) for lat, lon in exterior],
            [[(lon, lat) for lat, lon in hole] for hole in holes],
        )
        expected |= shapely.contains_xy(area, inner[:, 1], inner[:, 0])
        closed = [
            tuple(Point(*corner) for corner in (*ring, ring[0])) for ring in (exterior, *holes)
        ]
        polygons.append(Polygon(exterior=closed[0], holes=tuple(closed[1:])))
    np.testing.assert_array_equal(predicates.inside_polygons(inner, polygons), expected)
    assert 0 < expected.sum() < len(inner)
    assert not predicates.inside_polygons(inner, []).any()
