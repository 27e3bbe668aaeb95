"""Calibration metrics of stated probabilities and regions.

Letters: N rows (photos), B bins, R ranked regions of a photo. Rows that state nothing (NaN) are
excluded, and the number of the other rows is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.metrics.intervals import Codes
from pinpoint.metrics.rows import FloatColumn, check_flags, check_numbers, mean, median

BINS: Final = 15
_RADIUS_KM: Final = EARTH_RADIUS_M / 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Rows of similar confidence."""

    low: float
    high: float
    """Smallest and largest confidence in the bin."""
    rows: int
    confidence: float
    accuracy: float
    """Means over the bin; equal for a calibrated ranker, up to sampling noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy, in bins of equal mass."""

    bins: tuple[Bin, ...]
    ece: float
    """Plain expected calibration error: mean over rows of |confidence - accuracy| of their bin.
    Biased upwards by sampling noise: about 0.025 for 2,000 rows of a calibrated ranker."""
    debiased_square: float
    """Mean over rows of the squared gap minus its sampling variance: 0 on average for a calibrated
    ranker, so often negative."""
    debiased_ece: float
    """Square root of `debiased_square`, 0 if negative. It estimates the root mean square of the
    true gaps, which is at least their mean, and so at least `ece` without sampling noise."""
    rows: int
    stated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Share of stated regions that contain the ground truth, and their size."""

    share: float
    stated: int
    rows: int
    median_radius_km: float
    """Needed to interpret coverage: a region as large as the Earth always covers."""


def reliability(
    confidence: ArrayLike, right: ArrayLike, clusters: ArrayLike | None = None, bins: int = BINS
) -> Reliability:
    """Reliability bins, plain and debiased calibration error.

    Source: the debiased estimator of the squared error in Kumar, Liang and Ma 2019, Verified
    Uncertainty Calibration (earlier: Bröcker 2012; Ferro and Fricker 2012). The sampling variance
    of each bin is subtracted from its squared gap. It is the variance of the rows'
    `confidence - right`, so bins may be wide. With `clusters` it is summed by cluster: the errors
    of one creator's photos are correlated and would otherwise look like miscalibration.

    Rows of equal confidence share a bin, so the row order is irrelevant. There are at most half as
    many bins as rows, and a bin with a single cluster is merged with an adjacent bin.

    Args:
        confidence: `[N]` in [0, 1], the stated probability of being correct; NaN for none.
        right: `[N]` whether the row is correct.
        clusters: `[N]` codes (`intervals.cluster_codes`); default: each row is a cluster.
        bins: Maximum number of bins, of equal mass.

    Returns:
        NaN errors if no row states a confidence; NaN debiased ones with fewer than two clusters.

    Raises:
        ValueError: Columns of different length or out of range.
    """
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got {bins}")
    stated = check_numbers(confidence, "confidence", gaps=True, least=0.0, most=1.0)
    hit = check_flags(right, "right", rows=len(stated))
    cluster = np.arange(len(stated)) if clusters is None else np.asarray(clusters)
    if cluster.shape != stated.shape:
        raise ValueError(f"clusters: shape {cluster.shape} for {len(stated)} rows")
    is_stated = ~np.isnan(stated)
    # Sorted, so that each bin is one run of rows.
    order = np.flatnonzero(is_stated)[np.argsort(stated[is_stated], kind="stable")]
    cluster = np.unique(cluster[order], return_inverse=True)[1]
    stated, scored = stated[order], np.asarray(hit[order], dtype=np.float64)
    bin_index = _assign_bins(stated, cluster, bins)

    rows = np.bincount(bin_index)
    gap = np.bincount(bin_index, stated - scored) / rows
    weight = rows / max(1, len(stated))
    square = (
        float(weight @ (gap**2 - _sampling_variance(stated - scored, bin_index, cluster)))
        if len(stated)
        else np.nan
    )
    return Reliability(
        bins=_summarize_bins(stated, scored, bin_index),
        ece=float(weight @ np.abs(gap)) if len(stated) else float("nan"),
        debiased_square=square,
        debiased_ece=float(np.sqrt(np.maximum(square, 0.0))),
        rows=len(is_stated),
        stated=len(stated),
    )


def _assign_bins(confidence: FloatColumn, cluster: Codes, bins: int) -> Codes:
    """Bin of each row `[N]`, from 0 without gaps, for rows sorted by confidence."""
    count = len(confidence)
    first = np.searchsorted(confidence, confidence, side="left")
    bin_index = np.unique(
        first * min(bins, max(1, count // 2)) // max(1, count), return_inverse=True
    )[1]
    # One cluster has no variance estimate: merge into the previous bin, the first into the next.
    num_clusters = np.bincount(np.unique(np.stack([bin_index, cluster]), axis=1)[0])
    merged = np.maximum(np.cumsum(num_clusters > 1), 1) - 1
    return np.asarray(merged[bin_index])


def _sampling_variance(residual: FloatColumn, bin_index: Codes, cluster: Codes) -> FloatColumn:
    """Sampling variance `[B]` of the mean residual per bin, by cluster; NaN for one cluster."""
    rows = np.bincount(bin_index)
    spread = residual - (np.bincount(bin_index, residual) / rows)[bin_index]
    pairs, cell = np.unique(np.stack([bin_index, cluster]), axis=1, return_inverse=True)
    sums = np.bincount(cell.reshape(-1), spread, minlength=pairs.shape[1])
    num_clusters = np.bincount(pairs[0]).astype(np.float64)
    small = np.divide(
        num_clusters,
        num_clusters - 1,
        out=np.full(len(num_clusters), np.nan),
        where=num_clusters > 1,
    )
    return np.asarray(small * np.bincount(pairs[0], sums**2) / rows**2)


def _summarize_bins(confidence: FloatColumn, hit: FloatColumn, bin_index: Codes) -> tuple[Bin, ...]:
    edges = np.flatnonzero(np.diff(bin_index, prepend=-1, append=-1)).tolist()
    return tuple(
        Bin(
            low=float(confidence[start]),
            high=float(confidence[end - 1]),
            rows=end - start,
            confidence=float(confidence[start:end].mean()),
            accuracy=float(hit[start:end].mean()),
        )
        for start, end in pairwise(edges)
    )


def region_coverage(distances_km: ArrayLike, radii_km: ArrayLike) -> Coverage:
    """Share of stated discs around the answer that contain the ground truth, edge included.

    Rows without a region are excluded. Therefore report `stated` and `rows` together with the
    share.

    Args:
        distances_km: `[N]` from answer to ground truth, NaN for no answer.
        radii_km: `[N]` radius of the stated disc, NaN for none.

    Returns:
        NaN share and radius if no row states a region.

    Raises:
        ValueError: A number is negative or infinite, or a row has a region but no answer.
    """
    distances = check_numbers(distances_km, "distances_km", gaps=True, least=0.0)
    radii = check_numbers(radii_km, "radii_km", rows=len(distances), gaps=True, least=0.0)
    stated = ~np.isnan(radii)
    if np.isnan(distances[stated]).any():
        row = int(np.argmax(stated & np.isnan(distances)))
        raise ValueError(f"row {row} states a region of {radii[row]:g} km without an answer")
    return Coverage(
        share=mean(distances[stated] <= radii[stated]),
        stated=int(stated.sum()),
        rows=len(distances),
        median_radius_km=median(radii[stated]),
    )


def disc_area_km2(radius_km: ArrayLike) -> FloatColumn:
    """Area of discs on the sphere, `2 π R² (1 - cos(r / R))`: at most the area of the Earth.

    Args:
        radius_km: `[...]` along the ground, not negative; NaN stays NaN.
    """
    angle = np.minimum(np.asarray(radius_km, dtype=np.float64) / _RADIUS_KM, np.pi)
    # As a sine of the half angle, which avoids cancellation for small discs.
    return np.asarray(4.0 * np.pi * _RADIUS_KM**2 * np.sin(angle / 2.0) ** 2)


def recall_versus_area(needed_km2: ArrayLike, budgets_km2: ArrayLike) -> FloatColumn:
    """Share of all photos whose position is found within each budget of searched area.

    Source: Recall vs Area, Bianco, Eigen and Gormish, WACV 2025 (arXiv 2407.13862).

    Args:
        needed_km2: `[N]` area searched until the photo is found, for example a disc that reaches
            the ground truth; infinite for never.
        budgets_km2: `[M]`.

    Returns:
        `[M]` in [0, 1]; NaN if there are no rows.

    Raises:
        ValueError: NaN or a negative area: a photo that is never found needs infinite area.
    """
    needed = np.asarray(needed_km2, dtype=np.float64)
    if needed.ndim != 1 or not (needed >= 0).all():
        raise ValueError("needed_km2: wanted [N] areas of 0 or more; infinite for never, not NaN")
    budgets = check_numbers(budgets_km2, "budgets_km2", least=0.0)
    if not len(needed):
        return np.full(len(budgets), np.nan)
    return np.searchsorted(np.sort(needed), budgets, side="right") / len(needed)
