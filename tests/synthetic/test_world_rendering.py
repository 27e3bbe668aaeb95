"""The renderer of many pictures against a loop that follows one ray at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinpoint.synthetic.capture_patterns import generate_shots
from pinpoint.synthetic.presets import PRESETS
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.rendering import render
from pinpoint.synthetic.shot_rendering import render_shots, scene_appearance

SEED = 3
PRESET = PRESETS["tiny"]


@pytest.fixture(scope="module")
def taken():
    """Some shots of each kind from several cities, none of them a panorama."""
    found = []
    for site in choose_sites(SEED, PRESET)[:4]:
        own = generate_shots(SEED, site, PRESET.towns[site.role], PRESET.habits)
        found += [shot for shot in own if not shot.panorama][::3]
    return found


def turned(angle):
    return (angle + math.pi) % (2 * math.pi) - math.pi


def ray(looks, row, column, side):
    reach = math.tan(looks["fov"] / 2)
    x = reach * ((column + 0.5) / side * 2 - 1)
    y = reach * (1 - (row + 0.5) / side * 2) + looks["pitch"]
    return (looks["heading"] + math.atan(x)) % (2 * math.pi), y / math.sqrt(1 + x * x)


def slow_pixel(looks, row, column, side):
    """The color `[3]` of one pixel, before grain: sky, ridge, ground, houses, trees, sign."""
    bearing, slope = ray(looks, row, column, side)
    up = min(max(slope, 0.0), 1.0)
    color = looks["sky"] + (looks["zenith"] - looks["sky"]) * up
    height, waves, phase = looks["ridge_shape"]
    turn = round(float(waves))
    line = 0.5 + 0.28 * math.sin(turn * bearing + phase)
    line += 0.16 * math.sin(2 * turn * bearing + 1.7 * phase) + 0.05 * math.sin(5 * turn * bearing)
    if 0 <= slope < height * line:
        color = looks["ridge"]
    if slope < 0:
        color = ground(looks, bearing, slope)
    color = house(looks, bearing, slope, color)
    for tree in range(looks["trees"].shape[1]):
        way, away, size, slender = looks["trees"][:, tree]
        aside, tall = turned(bearing - way) * away, slope * away + 1.7
        if (aside * slender) ** 2 + (tall - 2 * size) ** 2 < size * size:
            color = looks["leaves"] * (1.0 - 0.06 * tree)
        elif abs(aside) < 0.12 * size and 0 <= tall < 2 * size:
            color = looks["leaves"] * 0.45
    way, size, wide = looks["sign_shape"]
    x = abs(turned(bearing - way)) / max(size * wide, 1e-6)
    y = abs(slope - 0.16) / max(size, 1e-6)
    if x < 1 and y < 1:
        color = looks["sign"][3:]
    if x < 0.6 and y < 0.6:
        color = looks["sign"][:3]
    color = subject(looks, row, column, side, color)
    return ((np.asarray(color) - 0.5) * looks["filter"][3] + 0.5) * looks["filter"][:3]


def ground(looks, bearing, slope):
    way, half, dash, edges = looks["road_shape"]
    reach = 1.7 / max(-slope, 0.01)
    aside, along = abs(reach * math.sin(bearing - way)), reach * math.cos(bearing - way)
    if not aside < half:
        return looks["ground"]
    middle = aside < 0.22 and along % (2 * dash) < dash
    edge = abs(aside - half + 0.4) < 0.15 and edges > 0
    return looks["paint"] if middle or edge else looks["road"]


def house(looks, bearing, slope, behind):
    place = bearing * 16 / (2 * math.pi)
    sector = min(int(place), 15)
    tall, away, across, storey = looks["houses"][:, sector]
    height = slope * away + 1.7
    if away >= 1e3:
        return behind
    if 0 <= height - tall < looks["roof_height"]:
        return looks["roof"]
    if not 0 <= height < tall:
        return behind
    if height < looks["front_height"][sector]:
        return looks["fronts"][:, sector]
    inside = place - sector
    repeats, part = looks["band_shape"]
    if height > tall * (1 - part) and (inside * repeats * 2) % 1 < 0.6:
        return looks["bands"]
    wide, high, bright = looks["windows"]
    glass = abs((inside * across) % 1 - 0.5) < wide and abs((height / storey) % 1 - 0.5) < high
    return looks["walls"][:, sector] * (bright if glass else 1.0)


def subject(looks, row, column, side, behind):
    x, y = (column + 0.5) / side * 2 - 1, (row + 0.5) / side * 2 - 1
    east, south, radius, waves = looks["subject_shape"]
    dx, dy = x - east, y - south
    if dx * dx + dy * dy < radius * radius:
        ripple = math.sin(waves * (dx + 0.5 * dy) * 3) * math.sin(waves * (dy - 0.3 * dx) * 2)
        behind = looks["subject"] * (1 + 0.25 * ripple)
    first, share = looks["bar"]
    return np.full(3, 0.12) if abs((x + 1) / 2 - first) < share / 2 else behind


def test_pictures_match_a_loop_over_rays(taken):
    side = 24
    looks = scene_appearance(SEED, taken, PRESET)
    plain = looks.take(slice(None))
    plain.filter[:, 4] = 0.0
    fast = render(plain, np.zeros(len(taken), np.uint64), side).astype(int)
    off = total = 0
    for number in range(0, len(taken), 3):
        one = {name: getattr(plain, name)[number] for name in plain.__slots__}
        for row in range(0, side, 2):
            for column in range(1, side, 2):
                slow = np.clip(slow_pixel(one, row, column, side), 0, 1) * 255 + 0.5
                total += 1
                # A ray on the very edge of a thing may fall to either side in float32.
                off += np.abs(fast[number, row, column] - slow.astype(int)).max() > 1
    assert total > 2_000
    assert off / total < 0.003


def test_a_picture_does_not_depend_on_its_batch_or_its_place_in_it(taken):
    together = render_shots(SEED, taken, PRESET)
    alone = np.concatenate([render_shots(SEED, [shot], PRESET) for shot in taken])
    backwards = render_shots(SEED, taken[::-1], PRESET, threads=1)[::-1]
    assert (together == alone).all()
    assert (together == backwards).all()


def test_a_roof_is_seen_whether_or_not_another_picture_has_a_wall(taken):
    looks = scene_appearance(SEED, [taken[0]] * 2, PRESET)
    looks.filter[:, 4] = looks.subject_shape[:, 2] = looks.sign_shape[:, 1] = 0.0
    looks.trees[:, 2] = looks.bar[:, 1] = 0.0
    looks.houses[:, 0], looks.houses[:, 1] = 5.0, 10.0
    looks.fov[:], looks.roof_height[:] = 0.7, 3.0
    looks.pitch[:] = (0.75, 0.1)  # the first looks up, over the wall
    names = np.zeros(2, np.uint64)
    both = render(looks, names, 32)
    assert (render(looks.take(slice(0, 1)), names[:1], 32) == both[:1]).all()
    assert (both[0, -1] != both[0, 0]).any()


def test_pictures_differ_from_each_other_and_from_another_planet(taken):
    here, there = render_shots(SEED, taken, PRESET), render_shots(SEED + 1, taken, PRESET)
    assert len({picture.tobytes() for picture in here}) == len(taken)
    assert not {picture.tobytes() for picture in here} & {picture.tobytes() for picture in there}


def test_a_repeated_photo_is_nearly_but_not_quite_the_first(taken):
    import dataclasses

    first = next(shot for shot in taken if shot.kind == "photo")
    again = dataclasses.replace(first, name=first.name + "-again", near_duplicate_of=first.name)
    other = next(shot for shot in taken if shot.kind == "photo" and shot.name != first.name)
    one, two, three = render_shots(SEED, [first, again, other], PRESET).astype(float)
    assert 0 < np.abs(one - two).mean() < 0.5 * np.abs(one - three).mean()


def test_a_panorama_closes_and_shows_what_a_camera_shows(taken):
    looks = scene_appearance(SEED, taken[:1], PRESET)
    looks.filter[:, 4] = 0.0
    looks.subject_shape[:, 2] = 0.0
    wide = render(looks, np.zeros(1, np.uint64), 128, panorama=True)[0].astype(int)
    assert wide.shape == (256, 512, 3)
    seam = np.abs(wide[:, 0] - wide[:, -1]).max(axis=1) > 40
    assert seam.mean() < 0.1
    horizon = render(looks, np.zeros(1, np.uint64), 128)[0].astype(int)
    # The middle column of both looks along the heading; compare where slopes agree.
    pitch, reach = float(looks.pitch[0]), math.tan(float(looks.fov[0]) / 2)
    same = 0
    for row in range(128):
        slope = reach * (1 - (row + 0.5) / 128 * 2) + pitch
        over = round((0.5 - math.atan(slope) / math.pi) * 256 - 0.5)
        same += np.abs(horizon[row, 64] - wide[over, 256]).max() <= 30
    assert same / 128 > 0.9


def test_kinds_of_shape_are_not_mixed(taken):
    import dataclasses

    wide = dataclasses.replace(taken[0], panorama=True)
    with pytest.raises(ValueError, match="panoramas"):
        render_shots(SEED, [taken[0], wide], PRESET)
