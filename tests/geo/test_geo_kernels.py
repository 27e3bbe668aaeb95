"""Mass of mixtures on the sphere against Monte Carlo, exact cases, and a grid search."""

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
    """A mixture of every kernel at every place, and a tenth of the mass uniform on the Earth."""
    rng = np.random.default_rng(seed)
    count = len(places) * len(radii_km)
    return Mixture(
        np.concatenate([np.repeat(np.array(places), len(radii_km), axis=0), [[0.0, 0.0]]]),
        np.array([*radii_km * len(places), ANYWHERE_KM]),
        np.append(0.9 * rng.dirichlet(np.ones(count)), 0.1),
    )


def draw_positions(mixed: Mixture, count=DRAWS, seed=5):
    """Draw positions by inversion of the distribution function, which the product does not use."""
    rng = np.random.default_rng(seed)
    kernel = rng.choice(len(mixed.weights), count, p=mixed.weights)
    k = (kernels.EARTH_RADIUS_KM / mixed.radii_km[kernel]) ** 2
    u = rng.uniform(1e-12, 1, count)
    # For tiny kernels cos θ rounds to 1, so θ² / 2 is used.
    fall = np.where(k > 1e-3, -np.log(u + (1 - u) * np.exp(-2 * k)) / k, 2 * u)
    angle = 2 * np.arcsin(np.sqrt(np.clip(fall / 2, 0, 1)))
    meters = angle * kernels.EARTH_RADIUS_KM * 1_000
    return destination(mixed.centers[kernel], rng.uniform(0, 360, count), meters)


@pytest.mark.parametrize("name", PLACES)
def test_masses_within_equal_monte_carlo(name):
    mixed = mixture(PLACES[name])
    points = np.array([*PLACES[name], (-30.0, 100.0)])
    distances_km = pairwise_m(points, draw_positions(mixed)) / 1_000
    for radius_km in (0.05, 1.0, 25.0, 200.0, 2_500.0, 15_000.0):
        masses = kernels.masses_within(mixed, points, radius_km)
        assert masses == pytest.approx((distances_km <= radius_km).mean(axis=1), abs=0.01), (
            radius_km
        )
    assert kernels.masses_within(mixed, points, math.pi * 6_371.01) == pytest.approx(1.0)


def test_masses_within_off_center_kernel_equals_numerical_integral():
    rng = np.random.default_rng(2)
    for _ in range(12):
        radius_km, disc_km, away_km = 10 ** rng.uniform(-1, 4, 3)
        kernel = Mixture(np.array([[20.0, 30.0]]), np.array([radius_km]), np.ones(1))
        at = destination(np.array([20.0, 30.0]), 77.0, min(away_km, 20_000.0) * 1_000)
        # Rings of equal kernel mass, each sampled at many bearings.
        turns, rings = np.meshgrid(np.linspace(0, 360, 181)[:-1], (np.arange(500) + 0.5) / 500)
        out = kernels.disc_km(rings.ravel(), radius_km) * 1_000
        ground = destination(np.array([20.0, 30.0]), turns.ravel(), out)
        slow = (haversine_m(ground, at) <= disc_km * 1_000).mean()
        mass = kernels.masses_within(kernel, at[None], disc_km)[0]
        assert mass == pytest.approx(slow, abs=4e-3), (radius_km, disc_km, away_km)


def test_kernels_tiny_and_uniform_are_exact():
    here = np.array([[48.0, 2.0]])
    for radius_km in (0.001, 0.01, 1.0):  # on this scale the ground is flat
        kernel = Mixture(here, np.array([radius_km]), np.ones(1))
        for times in (0.5, 1.0, 3.0):
            flat = 1 - math.exp(-(times**2) / 2)
            mass = kernels.masses_within(kernel, here, times * radius_km)[0]
            assert mass == pytest.approx(flat, abs=1e-6)
        peak = kernels.log_density(kernel, here)[0]
        assert peak == pytest.approx(-math.log(2 * math.pi * radius_km**2), abs=1e-5)
    even = Mixture(here, np.array([ANYWHERE_KM]), np.ones(1))
    assert math.exp(kernels.log_density(even, -here)[0]) * EARTH_AREA_KM2 == pytest.approx(1)
    half = math.pi * kernels.EARTH_RADIUS_KM / 2
    assert kernels.masses_within(even, here, half)[0] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", PLACES)
def test_hdr_boxes_have_stated_mass_and_highest_density(name, share):
    mixed = mixture(PLACES[name])
    positions, weights = kernels.quadrature_nodes(mixed, 2_048)
    dense = kernels.log_density(mixed, positions)
    boxes = hdr.hdr_boxes(mixed, kernels.hdr_log_density(dense, weights, share))
    ground = draw_positions(mixed)
    inside = hdr.contains_positions(boxes, ground)
    assert inside.mean() == pytest.approx(share, abs=0.015)
    south, west, north, east = boxes.T
    assert np.abs([west, east]).max() <= 180
    assert np.abs([south, north]).max() <= 90
    assert len(boxes) < 4_000
    # Boxes do not overlap: a place in two of them would count twice in the area.
    size = hdr.area_km2(boxes)
    rng = np.random.default_rng(1)
    even = np.degrees(np.arcsin(rng.uniform(-1, 1, DRAWS)))
    anywhere = np.stack([even, rng.uniform(-180, 180, DRAWS)], axis=1)
    assert hdr.contains_positions(boxes, anywhere).mean() == pytest.approx(
        size / EARTH_AREA_KM2, abs=0.01
    )
    dense = kernels.log_density(mixed, ground)
    assert np.quantile(dense[inside], 0.02) > np.quantile(dense[~inside], 0.98) - 0.1


def test_hdr_boxes_without_threshold_cover_the_earth():
    mixed = mixture(PLACES["two towns"])
    everything = hdr.hdr_boxes(mixed, -np.inf)
    assert hdr.area_km2(everything) == pytest.approx(EARTH_AREA_KM2)


@pytest.mark.parametrize("name", PLACES)
def test_radius_for_mass_and_hdr_level_are_consistent(name):
    mixed = mixture(PLACES[name])
    at = np.array(PLACES[name][0])
    for share in (0.3, 0.9):
        (radius_km,) = kernels.radius_for_mass_km(mixed, at, np.array([share]))
        assert kernels.masses_within(mixed, at[None], radius_km)[0] == pytest.approx(
            share, abs=1e-4
        )
    positions, weights = kernels.quadrature_nodes(mixed, 2_048)
    assert weights.sum() == pytest.approx(1)
    sample = draw_positions(mixed, 2_000)
    dense = kernels.log_density(mixed, positions)
    depths = [
        kernels.hdr_level_of(dense, weights, here)
        for here in kernels.log_density(mixed, sample).tolist()
    ]
    # The mass of denser positions is uniform over draws (probability integral transform).
    assert np.quantile(depths, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.04)


def test_expected_scores_best_point_equals_monte_carlo_grid_search():
    mixed = mixture([(48.0, 2.0), (48.2, 2.5), (47.6, 2.9)], (3.0, 30.0))
    grid = np.stack(np.meshgrid(np.arange(47, 49, 0.1), np.arange(1, 4, 0.1)), -1).reshape(-1, 2)
    ground = draw_positions(mixed, 2_000)
    slow = np.exp(-pairwise_m(grid, ground) / 1_492_700).mean(axis=1)
    positions, weights = kernels.quadrature_nodes(mixed, 512)
    fast = kernels.expected_scores(positions, weights, grid, 1_492.7)
    assert fast == pytest.approx(slow, abs=0.01)
    assert haversine_m(grid[np.argmax(fast)], grid[np.argmax(slow)]) < 12_000
    near = kernels.masses_within(mixed, grid, 10.0)
    counted = (pairwise_m(grid, ground) <= 10_000).mean(axis=1)
    assert counted[np.argmax(near)] > counted.max() - 0.01


def test_mixture_invalid_arguments_are_rejected():
    here = np.zeros((2, 2))
    for radii, weights in (([1.0, 0.0], [0.5, 0.5]), ([1.0, 1.0], [0.5, 0.6]), ([1.0], [1.0])):
        with pytest.raises(ValueError, match=r"radi|weights"):
            Mixture(here, np.array(radii), np.array(weights))
    with pytest.raises(ValueError, match="share"):
        kernels.radius_for_mass_km(mixture(PLACES["two towns"]), here[0], np.zeros(1))
