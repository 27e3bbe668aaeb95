"""Kernels as functions of the chord, summed fast: what densities and areas are made of.

Several kernels stand around one place, so chords are taken once for each; and arguments of `exp`
end where nothing is left, for numbers too small to be held cost ten times as much as others.
Letters: N positions, C places, M kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import squared_chords
from pinpoint.geo.points import LatLon, unit_xyz

Floats = NDArray[np.float64]

_LEAST: Final = -700.0
"""Logarithm of about the smallest number that processors are quick with."""

_SILENT: Final = -80.0
"""Logarithm of the share of its peak from which on a kernel adds nothing that counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Bells:
    """`Σ peak · exp(fall · chord²)` over M kernels around C places."""

    xyz: Floats
    """`[C, 3]`, unit vectors of the places."""
    seat: NDArray[np.intp]
    """`[M]`, the place of each kernel."""
    fall: Floats
    """`[M]`, negative."""
    peak: Floats
    """`[M]`, density per km² at the centre."""

    @classmethod
    def of(cls, centres: LatLon, k: Floats, peak: Floats) -> Bells:
        """The kernels whose peak is not 0.

        Args:
            centres: `[M, 2]`.
            k: `[M]` concentrations κ.
            peak: `[M]`.
        """
        own = np.flatnonzero(peak)
        # Places as one number each: to sort rows takes several times as long.
        named = centres[own] @ (1.0, 1j)
        _, first, seat = np.unique(named, return_index=True, return_inverse=True)
        return cls(unit_xyz(centres[own][first]), seat, k[own] / -2.0, peak[own])

    def heard(self, squared_chords: Floats) -> Bells:
        """The kernels that are not silent at these squared chords `[C]` from the places."""
        own = np.flatnonzero(self.fall * squared_chords[self.seat] > _SILENT)
        places, seat = np.unique(self.seat[own], return_inverse=True)
        return Bells(self.xyz[places], seat, self.fall[own], self.peak[own])

    def squared_chords(self, xyz: Floats) -> Floats:
        """From the places to unit vectors `[N, 3]`: `[C, N]`."""
        return squared_chords(self.xyz, xyz)

    def density(self, squared_chords: Floats) -> Floats:
        """Density per km² `[N]` from squared chords `[C, N]`."""
        told = squared_chords[self.seat]
        told *= self.fall[:, None]
        np.maximum(told, _LEAST, out=told)
        return np.asarray(self.peak @ np.exp(told, out=told))
