"""Helpers to draw noise and to map latent factors to shares and colors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32

Reals = NDArray[np.floating[Any]]

SECTORS: Final = 16
"""Number of houses around the camera, one per sixteenth of the horizon."""


class Draws:
    """Sequential access to the columns of uniform and normal noise."""

    def __init__(self, uniform: Floats32, normal: Floats32) -> None:
        self._uniform, self._normal = uniform, normal
        self._next = [0, 0]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Reals:
        """`[B]`, uniform."""
        column = self._uniform[:, self._next[0]]
        self._next[0] += 1
        return np.asarray(low + (high - low) * column, np.float32)

    def normal(self, std: float, size: int) -> Reals:
        """`[B, size]`, normal."""
        first = self._next[1]
        self._next[1] += size
        return np.asarray(std * self._normal[:, first : first + size], np.float32)


def directional_factors(corner_factors: Reals) -> Reals:
    """Four factors per direction: `[B, 4, S]`; opposite sides of a street differ."""
    angle = (np.arange(SECTORS, dtype=np.float32) + 0.5) * np.float32(2 * np.pi / SECTORS)
    base, east, north = corner_factors[:, :4], corner_factors[:, 8:12], corner_factors[:, 12:16]
    return np.asarray(
        0.75 * base[..., None]
        + 0.65 * (east[..., None] * np.sin(angle) + north[..., None] * np.cos(angle)),
        np.float32,
    )


def logistic(value: Reals) -> Reals:
    """Logistic map to (0, 1); approximately uniform for a standard normal input."""
    return np.asarray(1.0 / (1.0 + np.exp(-1.7 * value)), np.float32)


def interpolate_color(
    low: tuple[float, float, float], high: tuple[float, float, float], share: Reals
) -> Reals:
    """Linear interpolation between two colors: `[B, 3]`."""
    first, last = np.array(low, np.float32), np.array(high, np.float32)
    return np.asarray(first + (last - first) * share[:, None], np.float32)


def columns(*values: Reals) -> Reals:
    """Stack values of B images as columns: `[B, len(values)]`."""
    return np.stack([np.asarray(value, np.float32) for value in values], axis=1)
