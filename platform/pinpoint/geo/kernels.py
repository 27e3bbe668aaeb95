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

from pinpoint.geo.distance import pairwise_m
from pinpoint.geo.points import EARTH_RADIUS_M, LatLon, destination, unit_xyz

Floats = NDArray[np.float64]

EARTH_RADIUS_KM: Final = EARTH_RADIUS_M / 1_000.0
EARTH_AREA_KM2: Final = 4.0 * np.pi * EARTH_RADIUS_KM**2
ANYWHERE_KM: Final = 1e9
"""A kernel of this radius is even over the whole Earth, to 1e-10."""
_LEAST_KAPPA: Final = 1e-12
_STEPS: Final = 16
"""Nodes of the integral over the ring in which a disc holds a part of each circle."""
_GOLDEN_DEG: Final = 137.50776405003785
_HALVINGS: Final = 18
"""Of the logarithm of a radius: right to 1e-4 of it."""


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
    # 1 - cos θ as 2 sin²(θ/2): it keeps its digits where θ is tiny and κ is huge.
    fall = k * 2.0 * np.square(np.sin(distance_km / (2.0 * EARTH_RADIUS_KM)))
    return np.asarray(np.log(k / (-np.expm1(-2.0 * k) * 2.0 * np.pi * EARTH_RADIUS_KM**2)) - fall)


def disc_mass(distance_km: Floats, radius_km: Floats | float) -> Floats:
    """Mass of a kernel within some distance of its own centre; broadcast."""
    k = kappa(radius_km)
    fall = k * 2.0 * np.square(np.sin(distance_km / (2.0 * EARTH_RADIUS_KM)))
    return np.asarray(np.expm1(-fall) / np.expm1(-2.0 * k))


def disc_km(mass: Floats, radius_km: Floats | float) -> Floats:
    """Distance from its centre within which a kernel holds this mass; the inverse of the above."""
    k = kappa(radius_km)
    with np.errstate(divide="ignore"):
        fall = -np.log1p(mass * np.expm1(-2.0 * k)) / k
    half = np.sqrt(np.clip(fall / 2.0, 0.0, 1.0))
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(half))


def log_density(mixture: Mixture, positions: LatLon) -> Floats:
    """Log density of a mixture, per km²: `[N]`; minus infinity where it underflows.

    Args:
        mixture: M kernels.
        positions: `[N, 2]`.
    """
    here, centres = unit_xyz(positions), unit_xyz(mixture.centres)
    # 1 - cos θ is half the squared chord; axis by axis, so that no [N, M, 3] array is made.
    fall = np.zeros((len(here), len(centres)))
    for axis in range(3):
        fall += np.square(np.subtract.outer(here[:, axis], centres[:, axis]))
    fall *= kappa(mixture.radii_km) / -2.0
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(fall, out=fall) @ peaks(mixture)))


def peaks(mixture: Mixture) -> Floats:
    """What each kernel adds to the density at its own centre, `[M]` per km²."""
    return np.asarray(np.exp(log_kernel(np.zeros(1), mixture.radii_km)) * mixture.weights)


def masses_within(mixture: Mixture, points: LatLon, radius_km: float) -> Floats:
    """Mass of a mixture within some kilometres of each point.

    For a kernel whose centre lies d away, circles around that centre lie wholly within the disc,
    wholly outside, or, for angles between |r - d| and r + d, with an arc of `arccos((cos r - cos θ
    cos d) / (sin θ sin d))`. The arcs are integrated over the kernel's mass, by the midpoint rule
    after a substitution that takes the square roots out of both ends.

    Args:
        mixture: M kernels.
        points: `[G, 2]`.
        radius_km: Of the disc, along the ground.

    Returns:
        `[G]` in [0, 1]; right to about 1e-3 of each kernel's weight.
    """
    return _held(pairwise_m(points, mixture.centres) / EARTH_RADIUS_M, mixture, radius_km)


def _held(away: Floats, mixture: Mixture, radius_km: float) -> Floats:
    """The above from angles `[G, M]` between points and centres."""
    d = away[..., None]
    r = min(radius_km / EARTH_RADIUS_KM, np.pi)
    radii_km = mixture.radii_km[:, None]
    low = np.abs(r - d)
    high = np.minimum(r + d, 2.0 * np.pi - r - d)
    from_low = disc_mass(low * EARTH_RADIUS_KM, radii_km)
    to_high = disc_mass(high * EARTH_RADIUS_KM, radii_km)
    x = (np.arange(_STEPS) + 0.5) / _STEPS * np.pi
    mass = from_low + (to_high - from_low) * (0.5 - 0.5 * np.cos(x))
    ring = np.clip(disc_km(mass, radii_km) / EARTH_RADIUS_KM, low, high)
    over = np.sin(ring) * np.sin(d)
    cosine = (np.cos(r) - np.cos(ring) * np.cos(d)) / np.where(over > 0, over, 1.0)
    arc = np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi
    step = (to_high - from_low)[..., 0] * np.pi / (2.0 * _STEPS)
    held = step * (arc * np.sin(x)).sum(axis=-1)
    held += np.where(d <= r, from_low, 0.0)[..., 0]
    held += np.where(r + d > np.pi, 1.0 - to_high, 0.0)[..., 0]
    return np.asarray(np.clip(held, 0.0, 1.0) @ mixture.weights)


def holding_km(mixture: Mixture, point: LatLon, share: float) -> float:
    """Radius of the disc around a point `[2]` that holds a share of the mass.

    Raises:
        ValueError: The share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    away = pairwise_m(point[None, :], mixture.centres) / EARTH_RADIUS_M
    low, high = np.log(1e-3), np.log(np.pi * EARTH_RADIUS_KM)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        held = float(_held(away, mixture, float(np.exp(middle)))[0])
        low, high = (low, middle) if held >= share else (middle, high)
    return float(np.exp(high))


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
    return np.asarray(np.exp(pairwise_m(points, positions) / (-1_000.0 * scale_km)) @ weights)


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
