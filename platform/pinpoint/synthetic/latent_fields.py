"""Latent fields: factors at five scales, from climate to street corner, that set the appearance.

Country factors are constant within a country. All others are smooth Gaussian fields in space.
Nearby cameras therefore see nearly the same, for any source kind and creator. The appearance of a
position cannot be memorized without images near it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, unit_xyz
from pinpoint.synthetic.seeds import rng

Doubles = NDArray[np.float64]

CLIMATE: Final = 2
COUNTRY: Final = 8
REGION: Final = 6
TOWN: Final = 6
CORNER: Final = 16
"""Eight factors of the position, and eight that distinguish the sides of the street."""

_CORRELATION_LENGTH_M: Final = {
    "climate": 3_000_000.0,
    "region": 200_000.0,
    "town": 12_000.0,
    "corner": 800.0,
}
"""Distance at which the correlation of a field is exp(-1/2)."""
_NUM_FACTORS: Final = {"climate": CLIMATE, "region": REGION, "town": TOWN, "corner": CORNER}
_NUM_WAVES: Final = 48
"""Number of waves per field; 48 are close to Gaussian and still cheap."""
_BLOCK_ROWS: Final = 2_048

LATENT_COLUMNS: Final = {
    "climate": slice(0, 2),
    "country": slice(2, 10),
    "region": slice(10, 16),
    "town": slice(16, 22),
    "corner": slice(22, 38),
}
WIDTH: Final = 38


def latent_factors(seed: int, spots: LatLonArray, countries: Sequence[str]) -> Floats32:
    """All factors of many positions.

    Args:
        seed: Seed of the planet.
        spots: `[B, 2]` degrees.
        countries: ISO code of each position.

    Returns:
        `[B, WIDTH]`, each about standard normal over the planet; columns as in `LATENT_COLUMNS`.
    """
    out = np.empty((len(spots), WIDTH), np.float32)
    for first in range(0, len(spots), _BLOCK_ROWS):
        part = slice(first, first + _BLOCK_ROWS)
        xyz = unit_xyz(spots[part])
        for scale in _CORRELATION_LENGTH_M:
            out[part, LATENT_COLUMNS[scale]] = _evaluate_field(seed, scale, xyz)
    # Heat depends on latitude more than on the random field.
    north = np.abs(spots[:, 0]) / 90.0
    out[:, 0] = (0.5 * out[:, 0] + 2.2 * (0.42 - north)).astype(np.float32)
    for country in sorted(set(countries)):
        rows = [row for row, code in enumerate(countries) if code == country]
        out[rows, LATENT_COLUMNS["country"]] = _country_style(seed, country)
    return out


def _evaluate_field(seed: int, scale: str, xyz: Doubles) -> Doubles:
    """A smooth random function on the sphere, `[B, 3]` to `[B, F]`.

    Random Fourier features (Rahimi and Recht 2007): a sum of cosines with normal frequencies has
    a Gaussian covariance over chords, which are nearly proportional to meters at short distances.
    Waves are added one by one: the summation order of a matrix product can depend on the number of
    rows.
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
    generator = rng(seed, "field", scale)
    size = _NUM_FACTORS[scale]
    waves: Doubles = generator.standard_normal((size, _NUM_WAVES, 3))
    waves *= EARTH_RADIUS_M / _CORRELATION_LENGTH_M[scale]
    return waves, generator.uniform(0.0, 2.0 * np.pi, (size, _NUM_WAVES))


@cache
def _country_style(seed: int, country: str) -> Doubles:
    style: Doubles = rng(seed, "country", country).standard_normal(COUNTRY)
    return style
