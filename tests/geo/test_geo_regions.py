"""Discs of a mass share, mode and mean against loops, and across the antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.geo import regions
from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.points import destination

weighted = st.lists(
    st.tuples(st.floats(0, 1e7), st.floats(0.001, 10)), min_size=1, max_size=12
).map(lambda pairs: (np.array([d for d, _ in pairs]), np.array([w for _, w in pairs])))


def radius_by_loop(distances, weights, share):
    """Try every distance as a radius, from the smallest."""
    for radius in sorted(distances):
        mass = sum(w for d, w in zip(distances, weights, strict=True) if d <= radius)
        if mass / sum(weights) >= share - 1e-9:
            return radius
    return max(distances)


@given(weighted, st.floats(0.01, 1))
def test_radius_for_mass_is_smallest_sufficient_distance(case, share):
    distances, weights = case
    radius_m = regions.radius_for_mass_m(distances, weights, share)
    assert radius_m == radius_by_loop(distances.tolist(), weights.tolist(), share)


@given(weighted, st.floats(1e-3, 1e3))
def test_radius_for_mass_grows_with_share_and_ignores_weight_scale(case, scale):
    distances, weights = case
    radii = [regions.radius_for_mass_m(distances, weights, s) for s in (0.1, 0.5, 0.9, 1.0)]
    assert radii == sorted(radii)
    assert radii[-1] == distances.max()
    assert regions.radius_for_mass_m(distances, weights * scale, 0.5) == radii[1]


def test_radius_for_mass_zero_weights_are_ignored():
    assert regions.radius_for_mass_m(np.array([5.0, 9.0]), np.array([1.0, 0.0]), 1.0) == 5.0


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        ([1.0, -1], 0.5),
        ([0.0, 0], 0.5),
        ([1.0], 0.5),
        ([1.0, np.nan], 0.5),
        ([1.0, 1], 0),
        ([1, 1], 2),
    ],
)
def test_radius_for_mass_invalid_weights_or_share_are_rejected(weights, share):
    with pytest.raises(ValueError, match=r"weights|share"):
        regions.radius_for_mass_m(np.array([1.0, 2.0]), np.array(weights), share)


def cloud(seed, count=30, at=(0.0, 179.999), spread_m=3_000.0):
    rng = np.random.default_rng(seed)
    origin = np.broadcast_to(np.array(at), (count, 2))
    places = destination(origin, rng.uniform(0, 360, count), rng.exponential(spread_m, count))
    return places, rng.exponential(1.0, count)


@pytest.mark.parametrize("at", [(0.0, 179.999), (89.99, 0.0), (48.0, 2.0)])
@pytest.mark.parametrize("seed", range(5))
def test_mode_index_equals_loop(seed, at):
    places, weights = cloud(seed, at=at)
    masses = [
        sum(w for q, w in zip(places, weights, strict=True) if haversine_m(p, q) <= 1_000.0)
        for p in places
    ]
    assert regions.mode_index(places, weights, 1_000.0) == int(np.argmax(masses))


def test_mode_index_tie_selects_first():
    places = np.array([[0.0, 0], [10, 10], [20, 20]])
    assert regions.mode_index(places, np.array([0.1, 0.1, 0.1]), 1_000.0) == 0


def test_spherical_mean_across_antimeridian_and_pole_is_correct():
    east_west = regions.spherical_mean(np.array([[10.0, 179.0], [10.0, -179.0]]), np.ones(2))
    assert abs(east_west[1]) == pytest.approx(180)
    round_the_pole = regions.spherical_mean(
        np.array([[89.0, 0], [89.0, 120], [89.0, 240]]), np.ones(3)
    )
    assert round_the_pole[0] == pytest.approx(90)
    with pytest.raises(ValueError, match="undefined"):
        regions.spherical_mean(np.array([[0.0, 0], [0.0, 180]]), np.ones(2))


def test_spherical_mean_is_weighted():
    places = np.array([[0.0, 0], [0.0, 1]])
    near = regions.spherical_mean(places, np.array([3.0, 1.0]))
    assert near == pytest.approx([0, 0.25], abs=1e-4)


def test_mode_selects_densest_cluster_not_heaviest_point():
    cluster = destination(np.full((5, 2), [50.0, 8.0]), np.arange(5) * 72.0, 200.0)
    places = np.vstack([[[0.0, 0.0]], cluster])
    weights = np.array([0.3, 0.1, 0.1, 0.2, 0.1, 0.2])
    mode = regions.mode(places, weights, place_m=1_000.0, refine_m=50.0)
    # The heavier point of the cluster; no other is close enough to move it.
    assert mode.tolist() == places[3].tolist()


@pytest.mark.parametrize("lon", [180.0, -180.0, 179.9999, 12.0])
def test_mode_is_refined_to_mean_of_close_points(lon):
    center = np.array([20.0, lon])
    ring = destination(np.broadcast_to(center, (4, 2)), np.arange(4) * 90.0, 20.0)
    far = destination(center, 45.0, 400.0)
    places = np.vstack([ring, far[None]])
    mode = regions.mode(places, np.array([1.0, 1, 1, 1, 0.9]), place_m=1_000.0, refine_m=50.0)
    assert haversine_m(mode, center) < 0.01


@pytest.mark.parametrize("seed", range(8))
def test_mode_has_most_mass_around_it(seed):
    places, weights = cloud(seed)
    mode = regions.mode(places, weights, place_m=1_000.0, refine_m=50.0)
    best = ((pairwise_m(places) <= 1_000.0) @ weights).max()
    inside = weights[haversine_m(places, mode) <= 2_050.0].sum()
    assert inside >= best - 1e-9
