"""Split-conformal levels: coverage over draws, few rows, one row per creator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinpoint.metrics.conformal import conformal_level, sample_one_per_creator


@pytest.mark.parametrize(("rows", "share"), [(9, 0.5), (9, 0.9), (50, 0.9), (199, 0.5)])
def test_conformal_level_covers_new_row_with_stated_share(rows, share):
    rng = np.random.default_rng(rows)
    scores = rng.beta(2, 5, (4_000, rows + 1))
    hit = [row[-1] <= conformal_level(row[:-1], share) for row in scores]
    assert share - 0.025 < np.mean(hit) < share + 1 / (rows + 1) + 0.025


def test_conformal_level_is_an_order_statistic():
    scores = np.arange(1, 10) / 10  # nine rows
    assert conformal_level(scores, 0.5) == 0.5
    assert conformal_level(scores, 0.9) == 0.9
    assert conformal_level(scores[:8], 0.9) == math.inf
    assert conformal_level(np.append(scores[:8], math.inf), 0.9) == math.inf
    assert conformal_level([], 0.5) == math.inf
    for bad in (0.0, 1.0):
        with pytest.raises(ValueError, match="share"):
            conformal_level(scores, bad)
    with pytest.raises(ValueError, match="NaN"):
        conformal_level([0.1, math.nan], 0.5)


def test_sample_one_per_creator_keeps_one_row_of_each():
    creators = ["anna", "bert", "anna", None, None, "bert", "anna"]
    draws = [sample_one_per_creator(creators, seed).tolist() for seed in range(40)]
    for rows in draws:
        assert rows == sorted(rows)
        assert sorted(creators[row] or "" for row in rows) == ["", "", "anna", "bert"]
    assert {row for rows in draws for row in rows} == set(range(7)), "some row is never drawn"
    assert draws[3] == sample_one_per_creator(creators, 3).tolist()
