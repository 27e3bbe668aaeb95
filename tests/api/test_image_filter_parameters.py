"""The filter parameters that lists, exports and queries share."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from api import memory
from api.test_api_problems import problem
from pinpoint.api.v1.geojson_areas import MAX_AREA_POSITIONS, parse_polygons
from pinpoint.api.v1.image_filter_parameters import ImageFilterParameters, to_image_filter
from pinpoint.api.v1.media_types import CSV, GEOJSON, JSON
from pinpoint.api.v1.query_parameters import SearchFilterParameters
from pinpoint.errors import BadRequestError
from pinpoint.records import Box, Circle, ImageFilter, Point, Polygon

TRIANGLE = [[2, 48], [3, 48], [3, 49], [2, 48]]
HOLE = [[2.5, 48.1], [2.6, 48.1], [2.6, 48.2], [2.5, 48.1]]
POLYGON = {"type": "Polygon", "coordinates": [TRIANGLE, HOLE]}
MULTI_POLYGON = {"type": "MultiPolygon", "coordinates": [[TRIANGLE], [HOLE]]}
FEATURE = {"type": "Feature", "geometry": POLYGON, "properties": None, "name": "foreign member"}


def ring(*positions):
    return tuple(Point(lat, lon) for lon, lat in positions)


def area(*rings, kind="Polygon"):
    return json.dumps({"type": kind, "coordinates": list(rings)})


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (POLYGON, 1),
        (MULTI_POLYGON, 2),
        (FEATURE, 1),
        ({"type": "FeatureCollection", "features": [FEATURE, FEATURE | {"geometry": MULTI_POLYGON}]
          }, 3),
        (POLYGON | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}
                            }}, 1),
        ({"type": "Polygon", "coordinates": [[[*position, 35.5] for position in TRIANGLE]]}, 1),
    ],
)  # fmt: skip
def test_parse_polygons_accepts_each_geojson_type(document, count):
    polygons = parse_polygons(json.dumps(document))
    assert len(polygons) == count
    assert polygons[0].exterior == ring(*TRIANGLE)


def test_parse_polygons_keeps_holes():
    assert parse_polygons(json.dumps(POLYGON)) == (
        Polygon(exterior=ring(*TRIANGLE), holes=(ring(*HOLE),)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (area([*TRIANGLE[:3], [2, 47]]), "not closed"),
        (area(TRIANGLE[:3]), "at least 4 items"),
        (area([[1, 2], [1, 2], [1, 2], [1, 2]]), "three different corners"),
        (area([[179, 2], [-179, 2], [0, 9], [179, 2]]), "antimeridian"),
        (area(TRIANGLE, [[2, 48], [181, 48], [3, 49], [2, 48]]), "within ±180"),
        (area([["2", "48"], [3, 48], [3, 49], ["2", "48"]]), "in degrees"),
        (area(), "at least 1 item"),
        (area([TRIANGLE[:3]], kind="MultiPolygon"), "at least 4 items"),
        ('{"type": "Point", "coordinates": [1, 2]}', "Polygon, MultiPolygon"),
        ('{"type": "FeatureCollection", "features": []}', "at least 1 item"),
        ('{"type": "Feature", "geometry": null}', "Polygon, MultiPolygon"),
        ('{"coordinates": []}', "Polygon, MultiPolygon"),
        ("null", "Polygon, MultiPolygon"),
        (json.dumps(POLYGON | {"crs": {"properties": {"name": "EPSG:3857"}}}), "WGS84"),
        (json.dumps(POLYGON | {"crs": []}), "WGS84"),
    ],
)  # fmt: skip
def test_parse_polygons_with_invalid_area_raises(text, message):
    with pytest.raises(ValueError, match=message):
        parse_polygons(text)


def test_parse_polygons_limits_the_positions_of_all_rings():
    def comb(count):
        return [[0, 0], *([1 + i % 2, 1] for i in range(count - 3)), [1, 0], [0, 0]]

    half = MAX_AREA_POSITIONS // 2
    assert parse_polygons(area([comb(half)], [comb(half)], kind="MultiPolygon"))
    with pytest.raises(ValueError, match="5,000 positions"):
        parse_polygons(area([comb(half)], [comb(half + 1)], kind="MultiPolygon"))


def test_area_of_a_query_has_fewer_positions_than_that_of_a_list():
    ring = [[i / 1_000, i % 2] for i in range(999)]
    longest, longer = area([*ring, ring[0]]), area([*ring, [2, 2], ring[0]])
    assert SearchFilterParameters.model_validate({"polygon": longest}).polygon
    assert ImageFilterParameters(polygon=longer).polygon
    with pytest.raises(ValidationError, match="1,000 positions"):
        SearchFilterParameters.model_validate({"polygon": longer})


def test_image_filter_parameters_convert_to_the_filter_record():
    rows = memory.Rows()
    source = rows.add_source("walk", "street")
    parameters = ImageFilterParameters(
        source=["walk"],
        source_kind=["street"],
        creator=["ada", "b, c"],
        sequence=["s1"],
        camera=["Pixel 8"],
        state=["failed"],
        attribute=["weather=rain", "formula=a=b", "empty="],
        file_name="IMG_*",
        id_prefix="6A79-97",
        cell=["851FB467fffffff"],
        lat=48.8,
        lon=2.3,
        radius_m=500,
        bbox="170,-10,5,-170,10,9000",
        polygon=json.dumps(POLYGON),
        datetime="0000-01-01T00:00:00Z/2026-02-01T00:00:00+01:00",
    )
    assert to_image_filter(parameters, rows) == ImageFilter(
        source_ids=(source.id,),
        source_kinds=("street",),
        creators=("ada", "b, c"),
        sequences=("s1",),
        cameras=("Pixel 8",),
        states=("failed",),
        attributes=(("weather", "rain"), ("formula", "a=b"), ("empty", "")),
        file_name="IMG_*",
        id_prefix="6a7997",
        cells=("851fb467fffffff",),
        circle=Circle(center=Point(48.8, 2.3), radius_m=500),
        box=Box(south=-10, west=170, north=10, east=-170),
        polygons=parse_polygons(json.dumps(POLYGON)),
        captured_after=datetime(1, 1, 1, tzinfo=UTC),
        captured_before=datetime(2026, 1, 31, 23, 0, 0, 1, tzinfo=UTC),
    )
    assert to_image_filter(ImageFilterParameters(), rows) == ImageFilter()


@pytest.mark.parametrize(
    "fields",
    [
        {"attribute": ["weather"]},
        {"attribute": ["=rain"]},
        {"attribute": ["weather=a\x00"]},
        {"id_prefix": "abc"},
        {"id_prefix": "xyzxyz"},
        {"creator": ["a\x00"]},
        {"lat": 1, "lon": 2},
        {"bbox": "1,50,3,40"},
        {"bbox": "1,2,181,4"},
        {"bbox": "1,2,3,nan"},
        {"polygon": " " * 300_000},
        {"cell": ["851fb467ffffff0"]},
        {"cell": ["881fb46625fffff"]},
        {"cell": ["paris"]},
        {"color": "red"},
    ],
)
def test_image_filter_parameters_with_invalid_value_raise(fields):
    with pytest.raises(ValidationError):
        ImageFilterParameters(**fields)


@pytest.mark.parametrize(
    "fields", [{"bbox": "1,2,3"}, {"bbox": "1,2,3,4,5"}, {"bbox": "a,b,c,d"}, {"polygon": "{"}]
)
def test_image_filter_parameters_with_unreadable_value_raise_bad_request(fields):
    with pytest.raises(BadRequestError):
        ImageFilterParameters(**fields)


def test_image_list_returns_the_same_pages_in_each_format(api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    for number in range(5):
        image = memory.image(source, lat=48 + number / 100)
        rows.all_images[image.id] = image
    lists = {}
    with api.http() as http:
        for media_type in (JSON, GEOJSON, CSV):
            link, pages = "/v1/images?limit=2&creator=a%26b&bbox=1,2,3,50", []
            while link is not None:
                page = http.get(link, headers={"Accept": media_type})
                assert page.status_code == 200
                assert page.headers["content-type"].startswith(media_type)
                assert page.headers["vary"] == "Accept"
                pages.append(page)
                link = page.links["next"]["url"] if "next" in page.links else None
            assert rows.listed[0].creators == ("a&b",)
            assert rows.listed[0].box.north == 50
            lists[media_type] = pages
        problem(http.get("/v1/images", params={"polygon": "{"}), 400, "bad_request")
        unclosed = area([*TRIANGLE[:3], [2, 47]])
        answer = problem(
            http.get("/v1/images", params={"polygon": unclosed}), 422, "invalid_request"
        )
    assert answer["errors"][0]["where"] == "query.polygon"
    assert "not closed" in answer["detail"]
    images = [image for page in lists[JSON] for image in page.json()["images"]]
    assert len({image["id"] for image in images}) == 5
    features = [feature for page in lists[GEOJSON] for feature in page.json()["features"]]
    assert [feature["id"] for feature in features] == [image["id"] for image in images]
    assert [feature["geometry"] for feature in features] == [image["geometry"] for image in images]
    assert features[0]["properties"]["attributes"] == {"a": 1}
    assert not {"id", "lat", "lon", "geometry"} & set(features[0]["properties"])
    assert [len(page.json()["links"]) for page in lists[GEOJSON]] == [1, 1, 0]
    table = [row for page in lists[CSV] for row in csv.DictReader(io.StringIO(page.text))]
    assert [row["id"] for row in table] == [image["id"] for image in images]
    assert [float(row["lat"]) for row in table] == [image["lat"] for image in images]
    assert json.loads(table[0]["attributes"]) == {"a": 1}
    assert table[0]["nearest_place.country"] == "FR"
    assert table[0]["creator"] == ""
