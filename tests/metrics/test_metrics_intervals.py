"""Clustered intervals against resampled rows, exact permutations and known values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint.metrics.intervals import (
    bootstrap,
    cluster_codes,
    clustered_se,
    design_effect,
    paired_bootstrap,
    ratio,
)

number = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-100, 100))
rows = st.lists(st.tuples(number, st.integers(0, 6)), min_size=1, max_size=25)


def columns(table):
    return np.array([r[0] for r in table]), np.array([r[1] for r in table], dtype=int)


def resampled_in_a_loop(values, clusters, statistic, seed, resamples):
    """Statistic of each resample, with the rows of all drawn clusters concatenated."""
    rng = np.random.default_rng(seed)
    members = [values[clusters == c] for c in np.unique(clusters)]
    figures = []
    for _ in range(resamples):
        chosen = [members[i] for i in rng.integers(0, len(members), len(members))]
        figures.append(getattr(np, statistic)(np.concatenate(chosen)))
    return figures


@settings(max_examples=40, deadline=None)
@given(rows, st.sampled_from(["mean", "median"]), st.integers(0, 9))
def test_bootstrap_equals_loop_over_resampled_rows(table, statistic, seed):
    values, clusters = columns(table)
    interval = bootstrap(values, clusters, seed=seed, statistic=statistic, resamples=60, level=0.8)
    assert interval.value == pytest.approx(getattr(np, statistic)(values))
    count = len(set(clusters.tolist()))
    assert (interval.rows, interval.clusters, interval.level) == (len(values), count, 0.8)
    if count == 1:
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
        return
    figures = resampled_in_a_loop(values, clusters, statistic, seed, 60)
    ends = np.quantile(figures, [0.1, 0.9])
    assert (interval.low, interval.high) == pytest.approx(tuple(ends), abs=1e-9)


@given(rows)
def test_clustered_se_and_design_effect_equal_loop(table):
    values, clusters = columns(table)
    count, mean = len(set(clusters.tolist())), sum(values) / len(values)
    if count < 2:
        assert math.isnan(clustered_se(values, clusters))
        assert math.isnan(design_effect(values, clusters))
        return
    total = 0.0
    for c in set(clusters.tolist()):
        off = 0.0
        for v, cluster in zip(values, clusters, strict=True):
            off += (v - mean) if cluster == c else 0.0
        total += off**2
    variance = count / (count - 1) * total / len(values) ** 2
    assert clustered_se(values, clusters) == pytest.approx(math.sqrt(variance), abs=1e-9)
    independent = np.var(values, ddof=1) / len(values)
    if len(set(values.tolist())) == 1:
        assert math.isnan(design_effect(values, clusters))
    elif independent > 1e-6:
        assert design_effect(values, clusters) == pytest.approx(variance / independent, abs=1e-6)


def test_clustered_se_of_independent_rows_is_standard_error():
    values = np.random.default_rng(0).normal(size=500)
    ordinary = np.std(values, ddof=1) / math.sqrt(500)
    assert clustered_se(values, np.arange(500)) == pytest.approx(ordinary)
    assert design_effect(values, np.arange(500)) == pytest.approx(1)
    interval = bootstrap(values, np.arange(500), seed=1, resamples=4_000)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * ordinary, rel=0.05)


def test_clustered_se_copies_of_rows_add_no_information():
    once = np.random.default_rng(0).normal(size=300)
    values, clusters = np.repeat(once, 6), np.repeat(np.arange(300), 6)
    # Slightly more than 6, because the two variances have different degrees of freedom.
    assert design_effect(values, clusters) == pytest.approx(6 * (1799 / 1800) * (300 / 299))
    assert clustered_se(values, clusters) == pytest.approx(clustered_se(once, np.arange(300)))
    single = bootstrap(once, np.arange(300), seed=3, resamples=500)
    copied = bootstrap(values, clusters, seed=3, resamples=500)
    assert (single.low, single.high) == pytest.approx((copied.low, copied.high))


def test_bootstrap_clustered_data_needs_clusters_for_coverage():
    clustered = plain = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        clusters = rng.integers(0, 80, 600)
        values = rng.normal(size=80)[clusters] + rng.normal(size=600)
        wide = bootstrap(values, clusters, seed=seed, resamples=300)
        narrow = bootstrap(values, np.arange(600), seed=seed, resamples=300)
        clustered += wide.low <= 0 <= wide.high
        plain += narrow.low <= 0 <= narrow.high
    assert clustered >= 0.87 * 100
    assert plain <= 0.75 * 100


def test_bootstrap_is_determined_by_seed():
    values, clusters = np.random.default_rng(0).random(200), np.arange(200) // 4
    same = [bootstrap(values, clusters, seed=5, resamples=200) for _ in range(2)]
    assert same[0] == same[1]
    assert bootstrap(values, clusters, seed=6, resamples=200) != same[0]
    paired = [
        paired_bootstrap(values, values[::-1], clusters, seed=5, resamples=200) for _ in range(2)
    ]
    assert paired[0] == paired[1]


def exact_p(a, b, clusters):
    """Exact p value over all ways to swap the two runs, cluster by cluster."""
    sums = [float((a - b)[clusters == c].sum()) for c in np.unique(clusters)]
    ways = list(itertools.product([1, -1], repeat=len(sums)))
    slack = 1e-9 * sum(map(abs, sums))
    extreme = 0
    for signs in ways:
        total = sum(sign * s for sign, s in zip(signs, sums, strict=True))
        extreme += abs(total) >= abs(sum(sums)) - slack
    return extreme / len(ways)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(number, number, st.integers(0, 6)), min_size=1, max_size=20))
def test_paired_bootstrap_p_value_equals_exact_permutation(table):
    a, b = (np.array([row[i] for row in table]) for i in (0, 1))
    clusters = np.array([row[2] for row in table])
    comparison = paired_bootstrap(a, b, clusters, seed=1, resamples=1_500)
    exact = exact_p(a, b, clusters)
    assert comparison.p_value == pytest.approx(exact, abs=5 * math.sqrt(0.25 / 1_500) + 1 / 1_500)
    assert comparison.difference.value == pytest.approx(float(np.mean(a) - np.mean(b)), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(number, st.floats(0.5, 9), st.integers(0, 6)),
        min_size=2,
        max_size=20,
        unique_by=lambda row: row[2],
    ),
    st.integers(0, 9),
)
def test_ratio_equals_loop_over_resampled_rows(table, seed):
    above, below = (np.array([row[i] for row in table for _ in "ab"]) for i in (0, 1))
    clusters = np.array([row[2] for row in table for _ in "ab"])
    interval = ratio(above, below, clusters, seed=seed, resamples=40, level=0.8)
    assert interval.value == pytest.approx(above.sum() / below.sum())
    assert (interval.rows, interval.clusters) == (len(above), len(table))
    rng, members = np.random.default_rng(seed), np.unique(clusters)
    figures = []
    for _ in range(40):
        chosen = [
            np.flatnonzero(clusters == c)
            for c in members[rng.integers(0, len(members), len(members))]
        ]
        rows = np.concatenate(chosen)
        figures.append(above[rows].sum() / below[rows].sum())
    ends = np.quantile(figures, [0.1, 0.9])
    assert (interval.low, interval.high) == pytest.approx(tuple(ends), abs=1e-9)


def test_ratio_possible_zero_denominator_has_no_interval():
    interval = ratio([1.0, 0.0], [1.0, 0.0], [0, 1], seed=0, resamples=50)
    assert interval.value == 1.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert math.isnan(ratio([1.0], [0.0], [0], seed=0, resamples=50).value)
    with pytest.raises(ValueError, match="below: 1 rows, expected 2"):
        ratio([1.0, 2.0], [1.0], [0, 1], seed=0)


def test_paired_bootstrap_p_value_is_positive_and_one_for_equal_runs():
    sure = paired_bootstrap(np.ones(400), np.zeros(400), np.arange(400), seed=0, resamples=99)
    assert sure.p_value == 1 / 100
    assert (sure.difference.value, sure.difference.low, sure.difference.high) == (1, 1, 1)
    values = np.random.default_rng(0).random(50)
    assert paired_bootstrap(values, values, np.arange(50), seed=0, resamples=99).p_value == 1
    assert paired_bootstrap(np.ones(9), np.zeros(9), np.zeros(9), seed=0, resamples=99).p_value == 1


def test_paired_bootstrap_swapped_runs_negate_difference():
    rng = np.random.default_rng(2)
    a, b, clusters = rng.random(120), rng.random(120), rng.integers(0, 30, 120)
    forward, backward = (
        paired_bootstrap(*pair, clusters, seed=4, resamples=300) for pair in ((a, b), (b, a))
    )
    assert forward.p_value == backward.p_value
    assert forward.difference.low == pytest.approx(-backward.difference.high)


def test_paired_bootstrap_p_values_of_equal_clustered_runs_are_uniform():
    low = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        clusters = rng.integers(0, 40, 400)
        a, b = (rng.normal(size=40)[clusters] + rng.normal(size=400) for _ in "ab")
        low += paired_bootstrap(a, b, clusters, seed=seed, resamples=200).p_value <= 0.1
    assert 0.03 * 120 <= low <= 0.18 * 120


def test_cluster_codes_missing_creator_is_its_own_cluster():
    assert cluster_codes(["x", None, "y", "x", None]).tolist() == [0, 1, 2, 0, 3]
    assert cluster_codes([None, None, "x", None, "x"]).tolist() == [0, 1, 2, 3, 2]
    assert cluster_codes([]).shape == (0,)


def test_intervals_without_rows_are_nan():
    interval = bootstrap([], [], seed=0, resamples=10)
    assert (interval.rows, interval.clusters) == (0, 0)
    assert all(math.isnan(x) for x in (interval.value, interval.low, interval.high))
    assert math.isnan(bootstrap([], [], seed=0, statistic="median", resamples=10).value)
    assert math.isnan(paired_bootstrap([], [], [], seed=0, resamples=10).p_value)
    assert math.isnan(clustered_se([], []))
    assert math.isnan(design_effect([], []))


def test_intervals_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="values: row 1 is nan"):
        bootstrap([1.0, math.nan], [0, 1], seed=0)
    with pytest.raises(ValueError, match="clusters: shape"):
        bootstrap([1.0, 2.0], [0], seed=0)
    with pytest.raises(ValueError, match="b: 1 rows, expected 2"):
        paired_bootstrap([1.0, 2.0], [1.0], [0, 1], seed=0)
    with pytest.raises(ValueError, match="neither 'mean' nor 'median'"):
        bootstrap([1.0], [0], seed=0, statistic="mode")
    for wrong in ({"level": 1.0}, {"resamples": 0}):
        with pytest.raises(ValueError, match="resamples at level"):
            bootstrap([1.0], [0], seed=0, **wrong)
