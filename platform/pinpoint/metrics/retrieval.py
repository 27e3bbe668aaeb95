"""Retrieval metrics: recall@K, and oracle@K, the best answer among K candidates.

Letters: N rows (photos), K candidates of a photo, best first. Shorter lists are padded: distances
with NaN, flags with false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.metrics.conventions import Convention
from pinpoint.metrics.geolocation import THRESHOLDS_KM, accuracies
from pinpoint.metrics.rows import FloatColumn, check_flags, check_numbers, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Mean recall over the photos with relevant images."""

    share: float
    rows: int
    findable: int
    """Photos with at least one relevant image in the gallery: the denominator."""


def recalls_at(relevant: ArrayLike, totals: ArrayLike, k: int) -> FloatColumn:
    """Share of each photo's relevant gallery images that are among its first K candidates.

    Args:
        relevant: `[N, K]`, whether each candidate is relevant; each gallery image at most once.
        totals: `[N]`, number of relevant images in the whole gallery.
        k: Depth, 1 to K. With more than k relevant images, the recall is below 1.

    Returns:
        `[N]` in [0, 1]; NaN if the gallery has no relevant image.

    Raises:
        ValueError: k is out of range, or more relevant candidates than relevant images.
    """
    is_relevant = check_flags(relevant, "relevant", dims=2)
    num_relevant = check_numbers(totals, "totals", rows=len(is_relevant), least=0.0)
    _check_depth(k, is_relevant.shape[1])
    if (is_relevant.sum(axis=1) > num_relevant).any():
        row = int(np.argmax(is_relevant.sum(axis=1) > num_relevant))
        raise ValueError(
            f"row {row}: {is_relevant[row].sum()} relevant found of {num_relevant[row]:g}"
        )
    shares = np.full(len(is_relevant), np.nan)
    np.divide(is_relevant[:, :k].sum(axis=1), num_relevant, out=shares, where=num_relevant > 0)
    return shares


def recall_at(relevant: ArrayLike, totals: ArrayLike, k: int) -> Recall:
    """Mean of `recalls_at` over the photos with relevant images.

    Raises:
        ValueError: As `recalls_at`.
    """
    recalls = recalls_at(relevant, totals, k)
    findable = recalls[~np.isnan(recalls)]
    return Recall(share=mean(findable), rows=len(recalls), findable=len(findable))


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
