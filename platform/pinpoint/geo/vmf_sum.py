"""Fast sums of von Mises–Fisher (vMF) kernels, written as functions of the squared chord.

Chords are computed once per center and shared by its kernels. Arguments of `exp` are clamped,
because subnormal results are ten times slower. Letters: N positions, C centers, M kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.distance import squared_chords
from pinpoint.geo.points import LatLonArray, unit_xyz

_MIN_LOG: Final = -700.0
"""Logarithm of about the smallest normal float64."""

_NEGLIGIBLE_LOG_SHARE: Final = -80.0
"""Log of the share of its peak below which a kernel is negligible."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelSum:
    """`Σ amplitude · exp(exponent_factor · chord²)` over M kernels around C centers."""

    xyz: Floats
    """`[C, 3]`, unit vectors of the centers."""
    center_index: NDArray[np.intp]
    """`[M]`, index of each kernel's center."""
    exponent_factor: Floats
    """`[M]`, negative."""
    amplitude: Floats
    """`[M]`, density per km² at the center."""

    @classmethod
    def of(cls, centers: LatLonArray, k: Floats, amplitude: Floats) -> KernelSum:
        """The kernels whose amplitude is not 0.

        Args:
            centers: `[M, 2]`.
            k: `[M]` concentrations κ.
            amplitude: `[M]`.
        """
        nonzero = np.flatnonzero(amplitude)
        # One complex number per center: sorting rows takes several times as long.
        complex_positions = centers[nonzero] @ (1.0, 1j)
        _, first_index, center_index = np.unique(
            complex_positions, return_index=True, return_inverse=True
        )
        return cls(
            unit_xyz(centers[nonzero][first_index]),
            center_index,
            k[nonzero] / -2.0,
            amplitude[nonzero],
        )

    def select_active(self, squared_chords: Floats) -> KernelSum:
        """The kernels that are not negligible at squared chords `[C]` from the centers."""
        active = np.flatnonzero(
            self.exponent_factor * squared_chords[self.center_index] > _NEGLIGIBLE_LOG_SHARE
        )
        center_ids, center_index = np.unique(self.center_index[active], return_inverse=True)
        return KernelSum(
            self.xyz[center_ids], center_index, self.exponent_factor[active], self.amplitude[active]
        )

    def squared_chords(self, xyz: Floats) -> Floats:
        """Squared chords from the centers to unit vectors `[N, 3]`: `[C, N]`."""
        return squared_chords(self.xyz, xyz)

    def density(self, squared_chords: Floats) -> Floats:
        """Density per km² `[N]` from squared chords `[C, N]`."""
        exponents = squared_chords[self.center_index]
        exponents *= self.exponent_factor[:, None]
        np.maximum(exponents, _MIN_LOG, out=exponents)
        return np.asarray(self.amplitude @ np.exp(exponents, out=exponents))
