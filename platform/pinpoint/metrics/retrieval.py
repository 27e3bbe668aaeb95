"""How good a shortlist is: what it found, and the best answer that could be chosen from it.

Letters: N rows (photos), K candidates of a photo, best first. Shorter lists are padded: with NaN
where there are distances, with false where there are flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.metrics.conventions import Convention
from pinpoint.metrics.geolocation import THRESHOLDS_KM, accuracies
from pinpoint.metrics.rows import Numbers, flags, mean, numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Mean recall over the photos that have something to find."""

    share: float
    rows: int
    findable: int
    """Photos with at least one relevant image in the gallery: the denominator."""


def recalls_at(relevant: ArrayLike, totals: ArrayLike, k: int) -> Numbers:
    """Share of each photo's relevant gallery images that are among its first K candidates.

    Args:
        relevant: `[N, K]`, whether each candidate is relevant; each gallery image at most once.
        totals: `[N]`, how many relevant images the whole gallery holds.
        k: How deep to look, 1 to K. With more relevant images than that, 1 is out of reach.

    Returns:
        `[N]` in [0, 1]; NaN where the gallery holds nothing relevant.

    Raises:
        ValueError: k is out of range, or more was found than there is.
    """
    found = flags(relevant, "relevant", dims=2)
    all_of = numbers(totals, "totals", rows=len(found), least=0.0)
    _check_depth(k, found.shape[1])
    if (found.sum(axis=1) > all_of).any():
        row = int(np.argmax(found.sum(axis=1) > all_of))
        raise ValueError(f"row {row}: {found[row].sum()} relevant found of {all_of[row]:g}")
    shares = np.full(len(found), np.nan)
    np.divide(found[:, :k].sum(axis=1), all_of, out=shares, where=all_of > 0)
    return shares


def recall_at(relevant: ArrayLike, totals: ArrayLike, k: int) -> Recall:
    """Mean of `recalls_at` over the photos that have something to find.

    Raises:
        ValueError: As `recalls_at`.
    """
    each = recalls_at(relevant, totals, k)
    findable = each[~np.isnan(each)]
    return Recall(share=mean(findable), rows=len(each), findable=len(findable))


def oracle_km(candidates_km: ArrayLike, k: int) -> Numbers:
    """Distance of the best of the first K candidates: what a perfect chooser would answer.

    Args:
        candidates_km: `[N, K]` from each candidate to the truth, NaN padded.
        k: How deep to look, 1 to K.

    Returns:
        `[N]`; NaN where there is no candidate. For `geolocation.accuracies` and the rest.

    Raises:
        ValueError: k is out of range, or a distance is negative or infinite.
    """
    candidates = numbers(candidates_km, "candidates_km", dims=2, gaps=True, least=0.0)
    _check_depth(k, candidates.shape[1])
    # fmin passes NaN over, and gives NaN without a warning where there is nothing else.
    return np.asarray(np.fmin.reduce(candidates[:, :k], axis=1))


def hit_rates(
    candidates_km: ArrayLike,
    depths: Sequence[int],
    convention: Convention,
    thresholds_km: Sequence[float] = THRESHOLDS_KM,
) -> Numbers:
    """Candidate oracle@K: share of photos with at least one of K candidates near enough.

    A photo without candidates counts as missed. At depth 1 it is the accuracy of retrieval alone.

    Args:
        candidates_km: `[N, K]`, NaN padded.
        depths: How deep to look, each 1 to K.
        convention: Says whether a distance equal to the threshold is near enough.
        thresholds_km: The thresholds.

    Returns:
        `[len(depths), len(thresholds_km)]` in [0, 1]; NaN where there are no rows.

    Raises:
        ValueError: As `oracle_km`.
    """
    rates = [accuracies(oracle_km(candidates_km, k), convention, thresholds_km) for k in depths]
    return np.array(rates, dtype=np.float64).reshape(len(depths), len(thresholds_km))


def _check_depth(k: int, width: int) -> None:
    # A list cut short must not pass for a poor one.
    if not 1 <= k <= width:
        raise ValueError(f"cannot look {k} deep into lists of {width} candidates")
