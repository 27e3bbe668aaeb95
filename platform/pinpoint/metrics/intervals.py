"""Confidence intervals and tests for clustered photos: photos of one creator are correlated.

IM2GPS3k has 2,997 photos by 198 creators: its standard errors are about 2.5 times those of
independent photos. Letters: N rows (photos), C clusters. Seeds are arguments, so results are
reproducible. NaN is refused: the caller assigns a value to missing answers, or drops the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.metrics.rows import FloatColumn, check_numbers, mean, median

DEFAULT_RESAMPLES: Final = 10_000
LEVEL: Final = 0.95
_DRAWS_PER_BLOCK: Final = 1_000_000
"""Number of drawn clusters that are held at once: 8 MB, whatever the number of resamples."""
_RELATIVE_TOLERANCE: Final = 1e-9
"""Relative tolerance in comparisons of sums, so that ties are detected despite rounding."""

Codes = NDArray[np.int64]
Statistic = Literal["mean", "median"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A statistic with a percentile interval."""

    value: float
    low: float
    high: float
    level: float
    rows: int
    clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Paired comparison of runs A and B on the same rows."""

    difference: Interval
    """Mean of A minus mean of B."""
    p_value: float
    """Two-sided, in (0, 1]: share of random swaps of the runs with a gap at least this large."""


def cluster_codes(creators: Sequence[str | None]) -> Codes:
    """Codes of creators, from 0; each photo without a creator is a separate cluster.

    Returns:
        `[N]`, in order of first appearance.
    """
    codes: dict[str, int] = {}
    creator_codes, next_code = [], 0
    for creator in creators:
        code = next_code if creator is None else codes.setdefault(creator, next_code)
        creator_codes.append(code)
        next_code = max(next_code, code + 1)
    return np.array(creator_codes, dtype=np.int64)


def clustered_se(values: ArrayLike, clusters: ArrayLike) -> float:
    """Standard error of the mean for clustered rows.

    The linearized (sandwich) variance of a ratio of sums, `C / (C - 1) Σ (S_c - n_c m)² / N²`;
    with one row per cluster it equals the ordinary variance. Source: Cameron and Miller 2015.

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
    residual_sums = np.bincount(cluster, column - column.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * np.square(residual_sums).sum()) / len(column))


def design_effect(values: ArrayLike, clusters: ArrayLike) -> float:
    """Variance of the mean for clustered rows, relative to independent rows (Kish 1965).

    1 for independent photos; the effective sample size is N / effect.

    Args:
        values: `[N]`.
        clusters: `[N]` codes.

    Returns:
        NaN with fewer than two clusters, or if all values are equal.

    Raises:
        ValueError: Columns of different length, or a number that is not finite.
    """
    column, cluster, count = _check_clusters(values, clusters)
    if count < 2 or bool((column == column[0]).all()):
        return float("nan")
    independent_se = clustered_se(column, np.arange(len(column)))
    return (clustered_se(column, cluster) / independent_se) ** 2


def bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int,
    statistic: Statistic = "mean",
    resamples: int = DEFAULT_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of a mean or median, by resampling clusters with replacement.

    Source: Efron and Tibshirani 1993, chapter 13; clusters as in Field and Welsh 2007. With few
    clusters (below about 30) percentile intervals are too short; the result has the number.

    Args:
        values: `[N]`: 0 and 1 for an accuracy, GeoScores, kilometers of answered rows.
        clusters: `[N]` codes; `arange(N)` for independent rows.
        seed: Seed of the draws.
        statistic: Statistic of each draw.
        resamples: Number of draws.
        level: Confidence level, in (0, 1).

    Returns:
        NaN bounds with fewer than two clusters, because the variance between clusters is unknown.

    Raises:
        ValueError: Columns of different length, a number that is not finite, or a bad argument.
    """
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic {statistic!r} is neither 'mean' nor 'median'")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"{resamples} resamples at level {level}: need 1 or more, and a level in (0, 1)"
        )
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
    resamples: int = DEFAULT_RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Sum of one column over the sum of another, with the percentile interval of `bootstrap`.

    Both sums use the same draws, so the interval of a share of a gap, (ours - min) / (max - min),
    includes the uncertainty of the gap.

    Args:
        above: `[N]`.
        below: `[N]`, the same rows in the same order.
        clusters: `[N]` codes.
        seed: Seed of the draws.
        resamples: Number of draws.
        level: Confidence level, in (0, 1).

    Returns:
        NaN if the sum of `below` is 0. NaN bounds with fewer than two clusters, or if that sum is 0
        in a draw, because the ratio is then unbounded.

    Raises:
        ValueError: As `bootstrap`.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"{resamples} resamples at level {level}: need 1 or more, and a level in (0, 1)"
        )
    column, cluster, count = _check_clusters(above, clusters)
    below_column = check_numbers(below, "below", rows=len(column))
    numerators = np.bincount(cluster, column, minlength=count)
    denominators = np.bincount(cluster, below_column, minlength=count)
    low = high = float("nan")
    if count > 1:
        shares = [
            float(times @ numerators) / total
            if (total := float(times @ denominators))
            else float("nan")
            for block in _draw_clusters(count, resamples, seed)
            for times in block
        ]
        low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
    denominator = float(denominators.sum())
    value = float(numerators.sum()) / denominator if denominator else float("nan")
    return Interval(value=value, low=low, high=high, level=level, rows=len(column), clusters=count)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    level: float = LEVEL,
) -> PairedComparison:
    """Two runs on the same rows: difference of means, its interval, and a p-value.

    The interval is the clustered bootstrap of the paired differences. The p-value is
    that of a sign-flip permutation test, which swaps the two runs for random clusters. It counts
    gaps at least as large, including the observed one, so it is never 0: (1 + extreme) /
    (1 + resamples), Phipson and Smyth 2010. With C clusters its minimum is about 2 / 2^C.

    Args:
        a: `[N]` per-row values of run A.
        b: `[N]` per-row values of run B, the same rows in the same order.
        clusters: `[N]` codes.
        seed: Seed of draws and flips.
        resamples: Number of draws, and of flips.
        level: Confidence level.

    Returns:
        A p-value of 1 if the runs are equal or there is one cluster; NaN for no rows.

    Raises:
        ValueError: As `bootstrap`.
    """
    values_a = check_numbers(a, "a")
    gap = values_a - check_numbers(b, "b", rows=len(values_a))
    difference = bootstrap(gap, clusters, seed=seed, resamples=resamples, level=level)
    _, cluster, count = _check_clusters(gap, clusters)
    sums = np.bincount(cluster, gap, minlength=count)
    total = float(sums.sum())
    min_extreme = abs(total) - _RELATIVE_TOLERANCE * float(np.abs(sums).sum())
    rng = np.random.default_rng(seed)
    swaps = (rng.integers(0, 2, count, dtype=np.int8) for _ in range(resamples))
    extreme = sum(bool(abs(total - 2 * float(swap @ sums)) >= min_extreme) for swap in swaps)
    p_value = (1 + extreme) / (1 + resamples) if count else float("nan")
    return PairedComparison(difference=difference, p_value=p_value)


def _check_clusters(values: ArrayLike, clusters: ArrayLike) -> tuple[FloatColumn, Codes, int]:
    """Checked values, cluster codes from 0 without gaps, and the number of clusters."""
    column = check_numbers(values, "values")
    cluster = np.asarray(clusters)
    if cluster.shape != column.shape:
        raise ValueError(f"clusters: shape {cluster.shape} for {len(column)} values")
    distinct, codes = np.unique(cluster, return_inverse=True)
    return column, codes.reshape(-1), len(distinct)


def _draw_clusters(count: int, resamples: int, seed: int) -> Iterator[Codes]:
    """Yield the multiplicity of each cluster in blocks of resamples, `[B, C]`."""
    rng = np.random.default_rng(seed)
    size = max(1, _DRAWS_PER_BLOCK // count)
    for start in range(0, resamples, size):
        drawn = rng.integers(0, count, (min(size, resamples - start), count))
        # Each row counts in its own range.
        drawn += count * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)


def _means_of_draws(column: FloatColumn, cluster: Codes, draws: Iterator[Codes]) -> list[float]:
    """Mean of the rows of each draw, from sums per cluster."""
    sums, rows = np.bincount(cluster, column), np.bincount(cluster)
    return [mean for times in draws for mean in ((times @ sums) / (times @ rows)).tolist()]


def _medians_of_draws(column: FloatColumn, cluster: Codes, draws: Iterator[Codes]) -> list[float]:
    """Median of the rows of each draw, by cumulative counts over rows that are sorted once."""
    order = np.argsort(column, kind="stable")
    ranked, cluster = column[order], cluster[order]
    medians = []
    for times in (row for block in draws for row in block):
        cumulative = np.cumsum(times[cluster])
        # Rows at the two middle ranks, which are equal if the number of rows is odd.
        middle = np.searchsorted(cumulative, [(cumulative[-1] + 1) // 2, cumulative[-1] // 2 + 1])
        medians.append(float(ranked[middle].mean()))
    return medians
