"""Weighted positions on the sphere: radius of a mass share, mode, mean.

Letters: N weighted positions. Positions are `[N, 2]` degrees; weights `[N]`, not negative, of
positive sum; they need not sum to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.points import LatLonArray, from_xyz, unit_xyz

_RELATIVE_TOLERANCE = 1e-9
"""Relative tolerance when sums of weights are compared, so rounding adds no point and no tie."""


def _normalize_weights(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Weights as shares of their sum.

    Raises:
        ValueError: Wrong number of weights, a negative or infinite weight, or a sum of 0.
    """
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (count,):
        raise ValueError(f"{count} positions need {count} weights, got shape {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("weights must be finite and not negative")
    total = float(values.sum())
    if total <= 0:
        raise ValueError("weights must have a positive sum")
    return values / total


def radius_for_mass_m(
    distances_m: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> float:
    """Radius of the smallest disc around a position that contains a share of the mass.

    The weighted quantile of the distances: one of the input distances, never interpolated.

    Args:
        distances_m: `[N]` from the center to each position.
        weights: `[N]`.
        share: In (0, 1].

    Raises:
        ValueError: The share is out of range, or the weights are unusable.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    distances = np.asarray(distances_m, dtype=np.float64)
    shares = _normalize_weights(weights, len(distances))
    order = np.argsort(distances, kind="stable")
    cumulative_share = np.cumsum(shares[order])
    # The last sum can be below 1 because of rounding.
    first = min(int(np.searchsorted(cumulative_share, share - _RELATIVE_TOLERANCE)), len(order) - 1)
    return float(distances[order[first]])


def disc_radius_m(
    center: LatLonArray, positions: LatLonArray, weights: NDArray[np.float64], share: float
) -> float:
    """Great-circle radius around `center` `[2]` that contains a share of the mass.

    Raises:
        ValueError: As `radius_for_mass_m`.
    """
    return radius_for_mass_m(haversine_m(positions, center), weights, share)


def mode_index(positions: LatLonArray, weights: NDArray[np.float64], radius_m: float) -> int:
    """Index of the position whose disc of `radius_m` contains most mass; ties go to the first.

    Raises:
        ValueError: No positions, or the weights are unusable.
    """
    shares = _normalize_weights(weights, len(positions))
    share_within = (pairwise_m(positions) <= radius_m) @ shares
    return int(np.argmax(share_within >= share_within.max() - _RELATIVE_TOLERANCE))


def spherical_mean(positions: LatLonArray, weights: NDArray[np.float64]) -> LatLonArray:
    """Weighted mean direction: the mean position, with no seam at ±180° and none at the poles.

    Returns:
        `[2]` degrees, longitude in [-180, 180).

    Raises:
        ValueError: The mean is undefined (the positions are balanced around the globe), or the
            weights are unusable.
    """
    mean = _normalize_weights(weights, len(positions)) @ unit_xyz(np.asarray(positions))
    if float(np.linalg.norm(mean)) < 1e-9:
        raise ValueError("the mean of positions that are balanced around the globe is undefined")
    return from_xyz(mean)


def mode(
    positions: LatLonArray, weights: NDArray[np.float64], *, place_m: float, refine_m: float
) -> LatLonArray:
    """The densest location, refined to the mean of the positions close to its heaviest one.

    A mean over the whole location would pull an exact match towards its neighbors. So the location
    decides which position wins, and only positions within `refine_m` of it move the result.

    Args:
        positions: `[N, 2]`.
        weights: `[N]`.
        place_m: Radius of one location.
        refine_m: Radius around the winner within which positions are averaged.

    Returns:
        `[2]` degrees.

    Raises:
        ValueError: No positions, or the weights are unusable.
    """
    shares = _normalize_weights(weights, len(positions))
    densest = mode_index(positions, weights, place_m)
    inside = haversine_m(positions, positions[densest]) <= place_m
    winner = int(np.argmax(np.where(inside, shares, -1.0)))
    close = haversine_m(positions, positions[winner]) <= refine_m
    if int(close.sum()) == 1 or float(shares[close].sum()) <= 0:
        # The exact input position, without rounding through unit vectors.
        return np.array(positions[winner], dtype=np.float64)
    return spherical_mean(positions[close], shares[close])
