"""Mass of mixtures on the sphere: against Monte Carlo, exact cases, and a grid search."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinpoint.geo import hdr, kernels
from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.kernels import ANYWHERE_KM, EARTH_AREA_KM2, Mixture
from pinpoint.geo.points import destination

DRAWS = 40_000
PLACES = {
    "antimeridian": [(10.0, 179.99), (10.3, -179.8)],
    "north pole": [(89.95, 20.0), (89.7, -160.0)],
    "two towns": [(48.85, 2.35), (45.76, 4.84)],
}


def mixture(places, radii_km=(0.1, 3.0, 60.0, 800.0), seed=3):
    """Every kernel at every place, and a tenth anywhere."""
    rng = np.random.default_rng(seed)
    count = len(places) * len(radii_km)
    return Mixture(
        np.concatenate([np.repeat(np.array(places), len(radii_km), axis=0), [[0.0, 0.0]]]),
        np.array([*radii_km * len(places), ANYWHERE_KM]),
        np.append(0.9 * rng.dirichlet(np.ones(count)), 0.1),
    )


def drawn(of: Mixture, count=DRAWS, seed=5):
    """Positions by the textbook's inversion, which the product does not use."""
    rng = np.random.default_rng(seed)
    own = rng.choice(len(of.weights), count, p=of.weights)
    k = (kernels.EARTH_RADIUS_KM / of.radii_km[own]) ** 2
    u = rng.uniform(1e-12, 1, count)
    # For tiny kernels cos θ is 1 to the last bit: there θ² / 2 is as good.
    fall = np.where(k > 1e-3, -np.log(u + (1 - u) * np.exp(-2 * k)) / k, 2 * u)
    angle = 2 * np.arcsin(np.sqrt(np.clip(fall / 2, 0, 1)))
    meters = angle * kernels.EARTH_RADIUS_KM * 1_000
    return destination(of.centers[own], rng.uniform(0, 360, count), meters)


@pytest.mark.parametrize("name", PLACES)
def test_masses_within_equal_monte_carlo(name):
    of = mixture(PLACES[name])
    points = np.array([*PLACES[name], (-30.0, 100.0)])
    found = pairwise_m(points, drawn(of)) / 1_000
    for radius_km in (0.05, 1.0, 25.0, 200.0, 2_500.0, 15_000.0):
        said = kernels.masses_within(of, points, radius_km)
        assert said == pytest.approx((found <= radius_km).mean(axis=1), abs=0.01), radius_km
    assert kernels.masses_within(of, points, math.pi * 6_371.01) == pytest.approx(1.0)


def test_masses_within_off_center_kernel_equals_numerical_integral():
    rng = np.random.default_rng(2)
    for _ in range(12):
        radius_km, disc_km, away_km = 10 ** rng.uniform(-1, 4, 3)
        of = Mixture(np.array([[20.0, 30.0]]), np.array([radius_km]), np.ones(1))
        at = destination(np.array([20.0, 30.0]), 77.0, min(away_km, 20_000.0) * 1_000)
        # A ring of kernel mass at a time, and of each ring the share of many bearings.
        turns, rings = np.meshgrid(np.linspace(0, 360, 181)[:-1], (np.arange(500) + 0.5) / 500)
        out = kernels.disc_km(rings.ravel(), radius_km) * 1_000
        ground = destination(np.array([20.0, 30.0]), turns.ravel(), out)
        slow = (haversine_m(ground, at) <= disc_km * 1_000).mean()
        said = kernels.masses_within(of, at[None], disc_km)[0]
        assert said == pytest.approx(slow, abs=4e-3), (radius_km, disc_km, away_km)


def test_kernels_tiny_and_uniform_are_exact():
    here = np.array([[48.0, 2.0]])
    for radius_km in (0.001, 0.01, 1.0):  # on this scale the ground is flat
        of = Mixture(here, np.array([radius_km]), np.ones(1))
        for times in (0.5, 1.0, 3.0):
            flat = 1 - math.exp(-(times**2) / 2)
            held = kernels.masses_within(of, here, times * radius_km)[0]
            assert held == pytest.approx(flat, abs=1e-6)
        peak = kernels.log_density(of, here)[0]
        assert peak == pytest.approx(-math.log(2 * math.pi * radius_km**2), abs=1e-5)
    even = Mixture(here, np.array([ANYWHERE_KM]), np.ones(1))
    assert math.exp(kernels.log_density(even, -here)[0]) * EARTH_AREA_KM2 == pytest.approx(1)
    half = math.pi * kernels.EARTH_RADIUS_KM / 2
    assert kernels.masses_within(even, here, half)[0] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", PLACES)
def test_hdr_boxes_have_stated_mass_and_highest_density(name, share):
    of = mixture(PLACES[name])
    positions, weights = kernels.quadrature_nodes(of, 2_048)
    dense = kernels.log_density(of, positions)
    boxes = hdr.hdr_boxes(of, kernels.hdr_log_density(dense, weights, share))
    ground = drawn(of)
    inside = hdr.contains_positions(boxes, ground)
    assert inside.mean() == pytest.approx(share, abs=0.015)
    south, west, north, east = boxes.T
    assert np.abs([west, east]).max() <= 180
    assert np.abs([south, north]).max() <= 90
    assert len(boxes) < 4_000
    # No box overlaps another: a place in two of them would count twice in the area.
    size = hdr.area_km2(boxes)
    rng = np.random.default_rng(1)
    even = np.degrees(np.arcsin(rng.uniform(-1, 1, DRAWS)))
    anywhere = np.stack([even, rng.uniform(-180, 180, DRAWS)], axis=1)
    assert hdr.contains_positions(boxes, anywhere).mean() == pytest.approx(
        size / EARTH_AREA_KM2, abs=0.01
    )
    dense = kernels.log_density(of, ground)
    assert np.quantile(dense[inside], 0.02) > np.quantile(dense[~inside], 0.98) - 0.1


def test_hdr_boxes_without_threshold_cover_the_earth():
    of = mixture(PLACES["two towns"])
    everything = hdr.hdr_boxes(of, -np.inf)
    assert hdr.area_km2(everything) == pytest.approx(EARTH_AREA_KM2)


@pytest.mark.parametrize("name", PLACES)
def test_radius_for_mass_and_hdr_level_are_consistent(name):
    of = mixture(PLACES[name])
    at = np.array(PLACES[name][0])
    for share in (0.3, 0.9):
        (radius_km,) = kernels.radius_for_mass_km(of, at, np.array([share]))
        assert kernels.masses_within(of, at[None], radius_km)[0] == pytest.approx(share, abs=1e-4)
    positions, weights = kernels.quadrature_nodes(of, 2_048)
    assert weights.sum() == pytest.approx(1)
    sample = drawn(of, 2_000)
    dense = kernels.log_density(of, positions)
    depths = [
        kernels.hdr_level_of(dense, weights, here)
        for here in kernels.log_density(of, sample).tolist()
    ]
    # The mass of what is denser is even over draws, as any distribution function of itself is.
    assert np.quantile(depths, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.04)


def test_expected_scores_best_point_equals_monte_carlo_grid_search():
    of = mixture([(48.0, 2.0), (48.2, 2.5), (47.6, 2.9)], (3.0, 30.0))
    grid = np.stack(np.meshgrid(np.arange(47, 49, 0.1), np.arange(1, 4, 0.1)), -1).reshape(-1, 2)
    ground = drawn(of, 2_000)
    slow = np.exp(-pairwise_m(grid, ground) / 1_492_700).mean(axis=1)
    positions, weights = kernels.quadrature_nodes(of, 512)
    fast = kernels.expected_scores(positions, weights, grid, 1_492.7)
    assert fast == pytest.approx(slow, abs=0.01)
    assert haversine_m(grid[np.argmax(fast)], grid[np.argmax(slow)]) < 12_000
    near = kernels.masses_within(of, grid, 10.0)
    counted = (pairwise_m(grid, ground) <= 10_000).mean(axis=1)
    assert counted[np.argmax(near)] > counted.max() - 0.01


def test_mixture_invalid_arguments_are_rejected():
    here = np.zeros((2, 2))
    for radii, weights in (([1.0, 0.0], [0.5, 0.5]), ([1.0, 1.0], [0.5, 0.6]), ([1.0], [1.0])):
        with pytest.raises(ValueError, match=r"radi|weights"):
            Mixture(here, np.array(radii), np.array(weights))
    with pytest.raises(ValueError, match="share"):
        kernels.radius_for_mass_km(mixture(PLACES["two towns"]), here[0], np.zeros(1))
