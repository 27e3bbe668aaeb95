"""Share of pairs with at least so many inliers, with intervals for pairs of clustered images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.arrays import Floats
from pinpoint.metrics.intervals import LEVEL

_RESAMPLES: Final = 1_000
_RESAMPLES_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateCurve:
    """Share of pairs by the minimum number of inliers; arrays `[T]`, index 0 is 0 inliers."""

    rates: Floats
    low: Floats
    high: Floats
    """Upper ends of the intervals; never below the rule of three, `3 / P`."""
    clusters: int


def bootstrap_rate_curve(inliers: ArrayLike, clusters: ArrayLike, *, seed: int) -> RateCurve:
    """Share of pairs with at least t inliers, for t from 0 to one above the maximum.

    Both images of a pair belong to clusters, so that pairs that share a cluster are correlated. A
    draw resamples clusters with replacement and weights a pair by the product of the multiplicities
    of its two clusters (Owen 2007, the pigeonhole bootstrap). If no pair has t inliers, the upper
    end is that of the rule of three.

    Args:
        inliers: `[P]` whole numbers.
        clusters: `[P, 2]` codes of the clusters of both images.
        seed: Seed of the draws.

    Raises:
        ValueError: Arrays of different length, or no pairs.
    """
    counts = np.asarray(inliers, np.intp)
    distinct, codes = np.unique(np.asarray(clusters), return_inverse=True)
    codes = codes.reshape(-1, 2)
    if len(counts) == 0 or len(codes) != len(counts):
        raise ValueError(f"{len(counts)} pairs with {len(codes)} pairs of clusters")
    order = np.argsort(-counts, kind="stable")
    codes = codes[order]
    # Number of pairs with at least t inliers: the length of a prefix of the order.
    lengths = np.searchsorted(-counts[order], -np.arange(counts.max() + 2), side="right")
    shares = np.concatenate(
        [
            _draw_shares(
                codes, lengths, len(distinct), number, np.random.default_rng((seed, start))
            )
            for start in range(0, _RESAMPLES, _RESAMPLES_AT_ONCE)
            for number in (min(_RESAMPLES_AT_ONCE, _RESAMPLES - start),)
        ]
    )
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return RateCurve(
        rates=lengths / len(counts),
        low=low,
        high=np.maximum(high, min(1.0, 3.0 / len(counts))),
        clusters=len(distinct),
    )


def _draw_shares(
    codes: NDArray[np.intp],
    lengths: NDArray[np.intp],
    num_clusters: int,
    num_draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Weighted shares `[num_draws, T]` of the prefixes of the pairs."""
    times = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), num_draws)
    weights = np.cumsum(times[:, codes[:, 0]] * times[:, codes[:, 1]], axis=1, dtype=np.float64)
    sums = np.where(lengths > 0, weights[:, np.maximum(lengths - 1, 0)], 0.0)
    # A draw of one cluster only has no pair between clusters.
    return np.asarray(sums / np.maximum(weights[:, -1:], 1.0), np.float64)
