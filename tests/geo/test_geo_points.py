"""Positions: order of coordinates, wrapping, bearings and destinations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint.geo import points
from pinpoint.geo.distance import haversine_m
from pinpoint.records import Point

lats = st.floats(-90, 90)
lons = st.floats(-180, 180)
places = st.tuples(lats, lons)


def test_lat_lon_keeps_order_and_shape():
    assert points.lat_lon([]).shape == (0, 2)
    assert points.lat_lon([Point(1, 2), Point(3, 4)]).tolist() == [[1, 2], [3, 4]]


@given(st.floats(-1e5, 1e5))
def test_normalize_lon_any_value_is_in_range_on_same_meridian(lon):
    wrapped = points.normalize_lon(lon)
    assert -180 <= wrapped < 180
    assert math.isclose(math.cos(math.radians(wrapped - lon)), 1, abs_tol=1e-12)


def test_normalize_lon_antimeridian_is_minus_180():
    below = math.nextafter(-180, -math.inf)
    wrapped = points.normalize_lon(np.array([180.0, -180.0, 540.0, 181.0, -181.0, below, 0.0]))
    assert wrapped.tolist() == [-180, -180, -180, -179, 179, -180, 0]


@given(places)
def test_unit_xyz_round_trips(place):
    xyz = points.unit_xyz(np.array(place))
    assert math.isclose(float(np.linalg.norm(xyz)), 1, abs_tol=1e-12)
    assert haversine_m(points.from_xyz(xyz * 7.5), np.array(place)) < 1e-3


def test_unit_xyz_axes_have_documented_directions():
    xyz = points.unit_xyz(np.array([[0.0, 0], [0, 90], [90, 0], [-90, 55]]))
    assert np.allclose(xyz, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]])


@pytest.mark.parametrize(
    ("start", "end", "bearing"),
    [
        ((0, 0), (1, 0), 0),
        ((0, 0), (0, 1), 90),
        ((0, 0), (-1, 0), 180),
        ((0, 0), (0, -1), 270),
        ((0, 179.9), (0, -179.9), 90),
        ((0, -179.9), (0, 179.9), 270),
        ((10, 20), (10, 20), 0),
        ((90, 0), (0, 50), 130),
    ],
)
def test_bearing_equals_known_value(start, end, bearing):
    computed_deg = points.bearing_deg(np.array(start, float), np.array(end, float))
    assert computed_deg == pytest.approx(bearing, abs=1e-9)


@given(places, places)
def test_bearing_equals_spherical_geodesic(start, end):
    line = Geodesic(points.EARTH_RADIUS_M, 0).Inverse(*start, *end)
    # The bearing is ill-conditioned at the target, at its antipode, and at the poles.
    if not 1e-3 < line["a12"] < 179.99 or abs(start[0]) > 89.99:
        return
    computed_deg = float(points.bearing_deg(np.array(start), np.array(end)))
    assert 0 <= computed_deg < 360
    assert abs((computed_deg - line["azi1"] + 180) % 360 - 180) < 1e-6


@settings(max_examples=200)
@given(places, st.floats(0, 360), st.floats(0, 1.9e7))
def test_destination_has_requested_distance_and_bearing(start, bearing, distance):
    end = points.destination(np.array(start), bearing, distance)
    assert haversine_m(np.array(start), end) == pytest.approx(distance, abs=1e-3)
    if abs(start[0]) < 89.9 and distance > 1.0:
        back = float(points.bearing_deg(np.array(start), end))
        assert abs((back - bearing + 180) % 360 - 180) < 1e-3


def test_destination_crosses_antimeridian_and_pole():
    assert points.destination(np.array([0.0, 179.9]), 90, 22_239)[1] == pytest.approx(
        -179.9, abs=1e-3
    )
    over = points.destination(np.array([89.9, 10.0]), 0, 22_239)
    assert over == pytest.approx([89.9, -170], abs=1e-2)
    many = points.destination(np.zeros((3, 2)), np.array([0.0, 90, 180]), 1_000.0)
    assert many.shape == (3, 2)
