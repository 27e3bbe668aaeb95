"""Real cities that synthetic places lie in: names and coordinates after GeoNames (CC BY 4.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.records import Point


@dataclass(frozen=True, slots=True)
class City:
    """A city: its name, ISO 3166 country code and centre."""

    name: str
    country: str
    point: Point


_TABLE: Final = (
    ("Lisbon", "PT", 38.7169, -9.1399),
    ("Reykjavik", "IS", 64.1355, -21.8954),
    ("Nairobi", "KE", -1.2833, 36.8167),
    ("Kyoto", "JP", 35.0211, 135.7538),
    ("Cusco", "PE", -13.5226, -71.9673),
    ("Helsinki", "FI", 60.1695, 24.9354),
    ("Marrakesh", "MA", 31.6342, -7.9999),
    ("Vancouver", "CA", 49.2497, -123.1193),
    ("Hanoi", "VN", 21.0245, 105.8412),
    ("Wellington", "NZ", -41.2866, 174.7756),
    ("Buenos Aires", "AR", -34.6131, -58.3772),
    ("Naples", "IT", 40.8522, 14.2681),
    ("Suva", "FJ", -18.1416, 178.4415),
    ("Edinburgh", "GB", 55.9521, -3.1965),
    ("Jaipur", "IN", 26.9196, 75.7878),
    ("Oaxaca", "MX", 17.0654, -96.7237),
    ("Tbilisi", "GE", 41.6941, 44.8337),
    ("Cape Town", "ZA", -33.9258, 18.4232),
    ("Ghent", "BE", 51.0500, 3.7167),
    ("Chicago", "US", 41.8500, -87.6500),
    ("Istanbul", "TR", 41.0138, 28.9497),
    ("Dakar", "SN", 14.6937, -17.4441),
    ("Seville", "ES", 37.3828, -5.9732),
    ("Taipei", "TW", 25.0478, 121.5319),
    ("Valparaiso", "CL", -33.0360, -71.6296),
    ("Krakow", "PL", 50.0614, 19.9366),
    ("Muscat", "OM", 23.5841, 58.4078),
    ("Melbourne", "AU", -37.8140, 144.9633),
    ("Tromso", "NO", 69.6492, 18.9553),
    ("Montevideo", "UY", -34.9033, -56.1882),
    ("Athens", "GR", 37.9838, 23.7275),
    ("Yogyakarta", "ID", -7.8014, 110.3647),
    ("Havana", "CU", 23.1330, -82.3830),
    ("Vilnius", "LT", 54.6892, 25.2798),
    ("Almaty", "KZ", 43.2567, 76.9286),
    ("Porto", "PT", 41.1496, -8.6110),
    ("Santa Fe", "US", 35.6870, -105.9378),
    ("Lyon", "FR", 45.7485, 4.8467),
    ("Osaka", "JP", 34.6938, 135.5011),
    ("Apia", "WS", -13.8333, -171.7667),
)

CITIES: Final = tuple(City(name, country, Point(lat, lon)) for name, country, lat, lon in _TABLE)


def nearest_city(point: Point) -> City:
    """The city of the table whose centre is nearest, by great circle."""
    towards = unit_xyz(lat_lon([city.point for city in CITIES])) @ unit_xyz(lat_lon([point]))[0]
    return CITIES[int(np.argmax(towards))]
