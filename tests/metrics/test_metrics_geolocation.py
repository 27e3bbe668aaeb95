"""Accuracies, errors, GeoScore and areas against loops, with ties, abstentions and no rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.metrics.conventions import CONVENTIONS
from pinpoint.metrics.geolocation import (
    THRESHOLDS_KM,
    accuracies,
    area_accuracy,
    errors,
    geoscores,
    same_area,
    within,
)

# Distances equal to thresholds and missing answers are frequent.
distances = st.lists(
    st.one_of(st.sampled_from([*THRESHOLDS_KM, 0.0, math.nan]), st.floats(0, 20_038)), max_size=40
)
names = st.sampled_from(["Paris_FR", "Rome_IT", "NaN", "", None])


def accuracy_in_a_loop(column, threshold, comparison):
    right = 0
    for d in column:
        if math.isnan(d):
            continue
        if d < threshold or (comparison == "<=" and d == threshold):
            right += 1
    return right / len(column) if column else math.nan


def geoscore_in_a_loop(column, rounded):
    total = 0.0
    for d in column:
        score = 0.0 if math.isnan(d) else 5000 * math.exp(-d / 1492.7)
        total += round(score) if rounded else score
    return total / len(column) if column else math.nan


def test_thresholds_are_the_published_ones():
    assert THRESHOLDS_KM == (1, 25, 200, 750, 2500)


@given(distances, st.sampled_from(sorted(CONVENTIONS)))
def test_accuracies_equal_loop(column, name):
    convention = CONVENTIONS[name]
    slow = [accuracy_in_a_loop(column, t, convention.comparison) for t in THRESHOLDS_KM]
    assert accuracies(column, convention) == pytest.approx(slow, nan_ok=True)


@given(distances)
def test_errors_count_answered_rows_only(column):
    answered = sorted(d for d in column if not math.isnan(d))
    summary = errors(column)
    assert (summary.answered, summary.rows) == (len(answered), len(column))
    if not answered:
        assert math.isnan(summary.mean_km)
        assert math.isnan(summary.median_km)
        return
    half = len(answered) // 2
    middle = answered[half] if len(answered) % 2 else (answered[half - 1] + answered[half]) / 2
    assert summary.mean_km == pytest.approx(sum(answered) / len(answered))
    assert summary.median_km == pytest.approx(middle)


@given(distances, st.booleans())
def test_geoscores_any_distances_equal_the_loop(column, rounded):
    slow = geoscore_in_a_loop(column, rounded)
    scores = geoscores(column, rounded=rounded)
    mean = float(np.mean(scores)) if len(scores) else math.nan
    assert mean == pytest.approx(slow, nan_ok=True)


def test_geoscores_of_known_distances_are_exact():
    column = [0.0, 1492.7, 1492.7 * math.log(2), math.nan]
    assert geoscores(column, rounded=False) == pytest.approx([5000, 1839.397206, 2500, 0])
    assert geoscores(column, rounded=True).tolist() == [5000, 1839, 2500, 0]
    # Rounding is per photo, before the mean: PIGEON and OSV-5M differ on the same run.
    assert (CONVENTIONS["pigeon"].rounded, CONVENTIONS["osv5m"].rounded) == (True, False)


def test_accuracies_missing_answer_counts_as_wrong():
    with_all, with_some = [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, math.nan]
    osv5m = CONVENTIONS["osv5m"]
    assert accuracies(with_all, osv5m)[0] == 1.0
    assert accuracies(with_some, osv5m) == (0.75,) * 5
    assert geoscores(with_some, rounded=False)[3] == 0
    assert errors(with_some).mean_km == 0.5
    assert accuracies([math.nan] * 3, osv5m) == (0.0,) * 5


def test_accuracies_without_rows_are_nan():
    assert all(math.isnan(a) for a in accuracies([], CONVENTIONS["osv5m"]))
    assert geoscores([], rounded=False).tolist() == []
    empty = area_accuracy([], [])
    assert (empty.rows, empty.labeled) == (0, 0)
    assert math.isnan(empty.as_released)
    assert math.isnan(empty.labeled_only)


@given(st.lists(st.tuples(names, names), max_size=30))
def test_area_accuracy_equals_loop_for_both_denominators(pairs):
    labels, answers = [p[0] for p in pairs], [p[1] for p in pairs]
    right = labeled = 0
    rows = []
    for label, answer in pairs:
        has_label = label is not None and label != ""
        labeled += has_label
        rows.append(has_label and label == answer)
        right += rows[-1]
    accuracy = area_accuracy(labels, answers)
    assert same_area(labels, answers).tolist() == rows
    assert (accuracy.rows, accuracy.labeled) == (len(pairs), labeled)
    assert accuracy.as_released == pytest.approx(
        right / len(pairs) if pairs else math.nan, nan_ok=True
    )
    assert accuracy.labeled_only == pytest.approx(
        right / labeled if labeled else math.nan, nan_ok=True
    )


def test_area_accuracy_missing_labels_lower_as_released_only():
    labels = ["Nord_FR", None, "", "Roma_IT"]
    accuracy = area_accuracy(labels, ["Nord_FR", None, "", None])
    assert (accuracy.as_released, accuracy.labeled_only) == (0.25, 0.5)
    # Near is not equal: a name is compared letter by letter.
    assert not same_area(["Waitangi_NaN_Chatham Islands_NZ"], ["Waitangi__Chatham Islands_NZ"])[0]


@pytest.mark.parametrize("bad", [[-1.0], [math.inf], [[1.0, 2.0]]])
def test_geolocation_invalid_distances_are_rejected(bad):
    for measure in (errors, lambda d: accuracies(d, CONVENTIONS["g3"])):
        with pytest.raises(ValueError, match="distances_km"):
            measure(bad)


def test_geolocation_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="more than 0 km"):
        within([1.0], 0.0, CONVENTIONS["g3"])
    with pytest.raises(ValueError, match="2 labels but 1 answers"):
        area_accuracy(["a", "b"], ["a"])
    assert within(np.array([1.0]), 1.0, CONVENTIONS["geoclip"]).all()
