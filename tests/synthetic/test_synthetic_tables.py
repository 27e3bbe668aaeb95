"""The commands that make the tables of docs/results.md, run on the smallest planet."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy.stats import multivariate_normal, norm

from pinpoint.geo.points import lat_lon
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS, WIDTH, latent_factors
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from pinpoint.synthetic.shot_rendering import factors_appearance
from trials.planet import oracle_observer
from trials.planet.planet_images import plan_shots
from trials.planet.tables import make_table

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


def lines(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_planet_table_has_rows_of_results_page():
    (block,) = re.findall(r"<!-- table: planet -->\n(.*?)<!-- end of table -->", PAGE, re.DOTALL)
    here, there = lines(make_table("tiny", 7, steps=3, say=lambda text: None)), lines(block)
    assert here[0] == there[0]
    assert [line[:2] for line in here] == [line[:2] for line in there]
    assert all(len(line) == len(here[0]) for line in there)


def test_oracle_observer_table_has_rows_of_results_page():
    (block,) = re.findall(r"<!-- table: eye -->\n(.*?)<!-- end of table -->", PAGE, re.DOTALL)
    here, there = (
        lines(oracle_observer.make_table("tiny", 7, every=1, say=lambda text: None)),
        lines(block),
    )
    assert (here[0], len(here)) == (there[0], len(there))
    assert [line[0] for line in here] == [line[0] for line in there]


def test_oracle_observer_likeness_equals_likelihood_ratio():
    """Compares with the densities, factor by factor."""
    preset = PRESETS["tiny"]
    observations = oracle_observer.blurred(
        oracle_observer.read(7, preset, plan_shots(7, preset, ("test",))[:60:3]), 0.3, 7
    )
    rows = np.arange(len(observations.shots))
    likeness = oracle_observer.likeness(observations, rows, rows)
    for left, right in ((0, 5), (3, 19), (7, 7), (12, 2)):
        left_variance, right_variance = (
            1.0 + observations.spread[row] ** 2 for row in (left, right)
        )
        joint = multivariate_normal(cov=[[left_variance, 1.0], [1.0, right_variance]])
        ratio = np.array(
            [
                joint.logpdf([x, y])
                - norm.logpdf(x, scale=left_variance**0.5)
                - norm.logpdf(y, scale=right_variance**0.5)
                for x, y in zip(observations.values[left], observations.values[right], strict=True)
            ]
        )
        ratio *= observations.seen[left] & observations.seen[right]
        corner = LATENT_COLUMNS["corner"].start
        expected = np.logaddexp(ratio.sum(), ratio[:corner].sum())
        assert np.isclose(likeness[left, right], expected, atol=1e-3)


def test_oracle_observer_reads_visible_factors_only():
    """Changes one factor and no noise: a visible change of an object shows the factor."""
    preset = PRESETS["tiny"]
    shots = plan_shots(7, preset, ("test",))
    seen = oracle_observer.read(7, preset, shots).seen
    factors = latent_factors(
        7, lat_lon([s.point for s in shots]), [s.site.city.country for s in shots]
    )
    before = factors_appearance(7, shots, preset, factors)
    hidden = before.subject_shape[:, 2] >= 3.0
    assert 0.1 < hidden.mean() < 0.3
    assert not seen[hidden].any()
    corner, country = LATENT_COLUMNS["corner"].start, LATENT_COLUMNS["country"].start
    left_out = {*range(corner, corner + 4), *range(corner + 8, WIDTH)}
    for column in range(WIDTH):
        moved = factors.copy()
        moved[:, column] += 0.3
        shows = visibly_changed(before, factors_appearance(7, shots, preset, moved)) & ~hidden
        assert not (seen[:, column] & ~shows).any(), (
            f"factor {column} is read where nothing shows it"
        )
        if column not in left_out | {country + 3}:
            assert not (shows & ~seen[:, column]).any(), f"factor {column} shows and is not read"


def visibly_changed(before, after):
    """Whether an object that is in both images looks different, `[N]`."""
    built = (before.houses[:, 1] < 1e4).any(axis=1)
    there = {
        ("road", "paint", "road_shape"): before.road_shape[:, 1] > 0,
        ("sign", "sign_shape"): before.sign_shape[:, 1] > 0,
        ("sky", "zenith", "ridge", "ridge_shape", "ground", "leaves"): np.ones(len(built), bool),
        ("trees",): ((before.trees[:, 2] > 0) | (after.trees[:, 2] > 0)).any(axis=1),
        ("houses", "walls", "fronts", "front_height", "bands", "band_shape"): built,
        ("windows", "roof", "roof_height"): built,
    }
    visible = np.zeros(len(built), bool)
    for names, present in there.items():
        for name in names:
            gap = np.abs(getattr(after, name) - getattr(before, name)).reshape(len(built), -1)
            visible |= present & (gap.max(axis=1) > 1e-6)
    return visible


def test_results_page_names_planet_digest():
    assert (
        f"{GENERATOR}, preset `bench`, seed 7, digest `{preset_digest(PRESETS['bench'], 7)}`"
        in (" ".join(PAGE.split()))
    )
