"""Coordinate reference systems: transforms positions to longitude and latitude in WGS84."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from pinpoint.errors import BadRequestError

MAX_NAME_CHARS: Final = 80
"""Maximum characters of the name of a reference system in a message."""

_SAME_DEGREES: Final = 1e-6
_SAME_LENGTH: Final = 0.01
"""Maximum difference, in the system's unit, of a position that is transformed there and back."""


class Wgs84Transform:
    """Transforms positions of one reference system to WGS84 (EPSG:4326).

    Only transformations of a known accuracy are used. PROJ reads no grids from the network, so a
    datum whose only accurate transformation needs a grid may be refused or less accurate.

    Args:
        definition: What pyproj reads: WKT, PROJJSON, or an authority and a code (`EPSG:2154`).

    Raises:
        BadRequestError: The definition cannot be read, is not horizontal, or has no transformation
            of a known accuracy.
    """

    def __init__(self, definition: Any) -> None:
        try:
            system = pyproj.CRS.from_user_input(definition)
            if system.is_compound or len(system.axis_info) == 3:
                system = system.to_2d()
            self.name = system.name[:MAX_NAME_CHARS]
            self._transformer = pyproj.Transformer.from_crs(
                system, "EPSG:4326", always_xy=True, allow_ballpark=False
            )
        except (ProjError, ValueError, TypeError) as error:
            # The definition is from an untrusted file and may be long.
            short_name = " ".join(str(definition).split())[:MAX_NAME_CHARS]
            raise BadRequestError(
                f"the coordinate reference system {short_name!r} cannot be transformed to WGS84: "
                "convert the file to EPSG:4326"
            ) from error
        self._tolerance = _SAME_DEGREES if system.is_geographic else _SAME_LENGTH
        self._is_wgs84 = system.to_epsg() == 4326 or system.to_authority() == ("OGC", "CRS84")

    def to_lon_lat(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Transform positions.

        Args:
            x: `[N]`, easting or longitude, in the unit of the system.
            y: `[N]`, northing or latitude.

        Returns:
            Longitude and latitude, each `[N]`, degrees; infinite where the system is not defined.
        """
        if self._is_wgs84:
            return x, y
        lon, lat = self._transformer.transform(x, y)
        # Far from its area a projection gives positions that are not those of the coordinates.
        x_again, y_again = self._transformer.transform(lon, lat, direction="INVERSE")
        is_equal = (np.abs(x_again - x) <= self._tolerance) & (
            np.abs(y_again - y) <= self._tolerance
        )
        return np.where(is_equal, lon, np.inf), np.where(is_equal, lat, np.inf)
