"""H3 cells: ids of hexagonal cells for counting, grouping and density.

Ids are `int64`: H3 keeps its highest bit at 0, so every id fits PostgreSQL's BIGINT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from h3.api import basic_int as h3
from numpy.typing import NDArray

from pinpoint.geo.points import LatLonArray
from pinpoint.records import Point

RESOLUTIONS: Final = (5, 7, 9)
"""Cells of about 253 km², 5.2 km² and 0.105 km² (mean area)."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one position."""

    r5: int
    r7: int
    r9: int


def cells_of(point: Point) -> Cells:
    """The cells of resolution 5, 7 and 9 that contain a position.

    Coarse cells are computed from the position, not as parents of the fine cell: H3 cells do not
    nest exactly, and a count over r5 must mean "positions in this hexagon".
    """
    r5, r7, r9 = (int(h3.latlng_to_cell(point.lat, point.lon, r)) for r in RESOLUTIONS)
    return Cells(r5=r5, r7=r7, r9=r9)


def cell_ids(positions: LatLonArray, resolutions: Sequence[int] = RESOLUTIONS) -> NDArray[np.int64]:
    """Cells of many positions.

    Args:
        positions: `[N, 2]` degrees.
        resolutions: H3 resolutions, each in [0, 15].

    Returns:
        `[N, len(resolutions)]` ids, all positive.

    Raises:
        ValueError: A position is not finite or out of range; H3 would wrap the latter silently.
    """
    checked = np.asarray(positions, dtype=np.float64).reshape(-1, 2)
    good = (np.abs(checked) <= (90.0, 180.0)).all(axis=1)  # false for NaN, too
    if not good.all():
        bad = int(np.argmin(good))
        raise ValueError(f"position {bad} ({checked[bad, 0]}, {checked[bad, 1]}) is out of range")
    ids = [
        h3.latlng_to_cell(lat, lon, resolution)
        for lat, lon in checked.tolist()
        for resolution in resolutions
    ]
    return np.array(ids, dtype=np.int64).reshape(-1, len(resolutions))


def center(cell: int) -> Point:
    """The center of a cell."""
    lat, lon = h3.cell_to_latlng(int(cell))
    return Point(lat=lat, lon=lon)
