"""The factors of a planet: smooth in space at their own scale, constant within a country."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from pinpoint.geo.gazetteer import cities, positions
from pinpoint.geo.points import destination, unit_xyz
from pinpoint.synthetic import latent_fields
from pinpoint.synthetic.cities import folder_name, nearest_city
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS, WIDTH, latent_factors
from pinpoint.synthetic.seeds import draw_noise, rng, uniform

SEED = 5


@pytest.fixture(scope="module")
def sampled_cities():
    chosen = rng(SEED, "test", "spots").choice(len(cities()), 1_500, replace=False)
    return positions()[chosen]


def factors_at(sampled_cities, country="FR", seed=SEED):
    return latent_factors(seed, sampled_cities, [country] * len(sampled_cities))


def test_field_equals_loop_over_waves(sampled_cities):
    for scale in ("climate", "region", "town", "corner"):
        waves, phases = latent_fields._draw_waves(SEED, scale)
        fast = latent_fields._evaluate_field(SEED, scale, unit_xyz(sampled_cities[:5]))
        for number, xyz in enumerate(unit_xyz(sampled_cities[:5])):
            for channel in range(len(phases)):
                slow = 0.0
                for wave, phase in zip(waves[channel], phases[channel], strict=True):
                    slow += math.cos(float(wave @ xyz) + phase)
                slow *= math.sqrt(2 / len(phases[channel]))
                assert fast[number, channel] == pytest.approx(slow, abs=1e-9)


@pytest.mark.parametrize(
    ("scale", "reach_m"), [("region", 200_000.0), ("town", 12_000.0), ("corner", 800.0)]
)
def test_latent_factors_correlation_decays_with_scale(sampled_cities, scale, reach_m):
    here = factors_at(sampled_cities)[:, LATENT_COLUMNS[scale]]
    for times, expected in ((0.25, math.exp(-0.03125)), (1.0, math.exp(-0.5)), (4.0, 0.0)):
        there = factors_at(destination(sampled_cities, 40.0, times * reach_m))[
            :, LATENT_COLUMNS[scale]
        ]
        assert float((here * there).mean()) == pytest.approx(expected, abs=0.12)


def test_latent_factors_are_standard_normal(sampled_cities):
    seen = factors_at(sampled_cities)
    for scale in ("region", "town", "corner"):
        assert seen[:, LATENT_COLUMNS[scale]].mean(axis=0) == pytest.approx(0.0, abs=0.25)
        assert seen[:, LATENT_COLUMNS[scale]].std(axis=0) == pytest.approx(1.0, abs=0.25)


def test_latent_factors_country_style_is_constant_and_tropics_are_warm(sampled_cities):
    french, german = factors_at(sampled_cities[:50], "FR"), factors_at(sampled_cities[:50], "DE")
    style = LATENT_COLUMNS["country"]
    assert (french[:, style] == french[0, style]).all()
    assert (french[:, style] != german[:, style]).all()
    rest = np.r_[0:2, 10:WIDTH]
    assert (french[:, rest] == german[:, rest]).all()
    pole, equator = factors_at(np.array([[85.0, 10.0]])), factors_at(np.array([[0.0, 10.0]]))
    assert equator[0, 0] > pole[0, 0] + 1.0


def test_latent_factors_are_independent_of_batch(sampled_cities):
    together = factors_at(sampled_cities[:300])
    alone = np.concatenate([factors_at(sampled_cities[k : k + 1]) for k in range(300)])
    assert (together == alone).all()
    assert (factors_at(sampled_cities[:300][::-1])[::-1] == together).all()
    assert (factors_at(sampled_cities[:300], seed=SEED + 1) != together).mean() > 0.9


def test_latent_factors_are_continuous_at_antimeridian_and_poles():
    east, west = (
        factors_at(np.array([[10.0, 179.9999999]])),
        factors_at(np.array([[10.0, -179.9999999]])),
    )
    assert east == pytest.approx(west, abs=1e-3)
    first, second = factors_at(np.array([[90.0, 0.0]])), factors_at(np.array([[90.0, 123.0]]))
    assert first == pytest.approx(second, abs=1e-3)


def test_draw_noise_depends_on_name_only():
    flat, bell = draw_noise(SEED, ["a", "b", "c"], 5, 7)
    again, bells = draw_noise(SEED, ["c", "a"], 5, 7)
    assert (flat[[2, 0]] == again).all()
    assert (bell[[2, 0]] == bells).all()
    assert (flat >= 0).all()
    assert (flat < 1).all()
    many = np.array([uniform(SEED, "x", number) for number in range(4_000)])
    assert many.mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(many, [0.1, 0.9]) == pytest.approx([0.1, 0.9], abs=0.03)


def test_folder_name_of_every_city_is_unique_and_ascii():
    table = cities()
    names = [folder_name(city) for city in table]
    assert len(set(names)) == len(names) == len(positions())
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in names)
    for city in (table[0], table[70_000], table[-1]):
        assert nearest_city(city.point).point == city.point


def test_cities_keep_csv_field_size_limit():
    code = "import csv; from pinpoint.geo.gazetteer import cities; cities(); "
    code += "print(csv.field_size_limit())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["131072"]
