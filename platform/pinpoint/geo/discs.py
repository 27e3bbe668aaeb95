"""Mass of a kernel mixture in a disc, and the disc around a point that contains a given mass.

For a kernel whose center is at angle d from the disc's center, circles around the kernel's center
are inside the disc, outside it, or, for angles between |r - d| and r + d, have an arc of
`arccos((cos r - cos θ cos d) / (sin θ sin d))` inside. The arcs are integrated over the kernel's
mass by the midpoint rule, after a substitution that removes the square roots at both ends.

Angles are stored as versines, `1 - cos θ = 2 sin²(θ/2)`: they keep their precision for tiny angles
and huge κ. Letters: G discs, M kernels, A integrated pairs.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.geo.points import EARTH_RADIUS_M

_QUADRATURE_NODES: Final = 16
"""Quadrature nodes over the ring of circles that are partly inside the disc."""
_NEGLIGIBLE_MASS: Final = 1e-12
"""Kernel mass below which no integral is computed."""
_NODE_ANGLES: Final = (np.arange(_QUADRATURE_NODES) + 0.5) / _QUADRATURE_NODES * np.pi
_NODE_POSITIONS: Final = 0.5 - 0.5 * np.cos(_NODE_ANGLES)
_NODE_WEIGHTS: Final = np.sin(_NODE_ANGLES) / (2.0 * _QUADRATURE_NODES)
_MIN_ANGLE: Final = 1.0 / EARTH_RADIUS_M
"""One meter, the smallest disc."""
_BISECTION_STEPS: Final = 18
"""Bisection steps of the log radius: a relative error of 1e-4."""


def versine(angle: Floats) -> Floats:
    """Versine `1 - cos` of angles, without cancellation."""
    return np.asarray(2.0 * np.square(np.sin(angle / 2.0)))


def mass_within(versine_of_angle: Floats, k: Floats) -> Floats:
    """Mass of a kernel of concentration κ within an angle of its center; broadcast.

    Args:
        versine_of_angle: Versine of the angle.
        k: Concentration κ.
    """
    return np.asarray(np.expm1(-k * versine_of_angle) / np.expm1(-2.0 * k))


def versine_for_mass(mass: Floats, k: Floats) -> Floats:
    """Inverse of `mass_within`; infinite if κ is huge and `mass` is 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log1p(mass * np.expm1(-2.0 * k)) / -k)


class Discs:
    """Discs around one point, or around each of G points, over the same M kernels.

    Args:
        distance: `[1, M]` or `[G, M]` angles between points and kernel centers.
        k: `[M]` concentrations κ.
        weights: `[M]`, of sum 1.
    """

    def __init__(self, distance: Floats, k: Floats, weights: Floats) -> None:
        self._distance, self._k, self._weights = distance, k, weights
        self._sine, self._cosine = np.sin(distance / 2.0), np.cos(distance / 2.0)
        self._of_point = 2.0 * np.square(self._sine)

    def masses(self, radii: Floats) -> Floats:
        """Mass within an angle of each point.

        Args:
            radii: `[1]` for all points, or `[G]` for the one point; at most π.

        Returns:
            `[G]` in [0, 1]; error about 1e-3 of each kernel's weight.
        """
        radius = radii[:, None]
        sine, cosine = np.sin(radius / 2.0), np.cos(radius / 2.0)
        inner, outer = sine * self._cosine, cosine * self._sine
        low, high = 2.0 * np.square(inner - outer), 2.0 * np.square(inner + outer)
        from_low, to_high = mass_within(low, self._k), mass_within(high, self._k)
        mass_in_disc = np.where(self._distance <= radius, from_low, 0.0)
        mass_in_disc += np.where(radius + self._distance > np.pi, 1.0 - to_high, 0.0)
        # Most kernels are entirely inside or entirely outside the disc.
        part = to_high - from_low
        disc, kernel = np.nonzero(part > _NEGLIGIBLE_MASS)
        cut = (disc, kernel)
        mass_in_disc[cut] += part[cut] * _arc_shares(
            from_low[cut],
            part[cut],
            self._k[kernel],
            bounds=(low[cut], high[cut]),
            of_point=self._of_point[disc % len(self._of_point), kernel],
            of_radius=2.0 * np.square(sine[disc % len(sine), 0]),
        )
        return np.asarray(np.clip(mass_in_disc, 0.0, 1.0) @ self._weights)

    def radii_for_masses(self, shares: Floats) -> Floats:
        """Angles `[S]` of the discs around the one point that contain shares `[S]` of the mass.

        Bisection of the log angle: the mass rises in steps, from candidate to candidate, so
        interpolating methods do not converge faster.
        """
        low, high = np.full((2, len(shares)), [[np.log(_MIN_ANGLE)], [np.log(np.pi)]])
        for _ in range(_BISECTION_STEPS):
            middle = (low + high) / 2.0
            enough = self.masses(np.exp(middle)) >= shares
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.asarray(np.exp(high))


def _arc_shares(
    from_low: Floats,
    part: Floats,
    k: Floats,
    *,
    bounds: tuple[Floats, Floats],
    of_point: Floats,
    of_radius: Floats,
) -> Floats:
    """Share of the mass between two versines that is inside the disc, `[A]`; all are `[A]`."""
    ring = versine_for_mass(from_low[:, None] + part[:, None] * _NODE_POSITIONS, k[:, None])
    np.clip(ring, bounds[0][:, None], bounds[1][:, None], out=ring)
    # cos r - cos θ cos d and sin θ sin d, written with versines.
    above = ring * (1.0 - of_point)[:, None] + (of_point - of_radius)[:, None]
    over = np.sqrt(ring * (2.0 - ring) * (of_point * (2.0 - of_point))[:, None])
    cosine = above / np.where(over > 0, over, 1.0)
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)) @ _NODE_WEIGHTS)
