"""Probability on the sphere: mixtures of von Mises–Fisher kernels, and the mass they put anywhere.

A kernel of radius r is the sphere's normal distribution with a spread of r along each axis:
`density ∝ exp(κ (cos θ - 1))`, κ = (R / r)². Everything is written with chords and `expm1`, so that
κ = 4e11 (10 m) and κ = 0 (anywhere on the Earth) go through the same lines.
Letters: M kernels, N and G positions `[..., 2]` degrees, Q nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.bells import Bells
from pinpoint.geo.discs import Discs, drop, drop_holding, mass_within
from pinpoint.geo.distance import pairwise_m, squared_chords
from pinpoint.geo.points import EARTH_RADIUS_M, LatLon, destination, unit_xyz

Floats = NDArray[np.float64]

EARTH_RADIUS_KM: Final = EARTH_RADIUS_M / 1_000.0
EARTH_AREA_KM2: Final = 4.0 * np.pi * EARTH_RADIUS_KM**2
ANYWHERE_KM: Final = 1e9
"""A kernel of this radius is even over the whole Earth, to 1e-10."""
_LEAST_KAPPA: Final = 1e-12
_GOLDEN_DEG: Final = 137.50776405003785


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Weighted kernels.

    Raises:
        ValueError: Shapes differ, a radius is not positive, or weights are negative or do not sum
            to 1.
    """

    centres: LatLon
    """`[M, 2]`."""
    radii_km: Floats
    """`[M]`, positive; `ANYWHERE_KM` for an even one."""
    weights: Floats
    """`[M]`, of sum 1."""

    def __post_init__(self) -> None:
        count = len(self.weights)
        if self.centres.shape != (count, 2) or self.radii_km.shape != (count,):
            raise ValueError(
                f"{count} weights, centres {self.centres.shape}, radii {self.radii_km.shape}"
            )
        if not (self.radii_km > 0).all():
            raise ValueError("every kernel needs a radius above 0 km")
        if not ((self.weights >= 0).all() and abs(float(self.weights.sum()) - 1.0) < 1e-6):
            raise ValueError("weights must not be negative and must sum to 1")


def kappa(radius_km: Floats | float) -> Floats:
    """Concentration of a kernel by its radius."""
    wide = np.asarray(radius_km, dtype=np.float64)
    return np.maximum(np.square(EARTH_RADIUS_KM / wide), _LEAST_KAPPA)


def log_kernel(distance_km: Floats, radius_km: Floats | float) -> Floats:
    """Log density, per km², of a kernel at some distance from its centre; broadcast."""
    k = kappa(radius_km)
    fall = k * drop(distance_km / EARTH_RADIUS_KM)
    return np.asarray(np.log(k / (-np.expm1(-2.0 * k) * 2.0 * np.pi * EARTH_RADIUS_KM**2)) - fall)


def disc_mass(distance_km: Floats, radius_km: Floats | float) -> Floats:
    """Mass of a kernel within some distance of its own centre; broadcast."""
    return mass_within(drop(distance_km / EARTH_RADIUS_KM), kappa(radius_km))


def disc_km(mass: Floats, radius_km: Floats | float) -> Floats:
    """Distance from its centre within which a kernel holds this mass; the inverse of the above."""
    half = np.sqrt(np.clip(drop_holding(mass, kappa(radius_km)) / 2.0, 0.0, 1.0))
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(half))


def log_density(mixture: Mixture, positions: LatLon) -> Floats:
    """Log density of a mixture, per km²: `[N]`; never below that of 1e-304 of its peaks.

    Args:
        mixture: M kernels.
        positions: `[N, 2]`.
    """
    bells = Bells.of(mixture.centres, kappa(mixture.radii_km), peaks(mixture))
    return np.asarray(np.log(bells.density(bells.squared_chords(unit_xyz(positions)))))


def peaks(mixture: Mixture) -> Floats:
    """What each kernel adds to the density at its own centre, `[M]` per km²."""
    return np.asarray(np.exp(log_kernel(np.zeros(1), mixture.radii_km)) * mixture.weights)


def masses_within(mixture: Mixture, points: LatLon, radii_km: float | Floats) -> Floats:
    """Mass of a mixture within some kilometres of each point.

    Args:
        mixture: M kernels.
        points: `[G, 2]`, or `[1, 2]` for many radii around one point.
        radii_km: Of the discs, along the ground: one, or `[G]` of the one point.

    Returns:
        `[G]` in [0, 1]; right to about 1e-3 of each kernel's weight.
    """
    angles = np.minimum(np.atleast_1d(radii_km) / EARTH_RADIUS_KM, np.pi)
    return _discs(mixture, points).masses(angles)


def holding_km(mixture: Mixture, point: LatLon, shares: Floats) -> Floats:
    """Radii `[S]` of the discs around a point `[2]` that hold shares of the mass.

    Raises:
        ValueError: A share is not in (0, 1].
    """
    if not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(f"shares must lie in (0, 1], got {shares}")
    return EARTH_RADIUS_KM * _discs(mixture, point[None, :]).holding(shares)


def _discs(mixture: Mixture, points: LatLon) -> Discs:
    away = pairwise_m(points, mixture.centres) / EARTH_RADIUS_M
    return Discs(away, kappa(mixture.radii_km), mixture.weights)


def nodes(mixture: Mixture, count: int) -> tuple[LatLon, Floats]:
    """Positions that stand for a mixture: each kernel as rings of equal mass, turned spirally.

    Without chance, so that the same question gets the same answer.

    Args:
        mixture: M kernels.
        count: About how many; a heavier kernel gets more.

    Returns:
        `[Q, 2]` and weights `[Q]` of sum 1.
    """
    each = np.maximum(np.ceil(mixture.weights * count), 1.0).astype(np.intp)
    owner = np.repeat(np.arange(len(each)), each)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(each) - each, each)
    away_km = disc_km((place + 0.5) / each[owner], mixture.radii_km[owner])
    # Kernels around one centre start at different bearings, or their nodes would form rays.
    turned_deg = np.mod(_GOLDEN_DEG * (place + 0.5 * owner), 360.0)
    positions = destination(mixture.centres[owner], turned_deg, away_km * 1_000.0)
    return positions, mixture.weights[owner] / each[owner]


def expected_scores(positions: LatLon, weights: Floats, points: LatLon, scale_km: float) -> Floats:
    """Expected `exp(-d / scale)` of each point, over nodes: `[G]` in [0, 1].

    Args:
        positions: `[Q, 2]` nodes.
        weights: `[Q]`.
        points: `[G, 2]`, what is to be chosen among.
        scale_km: Of the score.
    """
    # Half a chord tells the way to a decimetre at the antipode, and better anywhere else.
    half = np.sqrt(squared_chords(unit_xyz(points), unit_xyz(positions))) / 2.0
    away_km = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(half, 1.0))
    return np.asarray(np.exp(away_km / -scale_km) @ weights)


def depth(dense: Floats, weights: Floats, here: float) -> float:
    """Mass of all places denser than one: 0 at the densest, 1 at the thinnest.

    Args:
        dense: `[Q]` log densities of a mixture's nodes.
        weights: `[Q]` theirs.
        here: Log density of the place.
    """
    return float(weights[dense > here].sum())


def log_level(dense: Floats, weights: Floats, share: float) -> float:
    """Log density above which places hold a share of the mass (Hyndman 1996).

    Args:
        dense: `[Q]` log densities of a mixture's nodes.
        weights: `[Q]` theirs.
        share: Of the mass.

    Returns:
        Minus infinity for a share of 1 or more: everywhere.
    """
    if share >= 1.0:
        return -np.inf
    order = np.argsort(-dense, kind="stable")
    held = np.cumsum(weights[order])
    return float(dense[order[min(int(np.searchsorted(held, share)), len(order) - 1)]])
