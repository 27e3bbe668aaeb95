"""Calibration error against loops and against values known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.metrics.calibration import reliability

confidence = st.one_of(st.sampled_from([0.0, 0.3, 1.0, math.nan]), st.floats(0, 1))
rows = st.lists(st.tuples(confidence, st.booleans(), st.integers(0, 4)), max_size=40)


def binned_in_a_loop(stated, bins):
    """Bin stated rows by the rank of the first equal confidence; join bins of a single owner."""
    stated = sorted(stated, key=lambda row: row[0])
    bins = min(bins, max(1, len(stated) // 2))
    raw = {}
    for row in stated:
        lower = sum(other[0] < row[0] for other in stated)
        raw.setdefault(lower * bins // len(stated), []).append(row)
    joined, waiting = [], []
    for key in sorted(raw):
        alone = len({owner for _, _, owner in raw[key]}) == 1
        if alone and joined:
            joined[-1] += raw[key]
        elif alone:
            waiting += raw[key]
        else:
            joined.append(waiting + raw[key])
            waiting = []
    return joined or ([waiting] if waiting else [])


def errors_in_a_loop(binned):
    total = sum(len(rows_of_bin) for rows_of_bin in binned)
    plain = square = 0.0
    for rows_of_bin in binned:
        off = [c - right for c, right, _ in rows_of_bin]
        gap = sum(off) / len(off)
        sums = {}
        for (_, _, owner), d in zip(rows_of_bin, off, strict=True):
            sums[owner] = sums.get(owner, 0.0) + d - gap
        owners = len(sums)
        chance = math.nan
        if owners > 1:
            chance = owners / (owners - 1) * sum(s * s for s in sums.values()) / len(off) ** 2
        plain += len(off) / total * abs(gap)
        square += len(off) / total * (gap * gap - chance)
    return plain, square


@given(rows, st.integers(1, 15), st.booleans())
def test_reliability_bins_and_errors_equal_loop(table, bins, by_creator):
    owners = [row[2] if by_creator else n for n, row in enumerate(table)]
    measured = reliability(
        [row[0] for row in table],
        [row[1] for row in table],
        np.array(owners, dtype=int) if by_creator else None,
        bins,
    )
    stated = [(*row[:2], o) for row, o in zip(table, owners, strict=True) if row[0] == row[0]]
    assert (measured.rows, measured.stated) == (len(table), len(stated))
    if not stated:
        assert measured.bins == ()
        assert math.isnan(measured.ece)
        assert math.isnan(measured.debiased_square)
        assert math.isnan(measured.debiased_ece)
        return
    binned = binned_in_a_loop(stated, bins)
    assert [b.rows for b in measured.bins] == [len(rows_of_bin) for rows_of_bin in binned]
    for reliability_bin, rows_of_bin in zip(measured.bins, binned, strict=True):
        assert (reliability_bin.low, reliability_bin.high) == (
            rows_of_bin[0][0],
            rows_of_bin[-1][0],
        )
        assert reliability_bin.confidence == pytest.approx(
            sum(c for c, _, _ in rows_of_bin) / len(rows_of_bin)
        )
        assert reliability_bin.accuracy == pytest.approx(
            sum(right for _, right, _ in rows_of_bin) / len(rows_of_bin)
        )
    plain, square = errors_in_a_loop(binned)
    assert measured.ece == pytest.approx(plain, abs=1e-12)
    assert measured.debiased_square == pytest.approx(square, abs=1e-12, nan_ok=True)
    if not math.isnan(square):
        assert measured.debiased_ece == pytest.approx(math.sqrt(max(0.0, square)), abs=1e-6)


@given(rows, st.randoms(use_true_random=False))
def test_reliability_is_independent_of_row_order(table, random):
    def measured(order):
        return reliability([r[0] for r in order], [r[1] for r in order], [r[2] for r in order])

    original, shuffled = measured(table), measured(random.sample(table, len(table)))
    assert original.ece == pytest.approx(shuffled.ece, nan_ok=True)
    assert original.debiased_square == pytest.approx(
        shuffled.debiased_square, abs=1e-12, nan_ok=True
    )
    assert [b.rows for b in original.bins] == [b.rows for b in shuffled.bins]


def test_reliability_bins_without_ties_have_equal_counts():
    stated = np.random.default_rng(0).permutation(np.linspace(0, 1, 2_000))
    measured = reliability(stated, stated > 0.5)
    assert len(measured.bins) == 15
    assert {b.rows for b in measured.bins} <= {133, 134}
    assert all(a.high < b.low for a, b in zip(measured.bins, measured.bins[1:], strict=False))


def test_debiased_ece_of_calibrated_rows_is_zero_on_average():
    plain, square, debiased = [], [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        stated = rng.random(2_000)
        measured = reliability(stated, rng.random(2_000) < stated)
        plain.append(measured.ece)
        square.append(measured.debiased_square)
        debiased.append(measured.debiased_ece)
    assert 0.022 < np.mean(plain) < 0.030
    standard_error = np.std(square) / math.sqrt(len(square))
    assert abs(np.mean(square)) < 3.5 * standard_error < (0.025 / 2) ** 2
    assert np.median(debiased) < 0.006
    assert np.mean(debiased) < 0.012
    assert np.mean(np.array(square) < 0) > 0.4


@pytest.mark.parametrize("off", [0.05, 0.1, 0.3])
def test_debiased_square_equals_known_calibration_gap(off):
    square = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        stated = rng.uniform(off, 1, 2_000)
        square.append(reliability(stated, rng.random(2_000) < stated - off).debiased_square)
    assert math.sqrt(np.mean(square)) == pytest.approx(off, abs=0.004)


def test_debiased_square_clustered_creators_are_not_miscalibration():
    unclustered, clustered = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        creators = np.repeat(np.arange(200), 10)
        # All ten photos of a creator are right or wrong together, at the stated rate.
        stated = np.repeat(rng.random(200), 10)
        right = np.repeat(rng.random(200), 10) < stated
        order = rng.permutation(2_000)
        stated, right, creators = stated[order], right[order], creators[order]
        unclustered.append(reliability(stated, right).debiased_square)
        clustered.append(reliability(stated, right, creators).debiased_square)
    error = np.std(clustered) / math.sqrt(len(clustered))
    assert abs(np.mean(clustered)) < 3.5 * error
    assert np.mean(unclustered) > 10 * error


def test_reliability_few_distinct_confidences_give_few_bins():
    measured = reliability([0.2] * 50 + [0.8] * 50, [1] * 10 + [0] * 40 + [1] * 40 + [0] * 10)
    assert [(b.low, b.high, b.rows) for b in measured.bins] == [(0.2, 0.2, 50), (0.8, 0.8, 50)]
    assert [b.accuracy for b in measured.bins] == [0.2, 0.8]
    assert measured.ece == pytest.approx(0, abs=1e-12)
    # Exact agreement is better than chance, so the debiased square is negative.
    assert measured.debiased_square == pytest.approx(-0.2 * 0.8 / 49)
    assert measured.debiased_ece == 0


def test_reliability_single_row_has_ece_only():
    measured = reliability([0.7], [True])
    assert measured.ece == pytest.approx(0.3)
    assert math.isnan(measured.debiased_square)
    assert math.isnan(measured.debiased_ece)
    assert len(measured.bins) == 1
    assert math.isnan(reliability([0.7, 0.6], [1, 0], ["one", "one"]).debiased_ece)


def test_reliability_invalid_columns_are_rejected():
    with pytest.raises(ValueError, match=r"confidence: row 1 is 1\.5"):
        reliability([0.5, 1.5], [1, 1])
    with pytest.raises(ValueError, match="right: 1 rows, expected 2"):
        reliability([0.5, 0.5], [1])
    with pytest.raises(ValueError, match="clusters: shape"):
        reliability([0.5, 0.5], [1, 1], [0])
    with pytest.raises(ValueError, match="at least one bin"):
        reliability([0.5], [1], bins=0)
