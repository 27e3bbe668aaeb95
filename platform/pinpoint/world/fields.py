"""What decides how a spot looks: factors at five scales, from the climate to the street corner.

Country factors are constant within a country. All others are smooth Gaussian fields in space, so
that two cameras near each other see nearly the same, whatever kind they are and whoever holds
them, and nothing about a spot can be learned by heart without having been near it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.points import EARTH_RADIUS_M, LatLon, unit_xyz
from pinpoint.world.seeds import Floats, rng

Doubles = NDArray[np.float64]

CLIMATE: Final = 2
COUNTRY: Final = 8
REGION: Final = 6
TOWN: Final = 6
CORNER: Final = 16
"""Eight factors of the spot, and eight that tell one side of the street from another."""

_CORRELATION_LENGTH_M: Final = {
    "climate": 3_000_000.0,
    "region": 200_000.0,
    "town": 12_000.0,
    "corner": 800.0,
}
"""Length over which a field's correlation falls to exp(-1/2)."""
_NUM_FACTORS: Final = {"climate": CLIMATE, "region": REGION, "town": TOWN, "corner": CORNER}
_NUM_WAVES: Final = 48
"""Waves in the sum that makes a field; 48 are close to Gaussian and still cheap."""
_BLOCK_ROWS: Final = 2_048

COLUMNS: Final = {
    "climate": slice(0, 2),
    "country": slice(2, 10),
    "region": slice(10, 16),
    "town": slice(16, 22),
    "corner": slice(22, 38),
}
WIDTH: Final = 38


def latent_factors(seed: int, spots: LatLon, countries: Sequence[str]) -> Floats:
    """All factors of many spots.

    Args:
        seed: Names the planet.
        spots: `[B, 2]` degrees.
        countries: ISO code for each spot.

    Returns:
        `[B, WIDTH]`, each about standard normal over the planet; columns by `COLUMNS`.
    """
    out = np.empty((len(spots), WIDTH), np.float32)
    for first in range(0, len(spots), _BLOCK_ROWS):
        part = slice(first, first + _BLOCK_ROWS)
        xyz = unit_xyz(spots[part])
        for scale in _CORRELATION_LENGTH_M:
            out[part, COLUMNS[scale]] = _evaluate_field(seed, scale, xyz)
    # Heat follows latitude before it follows chance.
    north = np.abs(spots[:, 0]) / 90.0
    out[:, 0] = (0.5 * out[:, 0] + 2.2 * (0.42 - north)).astype(np.float32)
    for country in sorted(set(countries)):
        rows = [row for row, code in enumerate(countries) if code == country]
        out[rows, COLUMNS["country"]] = _country_style(seed, country)
    return out


def _evaluate_field(seed: int, scale: str, xyz: Doubles) -> Doubles:
    """A smooth random function on the sphere, `[B, 3]` to `[B, F]`.

    Random Fourier features (Rahimi and Recht 2007): a sum of cosines with normal frequencies has
    a Gaussian covariance over chords, which over short ways is one over metres. Waves are added
    one by one: a matrix product may sum in another order for another number of rows.
    """
    waves, phases = _draw_waves(seed, scale)
    out = np.zeros((len(xyz), phases.shape[0]))
    for wave in range(_NUM_WAVES):
        turn = waves[:, wave]
        angle = xyz[:, :1] * turn[:, 0] + xyz[:, 1:2] * turn[:, 1] + xyz[:, 2:] * turn[:, 2]
        out += np.cos(angle + phases[:, wave])
    out *= np.sqrt(2.0 / _NUM_WAVES)
    return out


@cache
def _draw_waves(seed: int, scale: str) -> tuple[Doubles, Doubles]:
    """Frequencies `[F, waves, 3]` in radians over the unit sphere, and phases `[F, waves]`."""
    chance = rng(seed, "field", scale)
    size = _NUM_FACTORS[scale]
    waves: Doubles = chance.standard_normal((size, _NUM_WAVES, 3))
    waves *= EARTH_RADIUS_M / _CORRELATION_LENGTH_M[scale]
    return waves, chance.uniform(0.0, 2.0 * np.pi, (size, _NUM_WAVES))


@cache
def _country_style(seed: int, country: str) -> Doubles:
    style: Doubles = rng(seed, "country", country).standard_normal(COUNTRY)
    return style
