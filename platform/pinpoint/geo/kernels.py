"""Mixtures of von Mises–Fisher kernels on the sphere: densities, masses, regions.

A kernel of radius r is the sphere's normal distribution with a standard deviation of r along each
axis: `density ∝ exp(κ (cos θ - 1))`, κ = (R / r)². Everything uses chords and `expm1`, so κ = 4e11
(10 m) and κ = 0 (uniform on the Earth) share one code path.
Letters: M kernels, N and G positions `[..., 2]` degrees, Q quadrature nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.geo.discs import Discs, mass_within, versine, versine_for_mass
from pinpoint.geo.distance import pairwise_m, squared_chords
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, destination, unit_xyz
from pinpoint.geo.vmf_sum import KernelSum

EARTH_RADIUS_KM: Final = EARTH_RADIUS_M / 1_000.0
EARTH_AREA_KM2: Final = 4.0 * np.pi * EARTH_RADIUS_KM**2
ANYWHERE_KM: Final = 1e9
"""A kernel of this radius is uniform over the Earth, to 1e-10."""
_MIN_KAPPA: Final = 1e-12
_GOLDEN_ANGLE_DEG: Final = 137.50776405003785


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Weighted kernels.

    Raises:
        ValueError: Shapes differ, a radius is not positive, or weights are negative or do not sum
            to 1.
    """

    centers: LatLonArray
    """`[M, 2]`."""
    radii_km: Floats
    """`[M]`, positive; `ANYWHERE_KM` for a uniform one."""
    weights: Floats
    """`[M]`, of sum 1."""

    def __post_init__(self) -> None:
        count = len(self.weights)
        if self.centers.shape != (count, 2) or self.radii_km.shape != (count,):
            raise ValueError(
                f"{count} weights, centers {self.centers.shape}, radii {self.radii_km.shape}"
            )
        if not (self.radii_km > 0).all():
            raise ValueError("every kernel needs a radius above 0 km")
        if not ((self.weights >= 0).all() and abs(float(self.weights.sum()) - 1.0) < 1e-6):
            raise ValueError("weights must not be negative and must sum to 1")


def kappa(radius_km: Floats | float) -> Floats:
    """Concentration κ of a kernel of some radius."""
    radius = np.asarray(radius_km, dtype=np.float64)
    return np.maximum(np.square(EARTH_RADIUS_KM / radius), _MIN_KAPPA)


def log_kernel(distance_km: Floats, radius_km: Floats | float) -> Floats:
    """Log density, per km², of a kernel at some distance from its center; broadcast."""
    k = kappa(radius_km)
    decay = k * versine(distance_km / EARTH_RADIUS_KM)
    return np.asarray(np.log(k / (-np.expm1(-2.0 * k) * 2.0 * np.pi * EARTH_RADIUS_KM**2)) - decay)


def disc_mass(distance_km: Floats, radius_km: Floats | float) -> Floats:
    """Mass of a kernel within some distance of its center; broadcast."""
    return mass_within(versine(distance_km / EARTH_RADIUS_KM), kappa(radius_km))


def disc_km(mass: Floats, radius_km: Floats | float) -> Floats:
    """Distance from its center that contains this mass of a kernel; inverse of `disc_mass`."""
    half = np.sqrt(np.clip(versine_for_mass(mass, kappa(radius_km)) / 2.0, 0.0, 1.0))
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(half))


def log_density(mixture: Mixture, positions: LatLonArray) -> Floats:
    """Log density of a mixture, per km²: `[N]`; at least log(1e-304) relative to its peaks.

    Args:
        mixture: M kernels.
        positions: `[N, 2]`.
    """
    kernel_sum = KernelSum.of(mixture.centers, kappa(mixture.radii_km), peak_densities(mixture))
    return np.asarray(np.log(kernel_sum.density(kernel_sum.squared_chords(unit_xyz(positions)))))


def peak_densities(mixture: Mixture) -> Floats:
    """Density of each kernel at its own center, times its weight: `[M]` per km²."""
    return np.asarray(np.exp(log_kernel(np.zeros(1), mixture.radii_km)) * mixture.weights)


def masses_within(mixture: Mixture, points: LatLonArray, radii_km: float | Floats) -> Floats:
    """Mass of a mixture within some kilometers of each point.

    Args:
        mixture: M kernels.
        points: `[G, 2]`, or `[1, 2]` for many radii around one point.
        radii_km: Radii of the discs along the ground: one, or `[G]` for the one point.

    Returns:
        `[G]` in [0, 1]; error about 1e-3 of each kernel's weight.
    """
    angles = np.minimum(np.atleast_1d(radii_km) / EARTH_RADIUS_KM, np.pi)
    return _make_discs(mixture, points).masses(angles)


def radius_for_mass_km(mixture: Mixture, point: LatLonArray, shares: Floats) -> Floats:
    """Radii `[S]` of the discs around a point `[2]` that contain shares of the mass.

    Raises:
        ValueError: A share is not in (0, 1].
    """
    if not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(f"shares must be in (0, 1], got {shares}")
    return EARTH_RADIUS_KM * _make_discs(mixture, point[None, :]).radii_for_masses(shares)


def _make_discs(mixture: Mixture, points: LatLonArray) -> Discs:
    distance = pairwise_m(points, mixture.centers) / EARTH_RADIUS_M
    return Discs(distance, kappa(mixture.radii_km), mixture.weights)


def quadrature_nodes(mixture: Mixture, count: int) -> tuple[LatLonArray, Floats]:
    """Quadrature nodes of a mixture: each kernel as rings of equal mass on a Fibonacci spiral.

    Deterministic, so the same query gets the same answer.

    Args:
        mixture: M kernels.
        count: Approximate number of nodes; heavier kernels get more.

    Returns:
        `[Q, 2]` and weights `[Q]` of sum 1.
    """
    node_counts = np.maximum(np.ceil(mixture.weights * count), 1.0).astype(np.intp)
    kernel_index = np.repeat(np.arange(len(node_counts)), node_counts)
    node_rank = np.arange(len(kernel_index)) - np.repeat(
        np.cumsum(node_counts) - node_counts, node_counts
    )
    distance_km = disc_km(
        (node_rank + 0.5) / node_counts[kernel_index], mixture.radii_km[kernel_index]
    )
    # Kernels around one center start at different bearings; otherwise their nodes form rays.
    bearing_deg = np.mod(_GOLDEN_ANGLE_DEG * (node_rank + 0.5 * kernel_index), 360.0)
    positions = destination(mixture.centers[kernel_index], bearing_deg, distance_km * 1_000.0)
    return positions, mixture.weights[kernel_index] / node_counts[kernel_index]


def expected_scores(
    positions: LatLonArray, weights: Floats, points: LatLonArray, scale_km: float
) -> Floats:
    """Expected score `exp(-d / scale)` of each point over the nodes: `[G]` in [0, 1].

    Args:
        positions: `[Q, 2]` nodes.
        weights: `[Q]`.
        points: `[G, 2]`, the points to choose from.
        scale_km: Length scale of the score.
    """
    # The half chord gives the distance to a decimeter at the antipode, and better elsewhere.
    half_chord = np.sqrt(squared_chords(unit_xyz(points), unit_xyz(positions))) / 2.0
    distance_km = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(half_chord, 1.0))
    return np.asarray(np.exp(distance_km / -scale_km) @ weights)


def hdr_level_of(dense: Floats, weights: Floats, log_density_here: float) -> float:
    """Mass of all positions denser than a given one: 0 at the mode, 1 at the least dense.

    Args:
        dense: `[Q]` log densities of a mixture's nodes.
        weights: `[Q]` weights of the nodes.
        log_density_here: Log density of the position.
    """
    return float(weights[dense > log_density_here].sum())


def hdr_log_density(dense: Floats, weights: Floats, share: float) -> float:
    """Log density whose superlevel set contains a share of the mass (HDR, Hyndman 1996).

    Args:
        dense: `[Q]` log densities of a mixture's nodes.
        weights: `[Q]` weights of the nodes.
        share: Share of the mass, above 0.

    Returns:
        Log density per km²; minus infinity for a share of 1 or more.
    """
    if share >= 1.0:
        return -np.inf
    order = np.argsort(-dense, kind="stable")
    cumulative_mass = np.cumsum(weights[order])
    return float(dense[order[min(int(np.searchsorted(cumulative_mass, share)), len(order) - 1)]])
