"""H3 cells: ids of hexagonal cells for counting, grouping and density.

Ids are `int64`: H3 keeps its highest bit at 0, so every id fits PostgreSQL's BIGINT.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from h3.api import basic_int as h3
from numpy.typing import NDArray

from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray
from pinpoint.records import Point, Polygon, Ring

RESOLUTIONS: Final = (5, 7, 9)
"""Cells of about 253 km², 5.2 km² and 0.105 km² (mean area)."""

_CELL_TEXT: Final = re.compile("0?[0-9A-Fa-f]{15}")


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


def cell_diameter_deg(resolution: int) -> float:
    """Upper limit of the distance between two positions of a cell, degrees of arc.

    It includes positions that lie outside the cell but whose cell of resolution 7 has it as parent.
    """
    # The longest edges exceed the mean by less than a third, and a diameter is two edges.
    edge_m = h3.average_hexagon_edge_length(resolution, "m")
    return float(np.degrees(4.0 * edge_m / EARTH_RADIUS_M))


def cell_polygons(cell: str) -> tuple[Polygon, ...]:
    """Boundary of a cell, cut at the antimeridian (RFC 7946, section 3.1.9).

    Edges are straight lines in degrees. A cell with a pole reaches to latitude ±90.

    Args:
        cell: H3 id in hex digits.

    Returns:
        One polygon, or one for each side of the antimeridian; exterior rings are counterclockwise.

    Raises:
        ValueError: The text is no id of a cell.
    """
    vertices = h3.cell_to_boundary(parse_cell(cell))
    if max(lon for _, lon in vertices) - min(lon for _, lon in vertices) <= 180.0:
        return (Polygon(exterior=_close_ring([Point(lat, lon) for lat, lon in vertices])),)
    # Continuous longitudes, from the first vertex; those of a cell with a pole turn by 360 degrees.
    lons = np.unwrap([lon for _, lon in [*vertices, vertices[0]]], period=360.0)
    corners = [(lon, lat) for lon, (lat, _) in zip(lons, vertices, strict=False)]
    if abs(lons[-1] - lons[0]) > 180.0:
        pole_lat = 90.0 if vertices[0][0] > 0 else -90.0
        corners += [
            (lons[-1], vertices[0][0]),
            (lons[-1], pole_lat),
            (lons[0], pole_lat),
        ]
    outline = shapely.Polygon(corners)
    polygons = []
    for offset_deg in (-360.0, 0.0, 360.0):
        side = shapely.intersection(
            outline, shapely.box(offset_deg - 180, -90, offset_deg + 180, 90)
        )
        for part in shapely.get_parts(side):
            if isinstance(part, shapely.Polygon) and not part.is_empty:
                ring = shapely.orient_polygons(part).exterior.coords
                polygons.append(
                    Polygon(
                        exterior=tuple(
                            Point(lat, min(180.0, max(-180.0, lon - offset_deg)))
                            for lon, lat in ring
                        )
                    )
                )
    return tuple(polygons)


def parse_cell(cell: str) -> int:
    """The id of a cell as a number.

    Raises:
        ValueError: The text is no id of a cell.
    """
    number = int(cell, 16) if _CELL_TEXT.fullmatch(cell) else -1
    if not 0 <= number < 2**63 or not h3.is_valid_cell(number):
        raise ValueError(f"{cell!r} is no H3 cell")
    return number


def child_range(cell: int, resolution: int) -> tuple[int, int]:
    """Lowest and highest id that a cell of a finer resolution inside of a cell can have.

    The resolution is in bits 52 to 55; the digit of resolution r is in three bits from bit
    3 * (15 - r): 0 to 6, and 7 beyond the resolution. Source: H3 documentation, "H3 Index
    Inspection".

    Args:
        cell: Id of a cell.
        resolution: Resolution of the finer cells.

    Raises:
        ValueError: The cell is finer than the resolution.
    """
    parent_resolution = h3.get_resolution(cell)
    if parent_resolution > resolution:
        raise ValueError(f"a cell of resolution {parent_resolution} has none of {resolution}")
    low = (cell & ~(15 << 52)) | (resolution << 52)
    high = low
    for finer in range(parent_resolution + 1, resolution + 1):
        low &= ~(7 << 3 * (15 - finer))
        high ^= 1 << 3 * (15 - finer)
    return low, high


def _close_ring(vertices: Sequence[Point]) -> Ring:
    return (*vertices, vertices[0])
