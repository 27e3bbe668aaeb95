"""Fast mixture mathematics against the naive implementations.

The mixtures are those of a query with 48 candidates in cities all over the Earth, with parameters
like those of a calibration.
"""

from __future__ import annotations

import numpy as np
import pytest

from geo import naive_mixtures
from pinpoint.geo import hdr, kernels
from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.gazetteer import nearest_cities, nearest_places, positions
from pinpoint.geo.kernels import ANYWHERE_KM, Mixture
from pinpoint.geo.points import destination
from pinpoint.records import Point

KERNELS_KM, BACKGROUND_KERNELS_KM = (0.1, 1.0, 8.0, 60.0), (500.0, 2_500.0, ANYWHERE_KM)


def posterior(seed, candidates=48):
    """The mixture of a query, and the position of its heaviest candidate."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 14)))
    cities = np.stack([lat, rng.uniform(-180, 180, 14)], axis=1)
    cities[0] = (-17.0, 179.99)
    city = rng.choice(14, candidates, p=rng.dirichlet(np.ones(14)))
    places = destination(
        cities[city], rng.uniform(0, 360, candidates), rng.rayleigh(3e3, candidates)
    )
    mass = rng.dirichlet(np.full(candidates, 0.3))
    near = 0.7 * np.outer(mass, (0.15, 0.2, 0.35, 0.3)).ravel()
    wide = np.tile(0.3 * np.array([0.35, 0.4, 0.25]) / candidates, candidates)
    return Mixture(
        np.concatenate([np.repeat(places, 4, axis=0), np.repeat(places, 3, axis=0)]),
        np.array([*KERNELS_KM * candidates, *BACKGROUND_KERNELS_KM * candidates]),
        np.concatenate([near, wide]),
    ), places[np.argmax(mass)]


@pytest.mark.parametrize("seed", range(2))
def test_log_density_and_hdr_boxes_equal_naive_sums(seed):
    mixed, _ = posterior(seed)
    ground, weights = kernels.quadrature_nodes(mixed, 1_024)
    dense = kernels.log_density(mixed, ground)
    assert dense == pytest.approx(naive_mixtures.log_density(mixed, ground), abs=1e-6)
    for share in (0.5, 0.9):
        level = kernels.hdr_log_density(dense, weights, share)
        assert np.array_equal(hdr.hdr_boxes(mixed, level), naive_mixtures.boxes_above(mixed, level))


@pytest.mark.parametrize("seed", range(2))
def test_masses_within_and_radius_for_mass_equal_loop_over_kernels(seed):
    mixed, at = posterior(seed, candidates=16)
    radii_km = np.array([0.05, 1.0, 25.0, 200.0, 2_500.0, 19_000.0])
    slow = [naive_mixtures.mass_within(mixed, at, radius_km) for radius_km in radii_km]
    assert kernels.masses_within(mixed, at[None], radii_km) == pytest.approx(slow, abs=1e-6)
    shares = np.array([0.5, 0.91])
    slow = [naive_mixtures.radius_for_mass_km(mixed, at, share) for share in shares]
    assert kernels.radius_for_mass_km(mixed, at, shares) == pytest.approx(slow, rel=2e-4)


def test_nearest_cities_equal_linear_search():
    rng = np.random.default_rng(1)
    near_cities = positions()[rng.integers(0, len(positions()), 20)] + rng.normal(0, 0.05, (20, 2))
    sea = np.array([(-50.0, -120.0), (89.0, 0.0), (0.0, 180.0), (0.0, -180.0)])
    points = np.concatenate([near_cities, sea])
    expected = [naive_mixtures.nearest(point) for point in points]
    assert nearest_cities(points) == expected
    named = nearest_places([Point(*point) for point in points.tolist()])
    assert [(place.name, place.country) for place in named] == [
        (c.name, c.country) for c in expected
    ]
    for place, city, point in zip(named, expected, points.tolist(), strict=True):
        away_m = geodesic_m(city.point, Point(*point))
        assert place.distance_m == pytest.approx(away_m, rel=0.006, abs=1)
    assert nearest_places([]) == []
