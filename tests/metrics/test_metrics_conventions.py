"""Distances of every convention: the textbook in a loop, geographiclib, Vincenty, the seams."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.metrics.conventions import CONVENTIONS, RADII_M, Convention, distances_km

PINPOINT = CONVENTIONS["pinpoint"]
SPHERES = {"haversine-6371": 6371.0, "haversine-6378.137": 6378.137}


def pairs(count=10_000, seed=3):
    """Random pairs, and among them every kind of trouble."""
    rng = np.random.default_rng(seed)
    a = np.column_stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)])
    b = np.column_stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)])
    part = count // 10
    opposite = np.column_stack([-a[:, 0], np.where(a[:, 1] > 0, a[:, 1] - 180, a[:, 1] + 180)])
    kinds = [slice(i * part, (i + 1) * part) for i in range(6)]
    b[kinds[0]] = opposite[kinds[0]]  # exact antipodes
    b[kinds[1]] = np.clip(opposite[kinds[1]] + rng.normal(0, 0.3, (part, 2)), -90, (90, 180))
    b[kinds[1]] = np.clip(b[kinds[1]], (-90, -180), (90, 180))
    a[kinds[2], 0] = rng.choice([-90.0, 90.0], part)  # poles
    b[kinds[2]][: part // 2, 0] = -90.0
    a[kinds[3], 1], b[kinds[3], 1] = 180.0 - rng.exponential(1e-3, part), -180.0  # the seam
    b[kinds[4]] = a[kinds[4]]  # the same place
    b[kinds[5]] = np.clip(a[kinds[5]] + rng.normal(0, 1e-5, (part, 2)), (-90, -180), (90, 180))
    return a, b


def haversine_by_the_book(a, b, radius_km):
    lat1, lon1, lat2, lon2 = (math.radians(x) for x in (*a, *b))
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    h = min(1.0, h)
    return 2 * radius_km * math.atan2(math.sqrt(h), math.sqrt(1 - h))


def vincenty_m(a, b):
    """WGS84 by another road (Vincenty 1975); None near antipodes, where it does not converge."""
    major, flat = 6_378_137.0, 1 / 298.257223563
    minor = major * (1 - flat)
    u1, u2 = (math.atan((1 - flat) * math.tan(math.radians(p[0]))) for p in (a, b))
    turn = lam = math.radians(b[1] - a[1])
    for _ in range(100):
        east = math.cos(u2) * math.sin(lam)
        north = math.cos(u1) * math.sin(u2) - math.sin(u1) * math.cos(u2) * math.cos(lam)
        sin_s = math.hypot(east, north)
        if sin_s == 0:
            return 0.0
        cos_s = math.sin(u1) * math.sin(u2) + math.cos(u1) * math.cos(u2) * math.cos(lam)
        s = math.atan2(sin_s, cos_s)
        sin_a = math.cos(u1) * math.cos(u2) * math.sin(lam) / sin_s
        cos2_a = 1 - sin_a**2
        mid = cos_s - 2 * math.sin(u1) * math.sin(u2) / cos2_a if cos2_a > 1e-15 else 0.0
        c = flat / 16 * cos2_a * (4 + flat * (4 - 3 * cos2_a))
        before = lam
        lam = turn + (1 - c) * flat * sin_a * (s + c * sin_s * (mid + c * cos_s * (2 * mid**2 - 1)))
        if abs(lam - before) < 1e-14:
            break
    else:
        return None
    uu = cos2_a * (major**2 - minor**2) / minor**2
    big_a = 1 + uu / 16384 * (4096 + uu * (-768 + uu * (320 - 175 * uu)))
    big_b = uu / 1024 * (256 + uu * (-128 + uu * (74 - 47 * uu)))
    more = big_b / 6 * mid * (4 * sin_s**2 - 3) * (4 * mid**2 - 3)
    return (
        minor * big_a * (s - big_b * sin_s * (mid + big_b / 4 * (cos_s * (2 * mid**2 - 1) - more)))
    )


def test_geodesics_are_geographiclibs_on_ten_thousand_pairs():
    a, b = pairs()
    slow = [Geodesic.WGS84.Inverse(*p, *q)["s12"] / 1000 for p, q in zip(a, b, strict=True)]
    fast = distances_km(a, b, PINPOINT)
    assert np.allclose(fast, slow, rtol=1e-9, atol=0)
    assert (fast[4000:5000] == 0).all()
    # Exact antipodes: never more than half a meridian.
    assert np.allclose(fast[:1000], 20_003.931458625, rtol=1e-9)


def test_geodesics_are_vincentys_where_vincenty_converges():
    a, b = pairs(count=3_000, seed=4)
    fast = distances_km(a, b, "geodesic-wgs84")
    both = [(f, vincenty_m(p, q)) for f, p, q in zip(fast, a, b, strict=True)]
    found = np.array([(f, s / 1000) for f, s in both if s is not None])
    assert len(found) > 2_300
    far = found[found[:, 0] > 10]
    assert np.allclose(far[:, 0], far[:, 1], rtol=1e-9, atol=0)
    assert np.allclose(found[:, 0], found[:, 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("distance", SPHERES)
def test_haversine_is_the_books_with_the_right_radius(distance):
    a, b = pairs()
    radius_km = SPHERES[distance]
    assert RADII_M[distance] == radius_km * 1000
    fast = distances_km(a, b, distance)
    book = [haversine_by_the_book(p, q, radius_km) for p, q in zip(a, b, strict=True)]
    # Near antipodes (the first 3,000) the book itself loses digits, up to 0.2 m.
    assert np.allclose(fast, book, rtol=0, atol=3e-4)
    assert np.allclose(fast[3000:], book[3000:], rtol=1e-9, atol=2e-9)
    sphere = Geodesic(radius_km * 1000, 0)
    exact = [sphere.Inverse(*p, *q)["s12"] / 1000 for p, q in zip(a, b, strict=True)]
    assert np.allclose(fast, exact, rtol=1e-9, atol=2e-9)


def test_conventions_of_the_field():
    said = {
        name: (each.distance, each.comparison, each.rounded) for name, each in CONVENTIONS.items()
    }
    assert said == {
        "geoestimation": ("haversine-6371", "<=", False),
        "geoclip": ("geodesic-wgs84", "<=", False),
        "g3": ("geodesic-wgs84", "<", False),
        "osv5m": ("haversine-6371", "<", False),
        "pigeon": ("haversine-6378.137", "<", True),
        "pinpoint": ("geodesic-wgs84", "<", True),
    }
    assert all(name == each.name for name, each in CONVENTIONS.items())
    assert len({each.description() for each in CONVENTIONS.values()}) == len(CONVENTIONS)


def test_words_say_all_that_makes_a_number():
    said = CONVENTIONS["pigeon"].description()
    assert said == "pigeon: haversine, R = 6378.137 km; d < threshold; GeoScore rounded per photo"
    for other in ("geodesic-wgs84", "haversine-6371"):
        assert replace(CONVENTIONS["pigeon"], distance=other).description() != said
    assert replace(CONVENTIONS["pigeon"], comparison="<=").description() != said
    assert replace(CONVENTIONS["pigeon"], rounded=False).description() != said


def test_the_same_pair_is_right_or_wrong_by_convention():
    # One degree of the equator: 111.195 km, 111.319 km and 111.319 km.
    truth, answer = [[0.0, 0.0]], [[0.0, 1.0]]
    off = {name: float(distances_km(truth, answer, c)[0]) for name, c in CONVENTIONS.items()}
    assert off["osv5m"] == pytest.approx(111.19492664, abs=1e-8)
    assert off["pigeon"] == pytest.approx(111.31949079, abs=1e-8)
    assert off["pinpoint"] == pytest.approx(111.31949079, abs=1e-8)
    assert CONVENTIONS["osv5m"].within(np.array([off["osv5m"]]), 111.2).all()
    assert not CONVENTIONS["pinpoint"].within(np.array([off["pinpoint"]]), 111.2).any()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, math.nan]), max_size=12))
def test_ties_are_right_only_under_less_or_equal_and_no_answer_never(distances):
    column = np.array(distances)
    assert CONVENTIONS["g3"].within(column, 1.0).tolist() == [d < 1.0 for d in distances]
    assert CONVENTIONS["geoclip"].within(column, 1.0).tolist() == [d <= 1.0 for d in distances]


@pytest.mark.parametrize("distance", ["geodesic-wgs84", *SPHERES])
def test_no_answer_has_no_distance_and_changes_no_other(distance):
    a, b = pairs(count=40)
    whole = distances_km(a, b, distance)
    b[::3] = np.nan
    some = distances_km(a, b, distance)
    assert np.isnan(some[::3]).all()
    rest = np.arange(40) % 3 != 0
    assert np.array_equal(some[rest], whole[rest])


@pytest.mark.parametrize("distance", ["geodesic-wgs84", *SPHERES])
def test_candidates_are_measured_like_single_answers(distance):
    a, b = pairs(count=60)
    table = distances_km(a[:5, None, :], b.reshape(5, 12, 2), distance)
    slow = [[distances_km(a[n], b[12 * n + k], distance) for k in range(12)] for n in range(5)]
    assert np.array_equal(table, np.array(slow))
    assert distances_km(np.empty((0, 2)), np.empty((0, 2)), distance).shape == (0,)


@pytest.mark.parametrize(
    ("truth", "answers", "said"),
    [
        ([[0, 0], [91, 0]], [[0, 0], [0, 0]], r"ground_truth: row 1 is \(91"),
        ([[0, 0]], [[0, 180.5]], "answers: row 0"),
        ([[0, 0]], [[math.nan, 5]], "or NaN for both"),
        ([[math.nan, math.nan]], [[0, 0]], "ground_truth: row 0"),
        ([0, 0, 0], [0, 0, 0], "latitudes and longitudes"),
        ([[0, 0]], [[math.inf, 0]], "answers: row 0"),
    ],
)
def test_positions_that_are_none_are_refused_by_row(truth, answers, said):
    with pytest.raises(ValueError, match=said):
        distances_km(truth, answers, "haversine-6371")


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="none of haversine-6371"):
        distances_km([[0, 0]], [[0, 0]], "euclidean")
    with pytest.raises(ValueError, match="none of haversine-6371"):
        Convention("mine", "euclidean", "<", False)
    with pytest.raises(ValueError, match="neither '<' nor '<='"):
        Convention("mine", "geodesic-wgs84", "≤", False)
