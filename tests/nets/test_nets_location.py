"""The location tower: continuity, wavelengths, and independence of the batch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pinpoint.geo.points import destination, unit_xyz
from pinpoint.nets.bundle.specs import LocationSpec
from pinpoint.nets.embedder.location import (
    FourierWaves,
    LocationTower,
    sphere_points,
    wavelengths_m,
)

SPEC = LocationSpec(hidden=128, dim=64)


def make_tower(spec=SPEC, seed=1):
    torch.manual_seed(seed)
    tower = LocationTower(spec)
    # Nonzero shifts, as after training.
    torch.nn.init.normal_(tower.waves.shift)
    return tower.eval().requires_grad_(False)


TOWER = make_tower()
latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)
anywhere = st.one_of(
    st.tuples(latitudes, longitudes),
    st.tuples(st.sampled_from([-90.0, 90.0]), longitudes),
    st.tuples(latitudes, st.sampled_from([-180.0, 180.0])),
)


def vectors(*positions):
    return TOWER(torch.tensor(positions, dtype=torch.float64))


def random_positions(count, seed=3):
    """Random positions, uniform over the sphere, and the poles."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    lat[:2] = 90.0, -90.0
    return np.column_stack([lat, rng.uniform(-180, 180, count)])


def vector_change(here, distance_m, seed=4):
    """Distances between the vectors of positions and of positions some meters away."""
    bearing = np.random.default_rng(seed).uniform(0, 360, len(here))
    there = destination(here, bearing, distance_m)
    return (TOWER(torch.tensor(here)) - TOWER(torch.tensor(there))).norm(dim=1)


def waves_in_a_loop(waves, lat, lon):
    """Cosines and sines of one position, from math alone."""
    lat, lon = math.radians(lat), math.radians(lon)
    point = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    vectors = (waves.base.double() + waves.shift.double()).tolist()
    phases = [
        math.fsum(vectors[axis][wave] * point[axis] for axis in range(3))
        for wave in range(len(vectors[0]))
    ]
    return [math.cos(phase) for phase in phases] + [math.sin(phase) for phase in phases]


def test_fourier_waves_agree_with_float64_loop():
    positions = random_positions(40)
    expected = np.array([waves_in_a_loop(TOWER.waves, *place) for place in positions])
    points = sphere_points(torch.tensor(positions))
    found = TOWER.waves(points)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    coarse = (points.float() @ (TOWER.waves.base + TOWER.waves.shift)).cos()
    assert np.abs(coarse.numpy() - expected[:, : coarse.shape[1]]).max() > 1e-3


def test_sphere_points_agree_with_geo_unit_xyz():
    positions = random_positions(500)
    np.testing.assert_allclose(
        sphere_points(torch.tensor(positions)), unit_xyz(positions), atol=1e-15, rtol=0
    )


def test_wavelengths_are_geometric():
    lengths = wavelengths_m(
        LocationSpec(hidden=1, dim=1, fourier_scales=5, max_wavelength_km=1600, min_wavelength_km=1)
    )
    assert lengths.tolist() == pytest.approx([1_600_000 / 1600 ** (n / 4) for n in range(5)])
    assert wavelengths_m(SPEC)[[0, -1]].tolist() == pytest.approx([20_000_000, 1_000])


@pytest.mark.parametrize("part", [0.05, 0.125, 0.25])
def test_fourier_waves_decay_with_ground_distance_everywhere(part):
    """After a distance d, the mean agreement of a scale's waves is exp(-(2π d / λ)² / 2)."""
    torch.manual_seed(6)
    spec = LocationSpec(
        hidden=1, dim=1, fourier_scales=6, fourier_features_per_scale=4000, max_wavelength_km=4000
    )
    waves = FourierWaves(spec).requires_grad_(False)
    for scale, length_m in enumerate(wavelengths_m(spec).tolist()):
        its = slice(
            scale * spec.fourier_features_per_scale, (scale + 1) * spec.fourier_features_per_scale
        )
        for place in ((0.0, 0.0), (52.0, -179.9999), (-89.9999, 30.0), (90.0, 0.0)):
            for bearing in (0.0, 70.0, 270.0):
                there = destination(np.array(place), bearing, part * length_m)
                ends = waves(sphere_points(torch.tensor(np.array([place, there]))))
                cos, sin = ends.view(2, 2, -1)[..., its].unbind(dim=1)
                agreed = (cos[0] * cos[1] + sin[0] * sin[1]).mean()
                assert agreed.item() == pytest.approx(
                    math.exp(-((2 * math.pi * part) ** 2) / 2), abs=0.06
                ), (place, bearing, length_m)


@settings(deadline=None)
@given(latitudes, st.floats(0, 1e-7))
def test_location_tower_is_continuous_at_antimeridian(lat, hair_deg):
    west, east, west_of, east_of = vectors(
        (lat, -180.0), (lat, 180.0), (lat, -180.0 + hair_deg), (lat, 180.0 - hair_deg)
    )
    torch.testing.assert_close(west, east, atol=1e-6, rtol=0)
    # 2e-7 degrees are 2 cm at most.
    assert (west_of - east_of).norm() < 2e-4


@settings(deadline=None)
@given(st.sampled_from([-90.0, 90.0]), longitudes, longitudes, st.floats(0, 1e-7))
def test_location_tower_is_continuous_at_poles(pole, lon, other_lon, hair_deg):
    lat = pole - math.copysign(hair_deg, pole)
    here, there, near, across = vectors(
        (pole, lon), (pole, other_lon), (lat, lon), (lat, other_lon)
    )
    torch.testing.assert_close(here, there, atol=1e-6, rtol=0)
    assert (near - across).norm() < 2e-4
    assert (near - here).norm() < 2e-4


@settings(deadline=None)
@given(anywhere, st.floats(0, 360), st.floats(0, 0.01))
def test_location_tower_is_stable_within_a_centimeter(place, bearing, way_m):
    there = destination(np.array(place), bearing, way_m)
    here, moved = vectors(place, there.tolist())
    assert (here - moved).norm() < 1e-4


def test_location_tower_separates_300_m_but_not_1_m():
    here = random_positions(500)
    assert vector_change(here, 300.0).min() > 0.1
    assert vector_change(here, 1.0).max() < 0.01


def test_location_tower_similarity_falls_with_distance():
    here = random_positions(500)
    ways_m = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    means = [vector_change(here, way_m).mean().item() for way_m in ways_m]
    assert all(near < far for near, far in itertools.pairwise(means)), means


def test_location_tower_row_is_independent_of_batch_and_order():
    positions = torch.tensor(random_positions(64))
    together = TOWER(positions)
    assert together.dtype == torch.float32
    np.testing.assert_allclose(together.double().norm(dim=1), 1.0, atol=1e-6)
    alone = torch.cat([TOWER(positions[row : row + 1]) for row in range(64)])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(8))
    torch.testing.assert_close(TOWER(positions[order]), together[order], atol=1e-5, rtol=0)
    assert TOWER(positions[:0]).shape == (0, SPEC.dim)


def test_location_tower_under_autocast_is_unchanged():
    positions = torch.tensor(random_positions(64))
    plain, tower = TOWER(positions), make_tower().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tower(positions)
        assert (plain @ plain.T).dtype == torch.bfloat16
    assert torch.equal(mixed, plain)
    mixed.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in tower.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in tower.parameters())
    assert tower.waves.shift.grad.abs().min() > 0, "waves are learned at every scale"


def test_fourier_waves_change_little_in_one_optimizer_step():
    tower, positions = make_tower().requires_grad_(True), torch.tensor(random_positions(64))
    optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3, weight_decay=0.1)
    before = tower.waves(sphere_points(positions)).detach()
    tower(positions)[:, 0].sum().backward()
    optimizer.step()
    moved = (tower.waves(sphere_points(positions)) - before).abs().max().item()
    assert 1e-5 < moved < 5e-3


def test_location_tower_of_nan_position_is_nan():
    found = vectors((math.nan, 0.0), (10.0, 20.0))
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_location_tower_with_wrong_precision_is_refused():
    with pytest.raises(ValueError, match=r"\[B, 2\] torch.float64, not \[3, 2\] torch.float32"):
        TOWER(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"not \[2\] torch.float64"):
        TOWER(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"cast to torch.bfloat16, which moves its waves"):
        make_tower().to(torch.bfloat16)(torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(ValidationError, match="min_wavelength_km, 9, must be below"):
        LocationSpec(hidden=8, dim=8, max_wavelength_km=9, min_wavelength_km=9)
