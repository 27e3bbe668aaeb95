"""The cities of the synthetic planet, and the names of their folders.

All cities are on land. Every image of the planet is within a few kilometers of a city.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.gazetteer import City, cities, positions
from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.records import Point


@cache
def _unit_vectors() -> NDArray[np.float64]:
    return unit_xyz(positions())


def nearest_city(point: Point) -> City:
    """The city whose center is nearest, by great circle."""
    return cities()[int(np.argmax(_unit_vectors() @ unit_xyz(lat_lon([point]))[0]))]


def folder_name(city: City) -> str:
    """A folder name, unique in the table: country, ASCII letters, row."""
    plain = "".join(letter for letter in city.name.lower() if letter.isascii() and letter.isalnum())
    return f"{city.country.lower()}-{plain or 'city'}-{city.number}"
