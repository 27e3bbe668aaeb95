"""Credible regions as GeoJSON (RFC 7946), also at the antimeridian and the poles."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shapely import box, union_all
from shapely.geometry import Point, shape

from pinpoint.api.v1.schemas.posterior import CredibleRegionOut, merge_boxes
from pinpoint.geo import hdr, kernels
from pinpoint.geo.gazetteer import cities, most_probable_places, nearest_cities
from pinpoint.geo.kernels import ANYWHERE_KM, Mixture
from pinpoint.geo.points import destination, lat_lon
from pinpoint.records import CredibleRegion


def area_of(places, radius_km, level):
    """Credible region of equal kernels with a tenth of the mass uniform over the globe."""
    count = len(places)
    mixture = Mixture(
        np.array([*places, (0.0, 0.0)]),
        np.array([radius_km] * count + [ANYWHERE_KM]),
        np.array([0.9 / count] * count + [0.1]),
    )
    positions, weights = kernels.quadrature_nodes(mixture, 1_024)
    dense = kernels.log_density(mixture, positions)
    boxes = hdr.hdr_boxes(mixture, kernels.hdr_log_density(dense, weights, level))
    return CredibleRegion(
        probability=0.9, level=level, area_km2=hdr.area_km2(boxes), boxes=tuple(map(tuple, boxes))
    )


@pytest.mark.parametrize(
    ("places", "radius_km"),
    [
        ([(-17.0, 179.9)], 100.0),
        ([(89.9, 10.0)], 50.0),
        ([(-90.0, 0.0)], 300.0),
        ([(48.0, 2.0), (48.0, 2.4), (-33.0, 151.0)], 8.0),
    ],
    ids=["antimeridian", "north pole", "south pole", "three towns"],
)
def test_credible_region_is_valid_geojson_of_its_boxes(places, radius_km):
    area = area_of(places, radius_km, 0.8)
    body = json.loads(CredibleRegionOut.of(area).model_dump_json())
    region = shape(body["geometry"])
    assert (body["geometry"]["type"], region.is_valid) == ("MultiPolygon", True)
    west, south, east, north = region.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    for polygon in region.geoms:
        assert polygon.exterior.is_ccw
        assert not any(ring.is_ccw for ring in polygon.interiors)
    turns = np.arange(0.0, 360.0, 20.0)
    for place in places:
        for times, inside in ((0.5, True), (6.0, False)):
            ring = destination(np.array(place), turns, times * radius_km * 1_000)
            if not inside and len(places) > 1:
                continue  # what is outside of one town may be inside of another
            assert [region.covers(Point(lon, lat)) for lat, lon in ring] == [inside] * len(turns)
    # Both sides of the antimeridian: two parts that touch ±180° and nothing between them.
    if places[0][1] == 179.9:
        assert len(region.geoms) == 2
        assert {west, east} == {-180.0, 180.0}
        assert not region.covers(Point(0.0, -17.0))


def test_merge_boxes_equals_the_union_of_boxes():
    """The boxes touch at corners, leave holes and differ in size."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        south, west = np.nonzero(rng.uniform(size=(7, 7)) < 0.6)
        cells = np.stack([south, west, south + 1, west + 1], axis=1) * 2.5
        fine = cells[0] + np.array([(0, 0, -1.25, -1.25), (1.25, 1.25, 0, 0)])
        boxes = np.concatenate([cells[1:], fine])
        united = union_all([box(w, s, e, n) for s, w, n, e in boxes])
        merged = shape({"type": "MultiPolygon", "coordinates": merge_boxes(boxes.tolist())})
        assert merged.is_valid
        assert merged.equals(united)


def test_nearest_cities_match_brute_force():
    rng = np.random.default_rng(4)
    table = cities()
    sample = [table[i] for i in rng.integers(0, len(table), 5)]
    points = lat_lon([city.point for city in sample]) + rng.normal(0, 0.02, (5, 2))
    nearest = nearest_cities(points)
    for point, city in zip(points.tolist(), nearest, strict=True):
        some = [table[i] for i in rng.integers(0, len(table), 400)]
        slow = min([*some, *sample, city], key=lambda other: _chord(point, other.point))
        assert _chord(point, slow.point) == _chord(point, city.point)
    paris, lyon, rome = (48.8566, 2.3522), (45.758, 4.835), (41.894, 12.483)
    probable = most_probable_places(np.array([paris, lyon, rome]), np.array([0.25, 0.2, 0.35]))
    assert list(probable["country"]) == ["FR", pytest.approx(0.45)]
    assert list(probable["city"]) == ["Rome, Latium, IT", pytest.approx(0.35)]
    assert probable["region"][0] == "Latium, IT"


def _chord(a, b):
    (lat, lon), (lat_b, lon_b) = np.radians(a), np.radians((b.lat, b.lon))
    return 1 - (np.sin(lat) * np.sin(lat_b) + np.cos(lat) * np.cos(lat_b) * np.cos(lon - lon_b))
