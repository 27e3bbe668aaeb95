"""Selective risk and AUROC against loops over thresholds and pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.metrics.abstention import abstention_auroc, risk_curve

confidence = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan]), st.floats(-5, 5))
rows = st.lists(st.tuples(confidence, st.integers(0, 1)), max_size=25)


def below_all(c):
    return -math.inf if math.isnan(c) else c


def curve_in_a_loop(pairs):
    """Coverage and risk at every threshold, and the area under the curve."""
    points, area = [], 0.0
    for least in sorted({below_all(c) for c, _ in pairs}, reverse=True):
        answered = [loss for c, loss in pairs if below_all(c) >= least]
        risk = sum(answered) / len(answered)
        points.append((least, len(answered) / len(pairs), risk))
        area += risk * sum(below_all(c) == least for c, _ in pairs)
    return points, area / len(pairs) if pairs else math.nan


@given(rows)
def test_risk_curve_equals_loop(pairs):
    points, area = curve_in_a_loop(pairs)
    curve = risk_curve([c for c, _ in pairs], [loss for _, loss in pairs])
    assert curve.rows == len(pairs)
    least = [math.nan if math.isinf(p[0]) else p[0] for p in points]
    assert np.array_equal(curve.thresholds, least, equal_nan=True)
    assert curve.coverage == pytest.approx([p[1] for p in points])
    assert curve.risk == pytest.approx([p[2] for p in points])
    assert curve.aurc == pytest.approx(area, nan_ok=True)


@given(rows, st.randoms(use_true_random=False))
def test_risk_curve_is_independent_of_row_order(pairs, random):
    permuted = random.sample(pairs, len(pairs))
    original, shuffled = (
        risk_curve([c for c, _ in p], [x for _, x in p]) for p in (pairs, permuted)
    )
    assert np.array_equal(original.risk, shuffled.risk)
    assert original.aurc == pytest.approx(shuffled.aurc, nan_ok=True)


def test_risk_curve_full_coverage_has_overall_error_rate():
    curve = risk_curve([0.9, 0.8, 0.8, 0.1], [0, 1, 0, 1])
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3, 0.5])
    assert curve.aurc == pytest.approx((0 + 1 / 3 + 1 / 3 + 0.5) / 4)


def test_risk_curve_abstentions_rank_last_and_do_not_improve_aurc():
    answered = risk_curve([0.9, 0.5, 0.1], [0, 0, 1])
    abstained = risk_curve([0.9, 0.5, math.nan], [0, 0, 1])
    assert abstained.aurc == answered.aurc
    assert math.isnan(abstained.thresholds[-1])
    assert risk_curve([math.nan, math.nan], [1, 1]).aurc == 1.0


def test_aurc_good_ranking_is_below_chance_and_bad_above():
    losses = [0] * 50 + [1] * 50
    good, bad = np.linspace(1, 0, 100), np.linspace(0, 1, 100)
    assert risk_curve(good, losses).aurc < risk_curve([0.5] * 100, losses).aurc == 0.5
    assert risk_curve(bad, losses).aurc > 0.5


@given(rows)
def test_abstention_auroc_equals_share_of_ordered_pairs(pairs):
    above = [below_all(c) for c, good in pairs if good]
    below = [below_all(c) for c, good in pairs if not good]
    won = 0.0
    for a in above:
        for b in below:
            won += 1.0 if a > b else 0.5 if a == b else 0.0
    count = len(above) * len(below)
    auroc = abstention_auroc([c for c, _ in pairs], [good for _, good in pairs])
    assert auroc == pytest.approx(won / count if count else math.nan, nan_ok=True)


def test_abstention_auroc_extreme_cases_are_exact():
    assert abstention_auroc([3, 2, 1], [1, 1, 0]) == 1.0
    assert abstention_auroc([1, 1, 3], [1, 1, 0]) == 0.0
    assert abstention_auroc([1, 1, 1], [1, 0, 0]) == 0.5
    # Abstained (NaN) is below everything, and ties with itself.
    assert abstention_auroc([0.0, math.nan], [1, 0]) == 1.0
    assert abstention_auroc([math.nan, math.nan], [1, 0]) == 0.5


@pytest.mark.parametrize("answerable", [[], [1, 1], [0, 0]])
def test_abstention_auroc_single_class_is_nan(answerable):
    assert math.isnan(abstention_auroc([0.5] * len(answerable), answerable))


def test_risk_curve_without_rows_is_empty():
    curve = risk_curve([], [])
    assert (curve.rows, len(curve.risk), len(curve.coverage), len(curve.thresholds)) == (0, 0, 0, 0)
    assert math.isnan(curve.aurc)


def test_abstention_invalid_columns_are_rejected():
    with pytest.raises(ValueError, match="losses: row 1 is nan"):
        risk_curve([0.5, math.nan], [0.0, math.nan])
    with pytest.raises(ValueError, match="confidence: row 0 is inf"):
        abstention_auroc([math.inf], [1])
    with pytest.raises(ValueError, match="answerable: 1 rows, expected 2"):
        abstention_auroc([0.1, 0.2], [1])
