"""Placeholder groups equal those of a simple loop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pinpoint.evaluation.metrics import placeholders
from pinpoint.evaluation.metrics.placeholders import placeholder_groups
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point


def unit(rng, n, width=64):
    vectors = rng.normal(size=(n, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def groups_by_loop(vectors, positions):
    """Simple loop over all pairs."""
    assigned, groups = set(), []
    for first in range(len(vectors)):
        if first in assigned:
            continue
        members = [
            other
            for other in range(first, len(vectors))
            if other not in assigned and vectors[first] @ vectors[other] >= placeholders.MIN_COSINE
        ]
        distinct = [
            trio
            for trio in itertools.combinations(members, placeholders.MIN_LOCATIONS)
            if all(
                geodesic_m(Point(*positions[a]), Point(*positions[b])) > placeholders.MIN_DISTANCE_M
                for a, b in itertools.combinations(trio, 2)
            )
        ]
        if distinct:
            assigned |= set(members)
            groups.append(members)
    return sorted(groups, key=lambda members: (-len(members), members[0]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("block", [7, 1_024])
def test_placeholder_groups_equal_those_of_a_loop(monkeypatch, seed, block):
    monkeypatch.setattr(placeholders, "_BLOCK_ROWS", block)
    rng = np.random.default_rng(seed)
    vectors = unit(rng, 60)
    # Copies of three vectors: some slightly changed, some beyond the threshold.
    for number in range(30):
        changed = vectors[number % 3] + rng.normal(0, rng.choice([0, 1e-3, 2e-2]), 64)
        vectors[30 + number] = changed / np.linalg.norm(changed)
    order = rng.permutation(60)
    vectors = vectors[order]
    positions = rng.uniform((-60, -180), (60, 180), (60, 2))
    positions[rng.integers(0, 60, 20)] = (10.0, 20.0)
    groups = placeholder_groups(vectors, positions)
    assert [members.tolist() for members in groups] == groups_by_loop(vectors, positions)
    assert groups


@pytest.mark.parametrize(
    ("positions", "flagged"),
    [
        ([(10, 20), (10, 20), (10, 20), (10, 20)], False),
        ([(10, 20), (10.001, 20), (10.002, 20), (10.003, 20)], False),
        ([(10, 20), (40, 20), (10, 20), (40, 20)], False),
        ([(10, 20), (40, 20), (10, 20), (-40, 20)], True),
        ([(0, 179.999), (0, -179.999), (0, 180), (0, 0)], False),
    ],
    ids=["one place", "one street", "two places", "three places", "across the antimeridian"],
)
def test_placeholder_needs_three_distinct_locations(positions, flagged):
    vectors = np.repeat(unit(np.random.default_rng(1), 1), len(positions), axis=0)
    assert bool(placeholder_groups(vectors, np.array(positions, dtype=float))) is flagged


def test_placeholder_groups_accept_fp16_and_empty_input():
    vectors = np.repeat(unit(np.random.default_rng(2), 1), 3, axis=0).astype(np.float16)
    (group,) = placeholder_groups(vectors, np.array([(0.0, 0), (0, 50), (50, 0)]))
    assert group.tolist() == [0, 1, 2]
    assert placeholder_groups(np.zeros((0, 8)), np.zeros((0, 2))) == []
    # A vector of length 0 has no near-duplicates.
    assert (
        placeholder_groups(np.zeros((4, 8)), np.array([(0.0, 0), (0, 50), (50, 0), (9, 9)])) == []
    )
