"""H3 cells as whole numbers that PostgreSQL can hold."""

from __future__ import annotations

import itertools
import math
import random

import h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.geo.cells import (
    RESOLUTIONS,
    cell_diameter_deg,
    cell_ids,
    cell_polygons,
    cells_of,
    parse_cell,
)
from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import COVERAGE_RESOLUTIONS, Point

places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(st.lists(places, max_size=8))
def test_cell_ids_any_positions_equal_h3(positions):
    ids = cell_ids(np.array(positions).reshape(-1, 2))
    assert ids.dtype == np.int64
    assert ids.shape == (len(positions), 3)
    assert (ids > 0).all()
    slow = [[h3.str_to_int(h3.latlng_to_cell(*p, r)) for r in RESOLUTIONS] for p in positions]
    assert ids.tolist() == slow
    for position, row in zip(positions, slow, strict=True):
        cells = cells_of(Point(*position))
        assert [cells.r5, cells.r7, cells.r9] == row
        assert all(type(cell) is int for cell in (cells.r5, cells.r7, cells.r9))


def test_cell_ids_both_antimeridian_longitudes_are_equal():
    ids = cell_ids(np.array([[12.0, 180.0], [12.0, -180.0]]))
    assert ids[0].tolist() == ids[1].tolist()


def test_cell_ids_at_poles_ignore_longitude():
    ids = cell_ids(np.array([[90.0, 0.0], [90.0, 120.0], [-90.0, -45.0]]), resolutions=(7,))
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("bad", [(np.nan, 0), (0, np.inf), (90.1, 0), (0, -180.1)])
def test_cell_ids_invalid_position_is_rejected_with_its_index(bad):
    with pytest.raises(ValueError, match="position 1 "):
        cell_ids(np.array([(0.0, 0.0), bad, bad]))


def test_cells_of_point_is_within_an_edge_of_the_cell_center():
    point = Point(48.8584, 2.2945)
    cells = cells_of(point)
    for cell, edge_m in [(cells.r5, 9_900), (cells.r7, 1_410), (cells.r9, 201)]:
        assert geodesic_m(Point(*h3.cell_to_latlng(h3.int_to_str(cell))), point) < 1.2 * edge_m


def ring_area(ring):
    """Area of a ring in square degrees; positive if it is counterclockwise."""
    pairs = itertools.pairwise([(point.lon, point.lat) for point in ring])
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs) / 2


@given(places, st.sampled_from((3, 5, 7)))
def test_cell_polygons_are_closed_counterclockwise_and_cut_at_the_antimeridian(place, resolution):
    cell = h3.latlng_to_cell(*place, resolution)
    polygons = cell_polygons(cell)
    assert 1 <= len(polygons) <= 2
    for polygon in polygons:
        ring = polygon.exterior
        assert ring[0] == ring[-1]
        assert ring_area(ring) > 0
        assert not polygon.holes


def test_cell_polygons_across_the_antimeridian_have_the_area_of_the_cell():
    cell = h3.latlng_to_cell(-17.0, 180.0, 3)
    polygons = cell_polygons(cell)
    assert len(polygons) == 2
    shifted = [(lon % 360, lat) for lat, lon in h3.cell_to_boundary(cell)]
    whole = ring_area([Point(lat, lon - 180) for lon, lat in [*shifted, shifted[0]]])
    assert sum(ring_area(polygon.exterior) for polygon in polygons) == pytest.approx(whole)
    lons = sorted(abs(point.lon) for polygon in polygons for point in polygon.exterior)
    assert lons[-1] == 180.0


@pytest.mark.parametrize("lat", [90.0, -90.0])
def test_cell_polygons_at_a_pole_cover_all_longitudes(lat):
    polygons = cell_polygons(h3.latlng_to_cell(lat, 0.0, 3))
    points = [point for polygon in polygons for point in polygon.exterior]
    assert {-180.0, 180.0} <= {point.lon for point in points}
    assert lat in {point.lat for point in points}
    assert sum(ring_area(polygon.exterior) for polygon in polygons) > 100


@pytest.mark.parametrize("text", ["", "xyz", "0", "8ffffffffffffff", "-1", "f" * 20])
def test_parse_cell_of_other_text_raises_value_error(text):
    with pytest.raises(ValueError, match=r"cell|invalid literal"):
        parse_cell(text)


@pytest.mark.parametrize("resolution", COVERAGE_RESOLUTIONS)
def test_cell_diameter_exceeds_every_cell_with_its_children(resolution):
    rng = random.Random(resolution)
    for _ in range(20):
        place = rng.uniform(-90, 90), rng.uniform(-180, 180)
        cell = h3.latlng_to_cell(*place, resolution)
        corners = [Point(*corner) for corner in h3.cell_to_boundary(cell)]
        for child in rng.sample(h3.cell_to_children(cell, 7), 1):
            corners += [Point(*corner) for corner in h3.cell_to_boundary(child)]
        far_m = max(geodesic_m(a, b) for a in corners for b in corners)
        assert far_m < math.radians(cell_diameter_deg(resolution)) * EARTH_RADIUS_M
