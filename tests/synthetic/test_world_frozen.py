"""This generator's planet, as it was when difficulty was set: pictures, places and digests.

A change here means another `GENERATOR`, and every table that quotes the planet is made again.
"""

from __future__ import annotations

import numpy as np
import pytest

from pinpoint.synthetic.capture_patterns import generate_shots
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.shot_rendering import render_shots

DIGESTS = {
    "tiny": "811755a2f2b43c14",
    "demo": "2cef3132ed2445a7",
    "small": "998e804ba4680f14",
    "bench": "8839955b109eecf3",
}
PLACES = [
    ("us-unionpark-127452/gallery-street-00-0", 28.5652998, -81.3075421),
    ("nl-boekel-98392/gallery-street-01-4", 51.5940707, 5.6513694),
    ("it-roccadimezzo-80711/gallery-photo-001-2", 42.1984746, 13.5498612),
    ("ru-pokrovskoye-115979/gallery-street-00-0", 52.6271315, 36.9067848),
    ("es-sartajada-44115/gallery-street-01-4", 40.2175625, -4.8110319),
    ("cn-dongcheng-24941/query-photo-000-2", 28.8807415, 120.0427369),
    ("gt-lademocracia-62517/gallery-street-00-0", 15.6289126, -91.8775459),
    ("ph-bacong-104973/gallery-street-01-4", 9.7218418, 124.5417693),
    ("es-bunol-42713/gallery-photo-001-5", 39.4155598, -0.7797555),
    ("us-avon-137199/gallery-photo-001-4", 41.4522336, -82.028711),
    ("fr-bourgblanc-56174/gallery-street-01-0", 48.5015455, -4.4529635),
    ("ch-evionnaz-11186/gallery-photo-000-0", 46.1902413, 7.0267916),
    ("es-torremontalbo-43837/gallery-photo-001-5", 42.4896908, -2.6725295),
    ("id-pliwetan-71264/query-photo-004-1", -6.8911196, 112.1173203),
]
MEANS = [
    [155.64, 156.23, 148.74],
    [136.63, 138.8, 134.32],
    [142.87, 150.51, 126.84],
    [148.64, 143.57, 153.89],
    [136.77, 122.88, 145.16],
    [96.9, 99.44, 94.57],
    [124.71, 122.93, 118.01],
    [122.04, 132.92, 135.36],
    [98.45, 108.71, 107.06],
    [111.05, 69.08, 69.99],
    [170.78, 172.1, 165.87],
    [141.47, 131.05, 130.6],
    [118.62, 145.22, 113.82],
    [45.55, 87.93, 234.99],
]


def taken():
    """Every fortieth shot of the tiny planet, panoramas aside."""
    preset = PRESETS["tiny"]
    planned = [
        shot
        for site in choose_sites(7, preset)
        for shot in generate_shots(7, site, preset.towns[site.role], preset.habits)
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
    found = render_shots(7, taken(), PRESETS["tiny"]).astype(float).mean(axis=(1, 2))
    assert found == pytest.approx(np.array(MEANS), abs=0.3)
