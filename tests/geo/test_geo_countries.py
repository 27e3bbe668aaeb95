"""Areas of countries: against shapely, against the gazetteer, and wrong codes."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import shapely

from pinpoint.api.v1.query_parameters import MAX_QUERY_AREA_POSITIONS
from pinpoint.geo.countries import countries, find_country, find_nearest_country
from pinpoint.geo.gazetteer import cities
from pinpoint.geo.predicates import inside_polygons


def shape_of(country):
    return shapely.MultiPolygon(
        [
            (
                [(point.lon, point.lat) for point in polygon.exterior],
                [[(point.lon, point.lat) for point in hole] for hole in polygon.holes],
            )
            for polygon in country.polygons
        ]
    )


def test_country_areas_are_valid_and_small_enough_for_a_query():
    assert len(countries()) == 250
    for country in countries().values():
        assert shape_of(country).is_valid, country.code
        assert country.num_positions <= MAX_QUERY_AREA_POSITIONS / 2
        assert 5 < country.reach_km < 200


@pytest.mark.parametrize("code", ["FR", "NO", "FJ", "RU", "AQ", "ID"])
def test_inside_country_agrees_with_shapely(code):
    country = find_country(code)
    shape = shape_of(country)
    rng = np.random.default_rng(7)
    west, south, east, north = shape.bounds
    lons, lats = rng.uniform(west, east, 3_000), rng.uniform(south, north, 3_000)
    inside = inside_polygons(np.column_stack([lats, lons]), country.polygons)
    by_shapely = [shape.contains(shapely.Point(x, y)) for x, y in zip(lons, lats, strict=True)]
    assert inside.tolist() == by_shapely
    assert 0 < inside.sum() < 3_000


def test_country_areas_lose_one_city_in_two_thousand():
    """Every seventh city; of all 144,563 cities 73 are outside, most of them on atolls."""
    positions = defaultdict(list)
    for city in cities()[::7]:
        positions[city.country].append((city.point.lat, city.point.lon))
    lost = Counter()
    for code, rows in positions.items():
        inside = inside_polygons(np.array(rows), find_country(code).polygons)
        lost[code] = int((~inside).sum())
    assert sum(lost.values()) <= 15
    assert lost["FR"] == lost["US"] == lost["RU"] == lost["UA"] == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [("UK", "GB"), ("EL", "GR"), ("FRA", "FR"), ("Germany", "DE"), ("germny", "DE"), ("fr", "FR")],
)
def test_find_nearest_country_of_other_spelling_is_the_country_meant(text, code):
    assert find_nearest_country(text).code == code


@pytest.mark.parametrize("text", ["XX", "", "🇫🇷", "A" * 5_000])
def test_find_country_of_unknown_code_names_the_nearest(text):
    with pytest.raises(ValueError, match=r"no country code .* the nearest is [A-Z]{2} \("):
        find_country(text)


def test_disputed_areas_are_inside_all_claimants():
    for lat, lon, codes in (
        (44.95, 34.1, ("UA", "RU")),  # Simferopol
        (34.08, 74.8, ("IN", "PK")),  # Srinagar
        (35.19, 33.36, ("CY",)),  # north of Nicosia
        (42.66, 21.16, ("XK", "RS")),  # Pristina
    ):
        for code in codes:
            assert inside_polygons(np.array([[lat, lon]]), find_country(code).polygons)[0], code
