"""Distances against the textbook formula, geodesics, and at antimeridian and poles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint.geo.distance import (
    geodesic_m,
    geodesics_m,
    great_circle,
    haversine_m,
    pairwise_m,
)
from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.records import Point

places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
HALF_WAY_M = math.pi * EARTH_RADIUS_M


def haversine_by_the_book(a, b):
    """The haversine formula, one pair at a time."""
    (lat1, lon1), (lat2, lon2) = (map(math.radians, p) for p in (a, b))
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def sample(count, seed=7):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)])


def test_haversine_every_shape_equals_loop():
    a, b = sample(40), sample(30, seed=8)
    slow = np.array([[haversine_by_the_book(p, q) for q in b] for p in a])
    assert np.allclose(pairwise_m(a, b), slow, rtol=1e-9, atol=1e-3)
    assert np.allclose(haversine_m(a[:30], b), np.diag(slow[:30]), rtol=1e-9, atol=1e-3)
    assert np.allclose(haversine_m(a, b[0]), slow[:, 0], rtol=1e-9, atol=1e-3)
    assert np.array_equal(pairwise_m(a), pairwise_m(a, a))
    assert pairwise_m(a[:0], b).shape == (0, 30)


@given(places, places)
def test_haversine_is_symmetric_and_bounded(a, b):
    there, back = haversine_m(np.array(a), np.array(b)), haversine_m(np.array(b), np.array(a))
    assert there == back
    assert 0 <= there <= HALF_WAY_M * (1 + 1e-12)
    assert haversine_m(np.array(a), np.array(a)) == 0


@given(places, places, places)
def test_pairwise_m_fulfills_triangle_inequality(a, b, c):
    d = pairwise_m(np.array([a, b, c]))
    assert d[0, 2] <= d[0, 1] + d[1, 2] + 1e-6


@given(places, places, st.floats(-360, 360))
def test_haversine_rotated_longitudes_give_same_distance(a, b, turn):
    turned = haversine_m(np.array([a[0], a[1] + turn]), np.array([b[0], b[1] + turn]))
    assert turned == pytest.approx(float(haversine_m(np.array(a), np.array(b))), abs=1e-3)


@settings(max_examples=200)
@given(places, places)
def test_geodesic_equals_geographiclib_and_sphere_is_within_half_percent(a, b):
    wgs84 = Geodesic.WGS84.Inverse(*a, *b)["s12"]
    assert geodesic_m(Point(*a), Point(*b)) == wgs84
    sphere = float(haversine_m(np.array(a), np.array(b)))
    exact = Geodesic(EARTH_RADIUS_M, 0).Inverse(*a, *b)["s12"]
    assert sphere == pytest.approx(exact, abs=1e-5)
    assert abs(sphere - wgs84) <= 0.0057 * wgs84 + 1e-6


@pytest.mark.parametrize(
    ("a", "b", "meters"),
    [
        ((0, 180), (0, -180), 0),
        ((90, 0), (90, 123), 0),
        ((-90, -180), (-90, 60), 0),
        ((90, 10), (-90, 77), HALF_WAY_M),
        ((0, 0), (0, 180), HALF_WAY_M),
        ((45, 30), (-45, -150), HALF_WAY_M),
        ((0, 179.9995), (0, -179.9995), math.radians(0.001) * EARTH_RADIUS_M),
        ((89.9995, 0), (89.9995, 180), math.radians(0.001) * EARTH_RADIUS_M),
    ],
)
def test_haversine_at_antimeridian_poles_and_antipodes_is_exact(a, b, meters):
    assert haversine_m(np.array(a, float), np.array(b, float)) == pytest.approx(meters, abs=1e-6)
    assert pairwise_m(np.array([a, b], float))[0, 1] == pytest.approx(meters, abs=1e-6)


def test_haversine_near_antipodes_is_exact():
    a, b = (10.0, 20.0), (-10.0, -160.0 + 1e-6)
    exact = HALF_WAY_M - math.radians(1e-6) * math.cos(math.radians(10)) * EARTH_RADIUS_M
    assert float(haversine_m(np.array(a), np.array(b))) == pytest.approx(exact, abs=1e-6)


def test_geodesic_equals_published_values():
    # Half a meridian and a degree of the equator of WGS84 (Karney 2013).
    assert geodesic_m(Point(90, 0), Point(-90, 0)) == pytest.approx(20_003_931.458625, abs=1e-5)
    assert geodesic_m(Point(0, 0), Point(0, 1)) == pytest.approx(111_319.490793, abs=1e-5)
    assert geodesic_m(Point(0, 180), Point(0, -180)) == 0


def test_geodesics_m_equals_single_geodesics():
    a, b = sample(30), sample(30, seed=8)
    slow = [geodesic_m(Point(*p), Point(*q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    assert geodesics_m(a, b).tolist() == slow
    assert geodesics_m(a.reshape(5, 6, 2), b[0]).shape == (5, 6)
    assert geodesics_m(a, b[0])[7] == geodesic_m(Point(*a[7]), Point(*b[0]))
    assert geodesics_m(a[:0], b[0]).shape == (0,)
    a[3] = np.nan
    assert np.flatnonzero(np.isnan(geodesics_m(a, b))).tolist() == [3]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((51.5, -0.1), (-33.9, 151.2)),
        ((-17.8, 178.0), (21.3, -157.9)),
        ((35.7, -179.9), (35.7, 179.9)),
        ((64.1, 170.0), (70.0, -20.0)),
        ((10.0, 20.0), (10.0, 20.0)),
    ],
    ids=["london-sydney", "fiji-hawaii", "antimeridian", "near the pole", "one place"],
)
def test_great_circle_equals_spherical_interpolation(a, b):
    way = great_circle(np.array(a), np.array(b), 50_000)
    start, end = unit_xyz(np.array(a)), unit_xyz(np.array(b))
    angle = haversine_m(np.array(a), np.array(b)) / EARTH_RADIUS_M
    for place, at in enumerate(way):
        t = place / (len(way) - 1)
        turned = (
            (math.sin((1 - t) * angle) * start + math.sin(t * angle) * end) / math.sin(angle)
            if angle
            else start
        )
        assert np.allclose(unit_xyz(at), turned, atol=1e-9)
    assert np.diff(haversine_m(way, way[0])).max() <= 50_000
    assert way[0].tolist() == pytest.approx(a)
    assert math.remainder(way[-1, 1] - b[1], 360) == pytest.approx(0, abs=1e-9)
    assert np.abs(np.diff(way[:, 1])).max() < 60
