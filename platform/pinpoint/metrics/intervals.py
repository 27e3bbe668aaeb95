"""How much of a figure is chance, when photos come in clusters: an author's photos stand together.

IM2GPS3k has 2,997 photos by 198 authors: its standard errors are about 2.5 times those of
independent photos. Letters: N rows (photos), C clusters. Seeds are arguments: same seed, same
figures. NaN is refused here: say first what a missing answer is worth, or leave the row out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.metrics.rows import FloatColumn, check_numbers, mean, median

RESAMPLES: Final = 10_000
LEVEL: Final = 0.95
_RELATIVE_TOLERANCE: Final = 1e-9
"""Relative slack in comparing sums, so that rounding hides no tie."""

Codes = NDArray[np.int64]
Statistic = Literal["mean", "median"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with a percentile interval."""

    value: float
    low: float
    high: float
    level: float
    rows: int
    clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Run A against run B on the same rows."""

    difference: Interval
    """Mean of A less mean of B."""
    p_value: float
    """Two-sided, in (0, 1]: how often swapping runs at random gives a gap this large."""


def cluster_codes(authors: Sequence[str | None]) -> Codes:
    """Authors as numbers from 0; a photo without an author is a cluster of its own.

    Returns:
        `[N]`, in order of first appearance.
    """
    codes: dict[str, int] = {}
    author_codes, next_code = [], 0
    for author in authors:
        code = next_code if author is None else codes.setdefault(author, next_code)
        author_codes.append(code)
        next_code = max(next_code, code + 1)
    return np.array(author_codes, dtype=np.int64)


def clustered_se(values: ArrayLike, clusters: ArrayLike) -> float:
    """Standard error of the mean over clusters that were drawn at random.

    The linearised (sandwich) variance of a ratio of sums, `C / (C - 1) Σ (S_c - n_c m)² / N²`;
    with one row per cluster exactly the ordinary one. Source: Cameron and Miller 2015.

    Args:
        values: `[N]`.
        clusters: `[N]` codes.

    Returns:
        NaN with fewer than two clusters.

    Raises:
        ValueError: Columns of different length, or a number that is not finite.
    """
    column, cluster, count = _check_clusters(values, clusters)
    if count < 2:
        return float("nan")
    off = np.bincount(cluster, column - column.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.square(off).sum()) / len(column))


def design_effect(values: ArrayLike, clusters: ArrayLike) -> float:
    """Variance of the mean over clusters, divided by that over independent rows (Kish 1965).

    1 for independent photos; N rows are worth N / effect independent ones.

    Args:
        values: `[N]`.
        clusters: `[N]` codes.

    Returns:
        NaN with fewer than two clusters, or where all values are equal.

    Raises:
        ValueError: Columns of different length, or a number that is not finite.
    """
    column, cluster, count = _check_clusters(values, clusters)
    if count < 2 or bool((column == column[0]).all()):
        return float("nan")
    alone = clustered_se(column, np.arange(len(column)))
    return (clustered_se(column, cluster) / alone) ** 2


def bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int,
    statistic: Statistic = "mean",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of a mean or median; whole clusters are drawn with replacement.

    Source: Efron and Tibshirani 1993, chapter 13; clusters as in Field and Welsh 2007. With few
    clusters (below about 30) percentile intervals are too short; `clusters` is in the result.

    Args:
        values: `[N]`: 0 and 1 for an accuracy, GeoScores, kilometres of answered rows.
        clusters: `[N]` codes; of independent rows, `arange(N)`.
        seed: Of the draws.
        statistic: What is taken of each draw.
        resamples: Number of draws.
        level: Share of the draws that the interval holds, in (0, 1).

    Returns:
        NaN ends with fewer than two clusters: one author shows no spread between authors.

    Raises:
        ValueError: Columns of different length, a number that is not finite, or a bad argument.
    """
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic {statistic!r} is neither 'mean' nor 'median'")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"{resamples} resamples at level {level}: wanted some, and one in (0, 1)")
    column, cluster, count = _check_clusters(values, clusters)
    low = high = float("nan")
    if count > 1:
        draws = _draw_clusters(count, resamples, seed)
        statistics = (_means_of_draws if statistic == "mean" else _medians_of_draws)(
            column, cluster, draws
        )
        low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2]).tolist()
    value = mean(column) if statistic == "mean" else median(column)
    return Interval(value=value, low=low, high=high, level=level, rows=len(column), clusters=count)


def ratio(
    above: ArrayLike,
    below: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Sum of one column over the sum of another, with the percentile interval of `bootstrap`.

    Both sums are taken of the same draw, so a share of a gap, (ours - least) / (most - least), has
    the chance of the gap itself in its interval.

    Args:
        above: `[N]`.
        below: `[N]`, the same rows in the same order.
        clusters: `[N]` codes.
        seed: Of the draws.
        resamples: Number of draws.
        level: Share of the draws that the interval holds, in (0, 1).

    Returns:
        NaN where `below` adds up to 0; NaN ends too with fewer than two clusters, or where it does
        so in a draw: such a share may be anything.

    Raises:
        ValueError: As `bootstrap`.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"{resamples} resamples at level {level}: wanted some, and one in (0, 1)")
    column, cluster, count = _check_clusters(above, clusters)
    under = check_numbers(below, "below", rows=len(column))
    tops, unders = (np.bincount(cluster, each, minlength=count) for each in (column, under))
    low = high = float("nan")
    if count > 1:
        shares = [
            float(times @ tops) / total if (total := float(times @ unders)) else float("nan")
            for times in _draw_clusters(count, resamples, seed)
        ]
        low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
    denominator = float(unders.sum())
    value = float(tops.sum()) / denominator if denominator else float("nan")
    return Interval(value=value, low=low, high=high, level=level, rows=len(column), clusters=count)


def compare(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedComparison:
    """Two runs on the same rows: difference of means, its interval, and a p-value.

    The interval is the clustered bootstrap of the paired differences. The p-value swaps the two
    runs at random for whole clusters (a sign-flip permutation test) and counts gaps at least as
    large, the observed one among them, so it is never 0: (1 + extreme) / (1 + resamples), Phipson
    and Smyth 2010. With C clusters it cannot fall much below 2 / 2^C.

    Args:
        a: `[N]` per-row figures of run A.
        b: `[N]` those of run B, the same rows in the same order.
        clusters: `[N]` codes.
        seed: Of draws and flips.
        resamples: Number of each.
        level: Of the interval.

    Returns:
        A p-value of 1 where the runs are equal or there is one cluster; NaN for no rows.

    Raises:
        ValueError: As `bootstrap`.
    """
    left = check_numbers(a, "a")
    gap = left - check_numbers(b, "b", rows=len(left))
    difference = bootstrap(gap, clusters, seed=seed, resamples=resamples, level=level)
    _, cluster, count = _check_clusters(gap, clusters)
    sums = np.bincount(cluster, gap, minlength=count)
    total = float(sums.sum())
    least = abs(total) - _RELATIVE_TOLERANCE * float(np.abs(sums).sum())
    rng = np.random.default_rng(seed)
    swaps = (rng.integers(0, 2, count, dtype=np.int8) for _ in range(resamples))
    extreme = sum(bool(abs(total - 2 * float(swap @ sums)) >= least) for swap in swaps)
    p_value = (1 + extreme) / (1 + resamples) if count else float("nan")
    return PairedComparison(difference=difference, p_value=p_value)


def _check_clusters(values: ArrayLike, clusters: ArrayLike) -> tuple[FloatColumn, Codes, int]:
    """Checked values, codes from 0 without gaps, and how many there are."""
    column = check_numbers(values, "values")
    cluster = np.asarray(clusters)
    if cluster.shape != column.shape:
        raise ValueError(f"clusters: shape {cluster.shape} beside {len(column)} values")
    distinct, codes = np.unique(cluster, return_inverse=True)
    return column, codes.reshape(-1), len(distinct)


def _draw_clusters(count: int, resamples: int, seed: int) -> Iterator[Codes]:
    """How often each of C clusters is drawn, `[C]`, once per resample."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, count, count), minlength=count)


def _means_of_draws(column: FloatColumn, cluster: Codes, drawn: Iterator[Codes]) -> list[float]:
    """Mean of the rows of each draw, from sums per cluster."""
    sums, rows = np.bincount(cluster, column), np.bincount(cluster)
    return [float(times @ sums) / int(times @ rows) for times in drawn]


def _medians_of_draws(column: FloatColumn, cluster: Codes, drawn: Iterator[Codes]) -> list[float]:
    """Median of the rows of each draw: sorted once, then found by counting up to the middle."""
    order = np.argsort(column, kind="stable")
    ranked, cluster = column[order], cluster[order]
    medians = []
    for times in drawn:
        upto = np.cumsum(times[cluster])
        # Rows at the two middle ranks, one and the same where their number is odd.
        middle = np.searchsorted(upto, [(upto[-1] + 1) // 2, upto[-1] // 2 + 1])
        medians.append(float(ranked[middle].mean()))
    return medians
