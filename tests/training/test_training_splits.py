"""Validation shares no creator, no sequence and no location with training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pinpoint.errors import BadRequestError
from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.records import Point
from pinpoint.training.core.samples import texts
from pinpoint.training.core.splits import BUFFER, SplitSettings, connected_groups, split_samples
from training.synthetic_samples import scattered_samples


def groups_by_loop(samples):
    """Groups of images that share names, by repeated loops over all images."""
    names = [
        {("creator", a)} - {("creator", "")} | {("sequence", s)} - {("sequence", "")}
        for a, s in zip(samples.creators.tolist(), samples.sequences.tolist(), strict=True)
    ]
    groups = [-1] * len(names)
    for first in range(len(names)):
        if groups[first] >= 0:
            continue
        groups[first], group_names, grew = first, set(names[first]), True
        while grew:
            grew = False
            for k, image_names in enumerate(names):
                if groups[k] < 0 and image_names & group_names:
                    groups[k], grew = first, True
                    group_names |= image_names
    return groups


def same_partition(left, right):
    pairs = set(zip(list(left), list(right), strict=True))
    return len(pairs) == len(set(left)) == len(set(right))


def check_apart(samples, split):
    """Check every pair of a training and a validation image."""
    nearest = np.inf
    for t in split.train.tolist():
        here = Point(float(samples.lat[t]), float(samples.lon[t]))
        for v in split.validation.tolist():
            assert not samples.creators[t] or samples.creators[t] != samples.creators[v]
            assert not samples.sequences[t] or samples.sequences[t] != samples.sequences[v]
            there = Point(float(samples.lat[v]), float(samples.lon[v]))
            if abs(here.lat - there.lat) < 0.3:  # further apart in latitude is further than 25 km
                nearest = min(nearest, geodesic_m(here, there))
    assert nearest > split.settings.buffer_m
    return nearest


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_connected_groups_agree_with_loop(seed):
    samples = scattered_samples(120, cities=6, seed=seed, creators=40, drives=18)
    # Photos by the drivers tie creators and sequences together in chains.
    creators = samples.creators.copy()
    creators[::3] = "a1"
    creators[1::7] = "a2"
    samples = replace(samples, creators=creators)
    groups = connected_groups(samples)
    assert same_partition(groups.tolist(), groups_by_loop(samples))
    assert len(set(groups.tolist())) < len(samples)


def test_connected_groups_without_names_are_single_images():
    samples = scattered_samples(30, cities=3)
    empty = texts([""] * 30)
    alone = replace(samples, creators=empty, sequences=empty)
    assert len(set(connected_groups(alone).tolist())) == 30


@pytest.mark.parametrize("seed", range(4))
def test_split_samples_of_planet_shares_no_group(samples, seed):
    split = split_samples(samples, SplitSettings(seed=seed, val_fraction=0.25))
    check_apart(samples, split)
    assert sum(split.counts.values()) == len(samples)
    assert 0.2 < len(split.validation) / len(samples) < 0.45


@pytest.mark.parametrize(("seed", "buffer_m"), [(1, 500.0), (2, 1_500.0), (3, 0.0)])
def test_split_samples_with_small_cells_applies_buffer(seed, buffer_m):
    samples = scattered_samples(500, cities=5, seed=seed, creators=150, drives=60)
    settings = SplitSettings(seed=seed, val_fraction=0.3, buffer_m=buffer_m, h3_resolution=7)
    split = split_samples(samples, settings)
    check_apart(samples, split)
    counts = split.counts
    assert counts["left out: creator"] > 0
    assert (counts["left out: buffer"] > 0) == (buffer_m > 0)
    # Only images inside the buffer are left out; 1.006 covers sphere against ellipsoid.
    train = samples.positions[split.train]
    for row in np.flatnonzero(split.sides == BUFFER).tolist():
        assert haversine_m(train, samples.positions[row]).min() <= 1.006 * buffer_m * (1 + 1e-9)


def test_split_samples_leaves_out_groups_on_both_sides():
    samples = scattered_samples(400, cities=8, creators=60)
    split = split_samples(samples, SplitSettings(val_fraction=0.3))
    left = np.flatnonzero(split.sides == 2)
    groups = connected_groups(samples)
    assert len(left) > 0
    assert np.isin(groups[left], groups[split.train]).all()
    assert not np.isin(groups[split.validation], groups[split.train]).any()


def test_split_samples_is_determined_by_seed_and_samples(samples):
    settings = SplitSettings(seed=5, val_fraction=0.25)
    first = split_samples(samples, settings)
    again = split_samples(samples, settings)
    assert (first.sides == again.sides).all()
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 64
    other_splits = [
        split_samples(samples, replace(settings, seed=6)),
        split_samples(samples, replace(settings, buffer_m=1_001.0)),
        split_samples(replace(samples, lat=samples.lat + 1e-9), settings),
    ]
    assert len({first.fingerprint, *(split.fingerprint for split in other_splits)}) == 4
    assert (other_splits[0].sides != first.sides).any()
    assert (other_splits[1].sides == first.sides).all()


def test_split_samples_meets_val_fraction_to_one_cell():
    samples = scattered_samples(3_000, cities=300)
    unnamed = replace(samples, creators=texts([""] * 3_000), sequences=texts([""] * 3_000))
    for share in (0.05, 0.2, 0.5):
        split = split_samples(unnamed, SplitSettings(val_fraction=share))
        chosen = 3_000 - split.counts["train"]
        assert 0 <= chosen - share * 3_000 < 120


def test_split_samples_with_empty_side_or_invalid_settings_is_refused():
    city = scattered_samples(60, cities=1)
    with pytest.raises(BadRequestError, match=r"no image is left for train .*more areas"):
        split_samples(city, SplitSettings())
    cities = scattered_samples(60, cities=4, creators=1)
    one = replace(cities, creators=texts(["ann"] * 60))
    with pytest.raises(BadRequestError, match="no image is left for validation"):
        split_samples(one, SplitSettings(val_fraction=0.3))
    for wrong in (
        {"val_fraction": 0.0},
        {"val_fraction": 1.0},
        {"buffer_m": -1.0},
        {"h3_resolution": 16},
    ):
        with pytest.raises(BadRequestError, match="not"):
            SplitSettings(**wrong)
