"""How numbers become looks: handing out chance, turning factors into shares and colours."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.world.seeds import Floats

Reals = NDArray[np.floating[Any]]

SECTORS: Final = 16
"""Houses around the camera, one in each sixteenth of the horizon."""


class Chance:
    """Hands out the columns of the noise one after the other."""

    def __init__(self, flat: Floats, bell: Floats) -> None:
        self._flat, self._bell = flat, bell
        self._next = [0, 0]

    def flat(self, low: float = 0.0, high: float = 1.0) -> Reals:
        """`[B]`, uniform."""
        column = self._flat[:, self._next[0]]
        self._next[0] += 1
        return np.asarray(low + (high - low) * column, np.float32)

    def bell(self, spread: float, size: int) -> Reals:
        """`[B, size]`, normal."""
        first = self._next[1]
        self._next[1] += size
        return np.asarray(spread * self._bell[:, first : first + size], np.float32)


def around(corner: Reals) -> Reals:
    """Four factors as seen in each direction: `[B, 4, S]`; opposite sides of a street differ."""
    angle = (np.arange(SECTORS, dtype=np.float32) + 0.5) * np.float32(2 * np.pi / SECTORS)
    own, east, north = corner[:, :4], corner[:, 8:12], corner[:, 12:16]
    return np.asarray(
        0.75 * own[..., None]
        + 0.65 * (east[..., None] * np.sin(angle) + north[..., None] * np.cos(angle)),
        np.float32,
    )


def soft(value: Reals) -> Reals:
    """A factor as a share in (0, 1), about evenly spread for a standard normal."""
    return np.asarray(1.0 / (1.0 + np.exp(-1.7 * value)), np.float32)


def mix(low: tuple[float, float, float], high: tuple[float, float, float], share: Reals) -> Reals:
    """A colour between two: `[B, 3]`."""
    first, last = np.array(low, np.float32), np.array(high, np.float32)
    return np.asarray(first + (last - first) * share[:, None], np.float32)


def columns(*values: Reals) -> Reals:
    """Values of B images side by side: `[B, len(values)]`."""
    return np.stack([np.asarray(value, np.float32) for value in values], axis=1)
