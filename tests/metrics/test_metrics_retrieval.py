"""Hit rates and oracle distances of shortlists against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.metrics.conventions import CONVENTIONS
from pinpoint.metrics.geolocation import THRESHOLDS_KM, accuracies
from pinpoint.metrics.retrieval import hit_rates, oracle_km

WIDTH = 7
distance = st.one_of(st.sampled_from([*THRESHOLDS_KM, math.nan]), st.floats(0, 20_038))
shortlists = st.lists(st.lists(distance, min_size=WIDTH, max_size=WIDTH), max_size=12)


def table(rows):
    return np.array(rows, dtype=float).reshape(-1, WIDTH)


def nearest_in_a_loop(row, k):
    best = math.nan
    for d in row[:k]:
        if not math.isnan(d) and (math.isnan(best) or d < best):
            best = d
    return best


@given(shortlists, st.integers(1, WIDTH))
def test_oracle_km_is_minimum_of_first_k(rows, k):
    slow = [nearest_in_a_loop(row, k) for row in rows]
    assert np.array_equal(oracle_km(table(rows), k), slow, equal_nan=True)


@given(shortlists, st.sampled_from(["g3", "geoclip"]))
def test_hit_rates_equal_loop(rows, name):
    convention = CONVENTIONS[name]
    depths = (1, 3, WIDTH)
    rates = hit_rates(table(rows), depths, convention)
    assert rates.shape == (3, 5)
    for i, k in enumerate(depths):
        for j, threshold in enumerate(THRESHOLDS_KM):
            hits = 0
            for row in rows:
                near = [d < threshold or (name == "geoclip" and d == threshold) for d in row[:k]]
                hits += any(near)
            slow = hits / len(rows) if rows else math.nan
            assert rates[i, j] == pytest.approx(slow, nan_ok=True)


@given(shortlists)
def test_hit_rates_grow_with_depth(rows):
    rates = hit_rates(table(rows), range(1, WIDTH + 1), CONVENTIONS["g3"])
    if rows:
        assert (np.diff(rates, axis=0) >= 0).all()
        first = table(rows)[:, 0]
        assert tuple(rates[0]) == accuracies(first, CONVENTIONS["g3"])


def test_oracle_km_without_candidates_is_nan():
    nothing = np.full((2, 3), np.nan)
    nothing[0, 2] = 0.1  # padding may be at any position
    assert np.isnan(oracle_km(nothing, 2)).all()
    assert oracle_km(nothing, 3)[0] == 0.1
    assert hit_rates(nothing, (3,), CONVENTIONS["g3"]).tolist() == [[0.5] * 5]


@pytest.mark.parametrize("k", [0, -1, WIDTH + 1])
def test_oracle_km_depth_out_of_range_is_rejected(k):
    with pytest.raises(ValueError, match=f"for lists of {WIDTH} candidates"):
        oracle_km(np.zeros((2, WIDTH)), k)


def test_oracle_km_negative_distance_is_rejected_with_its_row():
    with pytest.raises(ValueError, match="row 0, column 1 is -1"):
        oracle_km([[0.0, -1.0]], 1)
