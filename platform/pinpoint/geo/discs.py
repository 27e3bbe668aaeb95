"""How much of a mixture of kernels a disc around some point holds, and which disc holds a share.

For a kernel whose centre lies d away, circles around that centre lie wholly within the disc, wholly
outside, or, for angles between |r - d| and r + d, with an arc of `arccos((cos r - cos θ cos d) /
(sin θ sin d))`. The arcs are integrated over the kernel's mass, by the midpoint rule after a
substitution that takes the square roots out of both ends.

Angles are carried as drops, `1 - cos θ = 2 sin²(θ/2)`: they keep their digits where angles are tiny
and κ is huge, and no sine is taken while radii are tried.
Letters: G discs, M kernels, A pairs that are integrated.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.points import EARTH_RADIUS_M

Floats = NDArray[np.float64]

_STEPS: Final = 16
"""Nodes of the integral over the ring in which a disc holds a part of each circle."""
_NOTHING: Final = 1e-12
"""Of a kernel's mass what is not worth an integral."""
_TURN: Final = (np.arange(_STEPS) + 0.5) / _STEPS * np.pi
_RISE: Final = 0.5 - 0.5 * np.cos(_TURN)
_WORTH: Final = np.sin(_TURN) / (2.0 * _STEPS)
_LEAST_ANGLE: Final = 1.0 / EARTH_RADIUS_M
"""A metre: no disc is smaller."""
_HALVINGS: Final = 18
"""Of the logarithm of a radius: right to 1e-4 of it."""


def drop(angle: Floats) -> Floats:
    """`1 - cos` of angles, all digits kept."""
    return np.asarray(2.0 * np.square(np.sin(angle / 2.0)))


def mass_within(fallen: Floats, k: Floats) -> Floats:
    """Mass of a kernel of concentration κ within an angle of this drop of its centre; broadcast."""
    return np.asarray(np.expm1(-k * fallen) / np.expm1(-2.0 * k))


def drop_holding(mass: Floats, k: Floats) -> Floats:
    """The inverse of the above; infinite where κ is huge and all of the mass is wanted."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log1p(mass * np.expm1(-2.0 * k)) / -k)


class Discs:
    """Discs around one point, or one around each of G, over the same M kernels.

    Args:
        away: `[1, M]` or `[G, M]` angles between points and centres.
        k: `[M]` concentrations κ.
        weights: `[M]`, of sum 1.
    """

    def __init__(self, away: Floats, k: Floats, weights: Floats) -> None:
        self._away, self._k, self._weights = away, k, weights
        self._sine, self._cosine = np.sin(away / 2.0), np.cos(away / 2.0)
        self._of_point = 2.0 * np.square(self._sine)

    def masses(self, radii: Floats) -> Floats:
        """Mass within an angle of each point.

        Args:
            radii: `[1]` for all points alike, or of the one point `[G]`; at most π.

        Returns:
            `[G]` in [0, 1]; right to about 1e-3 of each kernel's weight.
        """
        radius = radii[:, None]
        sine, cosine = np.sin(radius / 2.0), np.cos(radius / 2.0)
        inner, outer = sine * self._cosine, cosine * self._sine
        low, high = 2.0 * np.square(inner - outer), 2.0 * np.square(inner + outer)
        from_low, to_high = mass_within(low, self._k), mass_within(high, self._k)
        held = np.where(self._away <= radius, from_low, 0.0)
        held += np.where(radius + self._away > np.pi, 1.0 - to_high, 0.0)
        # Most kernels lie wholly within the disc, or wholly outside.
        part = to_high - from_low
        disc, kernel = np.nonzero(part > _NOTHING)
        cut = (disc, kernel)
        held[cut] += part[cut] * _arcs(
            from_low[cut],
            part[cut],
            self._k[kernel],
            bounds=(low[cut], high[cut]),
            of_point=self._of_point[disc % len(self._of_point), kernel],
            of_radius=2.0 * np.square(sine[disc % len(sine), 0]),
        )
        return np.asarray(np.clip(held, 0.0, 1.0) @ self._weights)

    def holding(self, shares: Floats) -> Floats:
        """Angles `[S]` of the discs around the one point that hold shares `[S]` of the mass.

        By bisection of their logarithms: the mass climbs in steps, from candidate to candidate, so
        that nothing is won by lines or parabolas through it.
        """
        low, high = np.full((2, len(shares)), [[np.log(_LEAST_ANGLE)], [np.log(np.pi)]])
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            enough = self.masses(np.exp(middle)) >= shares
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.asarray(np.exp(high))


def _arcs(
    from_low: Floats,
    part: Floats,
    k: Floats,
    *,
    bounds: tuple[Floats, Floats],
    of_point: Floats,
    of_radius: Floats,
) -> Floats:
    """Share of the mass between two drops that lies within the disc, `[A]`; all are `[A]`."""
    ring = drop_holding(from_low[:, None] + part[:, None] * _RISE, k[:, None])
    np.clip(ring, bounds[0][:, None], bounds[1][:, None], out=ring)
    # cos r - cos θ cos d and sin θ sin d, of drops.
    above = ring * (1.0 - of_point)[:, None] + (of_point - of_radius)[:, None]
    over = np.sqrt(ring * (2.0 - ring) * (of_point * (2.0 - of_point))[:, None])
    cosine = above / np.where(over > 0, over, 1.0)
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)) @ _WORTH)
