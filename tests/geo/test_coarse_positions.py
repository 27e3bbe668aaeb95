"""Coarse positions contain what they replace and do not depend on the position in an area."""

from __future__ import annotations

import numpy as np
import pytest

from pinpoint.geo.coarse_positions import (
    CITY_RADIUS_M,
    coarsen_area,
    coarsen_point,
    coarsen_to_city,
    coarsen_to_country,
    snap_to_grid,
)
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point


def ring(*positions):
    points = [Point(lat, lon) for lat, lon in positions]
    return (*points, points[0])


AREAS = {
    "small": ring((48.85, 2.29), (48.85, 2.30), (48.86, 2.30), (48.86, 2.29)),
    "antimeridian": ring((10.0, 179.0), (10.0, 180.0), (11.0, 180.0), (11.0, 179.0)),
    "pole": ring((-90.0, 0.0), (-90.0, 10.0), (-89.0, 10.0), (-89.0, 0.0)),
    "large": ring((60.0, 10.0), (60.0, 40.0), (70.0, 40.0), (70.0, 10.0)),
}


@pytest.mark.parametrize("step_m", [100.0, 1_000.0, 50_000.0, 1_000_000.0])
def test_snap_to_grid_is_at_most_one_step_away_and_stable(step_m):
    rng = np.random.default_rng(7)
    lats = [*np.degrees(np.arcsin(rng.uniform(-1, 1, 400))).tolist(), 90.0, -90.0, 0.0, 89.99]
    lons = [*rng.uniform(-180, 180, 400).tolist(), 0.0, 12.0, -180.0, 180.0]
    for lat, lon in zip(lats, lons, strict=True):
        point = Point(lat, lon)
        node = snap_to_grid(point, step_m)
        assert geodesic_m(point, node) <= 1.01 * step_m
        again = snap_to_grid(node, step_m)
        assert geodesic_m(node, again) < 1e-3 * step_m


@pytest.mark.parametrize("min_radius_m", [100.0, 5_000.0, 300_000.0])
def test_coarsen_point_contains_the_point_and_its_error(min_radius_m):
    rng = np.random.default_rng(8)
    for _ in range(100):
        point = Point(rng.uniform(-89, 89), rng.uniform(-180, 180))
        error_m = float(rng.uniform(0, 2_000))
        coarse = coarsen_point(point, min_radius_m, error_m)
        assert coarse.radius_m >= max(
            min_radius_m, 0.99 * geodesic_m(coarse.point, point) + error_m
        )
        assert coarse.radius_m / min_radius_m == pytest.approx(
            round(coarse.radius_m / min_radius_m)
        )


@pytest.mark.parametrize("name", AREAS)
@pytest.mark.parametrize("min_radius_m", [100.0, 20_000.0])
def test_coarse_positions_of_an_area_contain_all_of_it(name, min_radius_m):
    exterior = AREAS[name]
    lats = np.linspace(min(p.lat for p in exterior), max(p.lat for p in exterior), 12)
    lons = np.linspace(min(p.lon for p in exterior), max(p.lon for p in exterior), 12)
    coarse_positions = [
        coarsen_area(exterior, min_radius_m),
        coarsen_to_city(exterior),
        coarsen_to_country(exterior),
    ]
    for coarse in coarse_positions:
        for lat in lats:
            for lon in lons:
                assert geodesic_m(coarse.point, Point(lat, lon)) <= coarse.radius_m
    assert coarse_positions[0].radius_m >= min_radius_m
    assert coarse_positions[1].radius_m % CITY_RADIUS_M == 0


def test_coarse_places_have_names():
    assert coarsen_to_city(AREAS["small"]).place == "Vanves, Ile-de-France, FR"
    country = coarsen_to_country(AREAS["small"])
    assert country.place == "FR"
    assert 300_000 < country.radius_m < 1_200_000
    assert coarsen_area(AREAS["small"], 1_000).place is None
