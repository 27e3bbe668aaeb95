"""Retrieval metrics: hit rate@K, and oracle@K, the best answer among K candidates.

Letters: N rows (photos), K candidates of a photo, best first. Shorter lists are padded with NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.metrics.conventions import Convention
from pinpoint.metrics.geolocation import THRESHOLDS_KM, accuracies
from pinpoint.metrics.rows import FloatColumn, check_numbers


def oracle_km(candidates_km: ArrayLike, k: int) -> FloatColumn:
    """Distance of the best of the first K candidates: the answer of a perfect reranker.

    Args:
        candidates_km: `[N, K]` from each candidate to the ground truth, NaN padded.
        k: Depth, 1 to K.

    Returns:
        `[N]`; NaN without candidates. An input for `geolocation.accuracies` and others.

    Raises:
        ValueError: k is out of range, or a distance is negative or infinite.
    """
    candidates = check_numbers(candidates_km, "candidates_km", dims=2, gaps=True, least=0.0)
    _check_depth(k, candidates.shape[1])
    # fmin ignores NaN, and returns NaN without a warning if all values are NaN.
    return np.asarray(np.fmin.reduce(candidates[:, :k], axis=1))


def hit_rates(
    candidates_km: ArrayLike,
    depths: Sequence[int],
    convention: Convention,
    thresholds_km: Sequence[float] = THRESHOLDS_KM,
) -> FloatColumn:
    """Candidate oracle@K: share of photos with at least one of K candidates within a threshold.

    A photo without candidates counts as a miss. Depth 1 gives the accuracy of retrieval alone.

    Args:
        candidates_km: `[N, K]`, NaN padded.
        depths: Depths, each 1 to K.
        convention: Defines whether a distance equal to the threshold is within it.
        thresholds_km: The thresholds.

    Returns:
        `[len(depths), len(thresholds_km)]` in [0, 1]; NaN if there are no rows.

    Raises:
        ValueError: As `oracle_km`.
    """
    rates = [accuracies(oracle_km(candidates_km, k), convention, thresholds_km) for k in depths]
    return np.array(rates, dtype=np.float64).reshape(len(depths), len(thresholds_km))


def _check_depth(k: int, width: int) -> None:
    # A truncated list must not look like a poor one.
    if not 1 <= k <= width:
        raise ValueError(f"depth {k} is too large or below 1 for lists of {width} candidates")
