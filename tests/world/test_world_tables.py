"""The tables of docs/planet.md come from commands, which are run here on the smallest planet."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy.stats import multivariate_normal, norm

from pinpoint.world.fields import COLUMNS
from pinpoint.world.pictures import scene
from pinpoint.world.presets import GENERATOR, PRESETS, preset_digest
from trials.planet import eye
from trials.planet.ground import planned
from trials.planet.tables import made

PAGE = (Path(__file__).parents[2] / "docs" / "planet.md").read_text(encoding="utf-8")


def lines(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_the_command_makes_the_table_of_the_page():
    (block,) = re.findall(r"<!-- table: planet -->\n(.*?)<!-- end of table -->", PAGE, re.DOTALL)
    here, there = lines(made("tiny", 7, steps=3, say=lambda text: None)), lines(block)
    assert here[0] == there[0]
    assert [line[:2] for line in here] == [line[:2] for line in there]
    assert all(len(line) == len(here[0]) for line in there)


def test_the_command_makes_the_table_of_the_eye():
    (block,) = re.findall(r"<!-- table: eye -->\n(.*?)<!-- end of table -->", PAGE, re.DOTALL)
    here, there = lines(eye.made("tiny", 7, every=1, say=lambda text: None)), lines(block)
    assert (here[0], len(here)) == (there[0], len(there))
    assert [line[0] for line in here] == [line[0] for line in there]


def test_an_eye_compares_by_the_likelihood_of_one_place():
    """Against the densities themselves, factor by factor."""
    preset = PRESETS["tiny"]
    some = eye.read(7, preset, planned(7, preset, ("test",))[:60:3], 0.3)
    rows = np.arange(len(some.shots))
    found = eye.likeness(some, rows, some, rows)
    for left, right in ((0, 5), (3, 19), (7, 7), (12, 2)):
        one, other = (1.0 + some.spread[row] ** 2 for row in (left, right))
        joint = multivariate_normal(cov=[[one, 1.0], [1.0, other]])
        ratio = np.array(
            [
                joint.logpdf([x, y])
                - norm.logpdf(x, scale=one**0.5)
                - norm.logpdf(y, scale=other**0.5)
                for x, y in zip(some.values[left], some.values[right], strict=True)
            ]
        )
        ratio *= some.seen[left] & some.seen[right]
        corner = COLUMNS["corner"].start
        wanted = np.logaddexp(ratio.sum(), ratio[:corner].sum())
        assert np.isclose(found[left, right], wanted, atol=1e-3)


def test_an_eye_knows_what_is_in_a_picture():
    preset = PRESETS["tiny"]
    shots = planned(7, preset, ("test",))
    shown, seen = scene(7, shots, preset), eye.read(7, preset, shots, 0.0).seen
    hidden = shown.subject_shape[:, 2] >= 3.0
    assert 0.1 < hidden.mean() < 0.3
    assert not seen[hidden].any()
    assert seen[~hidden][:, COLUMNS["climate"]].all()
    built = (shown.houses[:, 1] < 1e4).any(axis=1) & ~hidden
    assert seen[built][:, COLUMNS["town"]].all()
    assert not seen[~built][:, COLUMNS["town"]].any()


def test_the_page_quotes_this_planet():
    assert (
        f"{GENERATOR}, preset `bench`, seed 7, digest `{preset_digest(PRESETS['bench'], 7)}`"
        in (" ".join(PAGE.split()))
    )
