"""Whether stated probabilities and regions mean what they say.

Letters: N rows (photos), B bins, R ranked regions of a photo. A row that states nothing (NaN) has
no calibration to measure: it is left out, and the count of the rest is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.metrics.rows import FloatColumn, check_flags, check_numbers, mean, median

BINS: Final = 15
_RADIUS_KM: Final = EARTH_RADIUS_M / 1000.0

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Rows of similar confidence."""

    low: float
    high: float
    """Smallest and largest confidence in the bin."""
    rows: int
    confidence: float
    accuracy: float
    """Means over the bin; equal for a calibrated ranker, up to chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy, in bins of equal mass."""

    bins: tuple[Bin, ...]
    ece: float
    """Plain expected calibration error: mean over rows of |confidence - accuracy| of their bin.
    Chance alone makes it positive: about 0.025 at 2,000 rows of a perfectly calibrated ranker."""
    debiased_square: float
    """Mean over rows of the squared gap, less what chance adds: 0 on average when calibrated, so
    often negative."""
    debiased_ece: float
    """Root of that, 0 where it is negative. It estimates the root mean square of the true gaps,
    which is at least their mean, so it is no smaller measure than `ece` once chance is gone."""
    rows: int
    stated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often stated regions hold the truth, and how large they are."""

    share: float
    stated: int
    rows: int
    median_radius_km: float
    """Without it coverage says little: a region as large as the Earth always holds."""


def reliability(
    confidence: ArrayLike, right: ArrayLike, clusters: ArrayLike | None = None, bins: int = BINS
) -> Reliability:
    """Reliability bins, plain and debiased calibration error.

    Source: the debiased estimator of the squared error in Kumar, Liang and Ma 2019, Verified
    Uncertainty Calibration (before them Bröcker 2012; Ferro and Fricker 2012): from each bin's
    squared gap its sampling variance is taken away. The variance is that of the rows'
    `confidence - right`, so that bins may be wide; with `clusters` it is summed by cluster, because
    an author's photos err together and would otherwise pass for bad calibration.

    Rows of equal confidence share a bin, so row order changes nothing; there are never more bins
    than half the rows, and a bin with a single cluster joins its neighbour.

    Args:
        confidence: `[N]` in [0, 1], the stated probability of being right; NaN for none.
        right: `[N]` whether the row was right.
        clusters: `[N]` codes (`intervals.cluster_codes`); without it each row stands alone.
        bins: Most bins, of equal mass.

    Returns:
        NaN errors where no row states anything; NaN debiased ones with fewer than two clusters.

    Raises:
        ValueError: Columns of different length or out of range.
    """
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got {bins}")
    stated = check_numbers(confidence, "confidence", gaps=True, least=0.0, most=1.0)
    hit = check_flags(right, "right", rows=len(stated))
    cluster = np.arange(len(stated)) if clusters is None else np.asarray(clusters)
    if cluster.shape != stated.shape:
        raise ValueError(f"clusters: shape {cluster.shape} beside {len(stated)} rows")
    is_stated = ~np.isnan(stated)
    # Sorted stably, so that each bin is one run of rows.
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
    """`[N]` bin of each row, 0 upwards without gaps, for rows sorted by confidence."""
    count = len(confidence)
    first = np.searchsorted(confidence, confidence, side="left")
    bin_index = np.unique(
        first * min(bins, max(1, count // 2)) // max(1, count), return_inverse=True
    )[1]
    # One cluster has no variance to estimate: it joins the bin before, the first one the next.
    num_clusters = np.bincount(np.unique(np.stack([bin_index, cluster]), axis=1)[0])
    merged = np.maximum(np.cumsum(num_clusters > 1), 1) - 1
    return np.asarray(merged[bin_index])


def _sampling_variance(residual: FloatColumn, bin_index: Codes, cluster: Codes) -> FloatColumn:
    """`[B]` sampling variance of each bin's mean residual, by cluster; NaN for one cluster."""
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
    """Share of stated discs around the answer that hold the truth, the edge included.

    Rows that state no region are left out: a promise not given is not broken. So quote `stated`
    and `rows` beside the share.

    Args:
        distances_km: `[N]` from answer to truth, NaN for no answer.
        radii_km: `[N]` of the disc that should hold the truth, NaN for none.

    Returns:
        NaN share and radius where no row states a region.

    Raises:
        ValueError: A number is negative or infinite, or a region stands without an answer.
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
    """Area of discs on the sphere, `2 π R² (1 - cos(r / R))`: never more than the whole Earth.

    Args:
        radius_km: `[...]` along the ground, not negative; NaN stays NaN.
    """
    angle = np.minimum(np.asarray(radius_km, dtype=np.float64) / _RADIUS_KM, np.pi)
    # As a sine of the half angle, which keeps its digits for small discs.
    return np.asarray(4.0 * np.pi * _RADIUS_KM**2 * np.sin(angle / 2.0) ** 2)


def area_needed_km2(areas_km2: ArrayLike, holds: ArrayLike) -> FloatColumn:
    """Area to be searched, region after region, until the truth is in one.

    Areas are added up as they come; where regions overlap, that is an upper bound.

    Args:
        areas_km2: `[N, R]` of each region, best first, NaN padded at the end.
        holds: `[N, R]` whether the region holds the truth.

    Returns:
        `[N]`; infinite where no region holds it, or there is none.

    Raises:
        ValueError: An area is negative or infinite, shapes differ, or a region follows a gap.
    """
    areas = check_numbers(areas_km2, "areas_km2", dims=2, gaps=True, least=0.0)
    inside = check_flags(holds, "holds", dims=2)
    if inside.shape != areas.shape:
        raise ValueError(f"holds: shape {inside.shape} beside areas of {areas.shape}")
    none = np.isnan(areas)
    if (none[:, :-1] & ~none[:, 1:]).any() or (inside & none).any():
        raise ValueError("areas_km2: NaN may only pad the end of a row, and holds nothing")
    searched = np.cumsum(np.nan_to_num(areas), axis=1)
    return np.asarray(np.where(inside, searched, np.inf).min(axis=1, initial=np.inf))


def recall_versus_area(needed_km2: ArrayLike, budgets_km2: ArrayLike) -> FloatColumn:
    """Share of all photos whose place is found within each budget of area searched.

    Source: Recall vs Area, Bianco, Eigen and Gormish, WACV 2025 (arXiv 2407.13862).

    Args:
        needed_km2: `[N]` (`area_needed_km2`, or the disc out to the truth); infinite for never.
        budgets_km2: `[M]`.

    Returns:
        `[M]` in [0, 1]; NaN where there are no rows.

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
