"""This generator's planet, as it was when difficulty was set: pictures, places and digests.

A change here means another `GENERATOR`, and every table that quotes the planet is made again.
"""

from __future__ import annotations

import numpy as np
import pytest

from pinpoint.world.habits import shots
from pinpoint.world.pictures import pictures
from pinpoint.world.presets import GENERATOR, PRESETS, preset_digest
from pinpoint.world.regions import sites

DIGESTS: dict[str, str] = {}
PLACES: list[tuple[str, float, float]] = []
MEANS: list[list[float]] = []


def taken():
    """Every tenth shot of the tiny planet, panoramas aside."""
    preset = PRESETS["tiny"]
    planned = [
        shot
        for site in sites(7, preset)
        for shot in shots(7, site, preset.towns[site.role], preset.habits)
    ]
    return [shot for shot in planned[::40] if not shot.panorama]


def test_presets_are_those_that_tables_quote():
    assert GENERATOR == "pinpoint.world 2"
    assert {name: preset_digest(preset, 7) for name, preset in PRESETS.items()} == DIGESTS


def test_shots_stand_where_they_stood():
    for shot, (name, lat, lon) in zip(taken(), PLACES, strict=True):
        assert shot.name == name
        assert (shot.point.lat, shot.point.lon) == pytest.approx((lat, lon), abs=1e-6)


def test_pictures_show_what_they_showed():
    """Means of channels: another processor may round a pixel on an edge the other way."""
    found = pictures(7, taken(), PRESETS["tiny"]).astype(float).mean(axis=(1, 2))
    assert found == pytest.approx(np.array(MEANS), abs=0.3)
