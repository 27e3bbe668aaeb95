"""Coordinate lists of bundles: a CSV of latitudes and longitudes, checked when it is read.

The list holds the positions a location tower was trained to rank; GeoCLIP's has 100,000.
Letters: N positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import BadBundleError, describe_cause
from pinpoint.nets.bundle.bundles import Bundle, file_sha256
from pinpoint.nets.bundle.contract import CoordinatesSpec

COORDINATES_FILE: Final = "coordinates.csv"
_HEADER: Final = "lat,lon"
_LIMIT_DEG: Final = (90.0, 180.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateList:
    """Coordinates of a bundle, not yet encoded."""

    positions: NDArray[np.float64]
    """`[N, 2]` lat, lon in degrees, in file order."""
    logit_scale: float
    """Factor of the cosines in training."""
    digest: str
    """SHA-256 of the file."""


def load_coordinates(bundle: Bundle) -> CoordinateList | None:
    """The coordinates of a bundle, or None if it has none.

    Raises:
        BadBundleError: The file is not such a list, or its number of rows differs from the
            contract.
    """
    space = bundle.contract.heads
    if (
        bundle.coordinates is None
        or space is None
        or space.coordinates is None
        or space.logit_scale is None
    ):
        return None
    try:
        with bundle.coordinates.open(encoding="utf-8") as lines:
            header = lines.readline().strip()
            positions = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise BadBundleError(
            f"coordinates {bundle.coordinates} cannot be read: {describe_cause(error)}"
        ) from error
    if header != _HEADER or positions.shape != (space.coordinates.count, 2):
        raise BadBundleError(
            f"coordinates {bundle.coordinates} must be {_HEADER!r} and {space.coordinates.count} "
            f"rows of two numbers, not {header[:80]!r} and {list(positions.shape)}"
        )
    _check_positions(positions, str(bundle.coordinates))
    return CoordinateList(
        positions=positions, logit_scale=space.logit_scale, digest=space.coordinates.sha256
    )


def write_coordinates(folder: Path, positions: NDArray[np.float64]) -> CoordinatesSpec:
    """Write `[N, 2]` lat, lon in degrees into a bundle folder; returns the entry of its contract.

    Raises:
        BadBundleError: The list is empty, or a row is not a valid position.
    """
    if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions):
        raise BadBundleError(
            f"a list of coordinates must be [N, 2] lat, lon, not {list(positions.shape)}"
        )
    _check_positions(positions, "the list of coordinates")
    rows = [f"{lat!r},{lon!r}\n" for lat, lon in positions.tolist()]
    file = folder / COORDINATES_FILE
    file.write_text("".join([f"{_HEADER}\n", *rows]), encoding="utf-8")
    return CoordinatesSpec(file=COORDINATES_FILE, sha256=file_sha256(file), count=len(positions))


def _check_positions(positions: NDArray[np.float64], where: str) -> None:
    # Not `>`: a comparison with NaN is never true.
    bad = ~(np.abs(positions) <= _LIMIT_DEG).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise BadBundleError(
            f"{where}: row {row} is not a position: lat, lon {positions[row].tolist()}"
        )
