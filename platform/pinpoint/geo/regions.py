"""Where mass lies on the sphere: discs that hold a share of it, the densest place, the centre.

Letters: N weighted positions. Positions are `[N, 2]` degrees; weights `[N]`, not negative, of
positive sum; they need not sum to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.points import LatLon, from_xyz, unit_xyz

_SLACK = 1e-9
"""Relative slack in comparing sums of weights, so that rounding neither adds a point nor a tie."""


def _checked(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Weights as shares of their sum.

    Raises:
        ValueError: Wrong number of weights, a bad one, or nothing to share.
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


def holding_radius_m(
    distances_m: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> float:
    """Radius of the smallest disc around a place that holds a share of the mass.

    The weighted quantile of the distances: a distance of the input, never between two.

    Args:
        distances_m: `[N]` from the place to each position.
        weights: `[N]`.
        share: In (0, 1].

    Raises:
        ValueError: The share is out of range, or the weights are unusable.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    distances = np.asarray(distances_m, dtype=np.float64)
    shares = _checked(weights, len(distances))
    order = np.argsort(distances, kind="stable")
    held = np.cumsum(shares[order])
    # The last sum may fall short of 1 by rounding.
    first = min(int(np.searchsorted(held, share - _SLACK)), len(order) - 1)
    return float(distances[order[first]])


def disc_radius_m(
    center: LatLon, positions: LatLon, weights: NDArray[np.float64], share: float
) -> float:
    """Great-circle radius around `center` `[2]` that holds a share of the mass.

    Raises:
        ValueError: As `holding_radius_m`.
    """
    return holding_radius_m(haversine_m(positions, center), weights, share)


def densest(positions: LatLon, weights: NDArray[np.float64], radius_m: float) -> int:
    """Index of the position whose disc of `radius_m` holds most mass; of equal ones the first.

    Raises:
        ValueError: No positions, or the weights are unusable.
    """
    shares = _checked(weights, len(positions))
    held = (pairwise_m(positions) <= radius_m) @ shares
    return int(np.argmax(held >= held.max() - _SLACK))


def centre(positions: LatLon, weights: NDArray[np.float64]) -> LatLon:
    """Weighted mean direction: the mean position, with no seam at ±180° and none at the poles.

    Returns:
        `[2]` degrees, longitude in [-180, 180).

    Raises:
        ValueError: The mean is undefined (the positions balance around the globe), or the weights
            are unusable.
    """
    mean = _checked(weights, len(positions)) @ unit_xyz(np.asarray(positions))
    if float(np.linalg.norm(mean)) < 1e-9:
        raise ValueError("the mean of positions that balance around the globe is undefined")
    return from_xyz(mean)


def mode(
    positions: LatLon, weights: NDArray[np.float64], *, place_m: float, refine_m: float
) -> LatLon:
    """The place with most mass, refined to the mean of what stands close to its heaviest point.

    A hard mean over the whole place would pull an exact match towards its neighbours; so the place
    decides which position wins, and only what is within `refine_m` of that one moves it.

    Args:
        positions: `[N, 2]`.
        weights: `[N]`.
        place_m: What counts as one place.
        refine_m: How near a position must be to the winner to move the answer.

    Returns:
        `[2]` degrees.

    Raises:
        ValueError: No positions, or the weights are unusable.
    """
    shares = _checked(weights, len(positions))
    seat = densest(positions, weights, place_m)
    inside = haversine_m(positions, positions[seat]) <= place_m
    winner = int(np.argmax(np.where(inside, shares, -1.0)))
    close = haversine_m(positions, positions[winner]) <= refine_m
    if int(close.sum()) == 1 or float(shares[close].sum()) <= 0:
        # The record's own digits, not their way through the sphere and back.
        return np.array(positions[winner], dtype=np.float64)
    return centre(positions[close], shares[close])
