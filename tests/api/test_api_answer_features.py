"""Answers as GeoJSON layers (RFC 7946), read by shapely and GDAL, and kept queries."""

from __future__ import annotations

import dataclasses
import json
from uuid import UUID, uuid4

import numpy as np
import pyogrio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, shape
from shapely.prepared import prep

from api import example_answers, memory
from api.test_api_problems import problem
from pinpoint.api.v1.media_types import choose_media_type
from pinpoint.api.v1.schemas.disc_polygons import outline_disc
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import destination
from pinpoint.records import (
    CalibratedResult,
    CitedCopy,
    CredibleRegion,
    PlaceName,
    Posterior,
)
from pinpoint.records import Point as Position
from pinpoint.settings import SearchSettings

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
GEOJSON = "application/geo+json"
FIJI = Position(-17.0, 179.9)


def make_posterior(point):
    """A calibrated posterior whose regions are boxes on both sides of the antimeridian."""
    wide = ((-18.0, 179.0, -16.0, 180.0), (-18.0, -180.0, -16.0, -179.5))
    regions = ((0.5, wide[:1]), (0.9, wide))
    return Posterior(
        stratum="all",
        point=point,
        probability_within_km={25.0: 0.75},
        p_outside_candidates=0.125,
        p_not_in_gallery=None,
        credible_discs=example_answers.answer().credible_discs,
        credible_regions=tuple(
            CredibleRegion(probability=share, level=share, area_km2=1e4 * share, boxes=boxes)
            for share, boxes in regions
        ),
        names=(PlaceName(level="country", name="FJ", probability=0.8),),
        abstention_reason=None,
    )


@pytest.fixture
def calibrated_answer(monkeypatch):
    """The search flow returns a calibrated answer at the antimeridian."""
    answer = example_answers.answer()
    (citation,) = answer.citations
    copy = CitedCopy(
        image_id=uuid4(), source_id=uuid4(), source="t", file_name="b.jpg", source_kind="photo",
        license="CC-BY", attribution="they",
    )  # fmt: skip
    unlisted = dataclasses.replace(citation, image_id=uuid4(), copies=(copy,), point=FIJI)
    answer = dataclasses.replace(
        answer,
        point=FIJI,
        calibrated=True,
        citations=(citation, unlisted),
        calibrated_result=CalibratedResult(posterior=make_posterior(FIJI)),
    )
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", lambda *_: answer)
    return answer


def fetch_layer(http, path="/v1/locate", **data):
    response = http.post(path, files=PHOTO, data=data, headers={"Accept": GEOJSON})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == GEOJSON
    return response.json()


def check_layer(layer, tmp_path):
    """Check the rules of RFC 7946 for each feature, and that GDAL reads all of them."""
    assert layer["type"] == "FeatureCollection"
    columns = None
    for feature in layer["features"]:
        assert set(feature) == {"type", "geometry", "properties"}
        columns = columns or set(feature["properties"])
        assert set(feature["properties"]) == columns
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        assert not geometry.is_empty
        west, south, east, north = geometry.bounds
        assert -180 <= west <= east <= 180
        assert -90 <= south <= north <= 90
        if isinstance(geometry, MultiPolygon):
            for polygon in geometry.geoms:
                assert polygon.exterior.is_ccw
                assert not any(ring.is_ccw for ring in polygon.interiors)
    path = tmp_path / "answer.geojson"
    path.write_text(json.dumps(layer), encoding="utf-8")
    if layer["features"]:
        info = pyogrio.read_info(path, force_feature_count=True)
        assert info["features"] == len(layer["features"])
        assert set(info["fields"]) == columns


def of_type(layer, feature_type):
    return [
        feature
        for feature in layer["features"]
        if feature["properties"]["feature_type"] == feature_type
    ]


def test_locate_as_geojson_has_point_regions_candidates_and_evidence(
    api, calibrated_answer, tmp_path
):
    with api.http() as http:
        layer = fetch_layer(http, top="2")
    check_layer(layer, tmp_path)
    regions = of_type(layer, "credible_region")
    assert [feature["properties"]["probability"] for feature in regions] == [0.9, 0.5]
    assert of_type(layer, "credible_disc") == []
    parts = shape(regions[0]["geometry"])
    assert len(parts.geoms) == 2, "cut at the antimeridian"
    (point,) = of_type(layer, "point")
    assert layer["features"][-1] == point
    assert point["geometry"] == {"type": "Point", "coordinates": [179.9, -17.0]}
    assert (point["properties"]["probability"], point["properties"]["radius_m"]) == (0.9, 99.0)
    unlisted, second, first = of_type(layer, "candidate")
    assert [feature["properties"]["rank"] for feature in (first, second)] == [0, 1]
    assert first["properties"]["cited"] is True
    assert second["properties"]["cited"] is False
    distance_m = float(haversine_m(np.array([-17.0, 179.9]), np.array([48.85, 2.35])))
    assert first["properties"]["distance_m"] == pytest.approx(distance_m)
    assert first["properties"]["copies"] == []
    (copy,) = unlisted["properties"]["copies"]
    assert (copy["source"], copy["license"], copy["attribution"]) == ("t", "CC-BY", "they")
    evidence = of_type(layer, "evidence")
    assert len(evidence) == 1, "near three candidates, listed once"
    assert evidence[0]["properties"]["candidate_id"] == str(UUID(int=0))
    url = f"{api.url}/v1/images/{UUID(int=0)}/thumbnail"
    assert first["properties"]["thumbnail_url"] == url


def test_locate_as_geojson_has_the_answer_as_foreign_members(api, calibrated_answer):
    with api.http() as http:
        layer, answer = fetch_layer(http), http.post("/v1/locate", files=PHOTO).json()
    shared = set(layer) & set(answer)
    assert shared >= {"abstention_reason", "bundle", "index", "warnings", "verified", "kept_query"}
    different = {name for name in shared if layer[name] != answer[name]}
    assert different == set()
    assert layer["probability_within_km"] == answer["posterior"]["probability_within_km"]
    assert (layer["p_outside_candidates"], layer["calibration_group"]) == (0.125, "all")


def test_locate_as_geojson_without_calibration_has_discs(api, search_calls, tmp_path):
    with api.http() as http:
        layer = fetch_layer(http)
    check_layer(layer, tmp_path)
    discs = of_type(layer, "credible_disc")
    assert [feature["properties"]["radius_m"] for feature in discs] == [99.0, 10.0]
    assert layer["calibrated"] is False
    assert layer["p_outside_candidates"] is None


def test_locate_as_geojson_without_point_is_an_empty_collection(api, monkeypatch, tmp_path):
    answer = dataclasses.replace(
        example_answers.answer(), point=None, ranked=(), citations=(), credible_discs=(),
        num_candidates=0,
        calibrated_result=CalibratedResult(abstention_reason="no_candidates"),
    )  # fmt: skip
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", lambda *_: answer)
    with api.http() as http:
        layer = fetch_layer(http)
    check_layer(layer, tmp_path)
    assert (layer["features"], layer["abstention_reason"]) == ([], "no_candidates")


def test_similar_as_geojson_has_license_and_attribution(api, search_calls, monkeypatch, tmp_path):
    source = api.rows().add_source("walk", "street")
    stored = memory.image(source)
    api.rows().all_images[stored.id] = stored
    result = example_answers.similar()
    (hit,) = result.groups[0].hits
    group = dataclasses.replace(result.groups[0], hits=(dataclasses.replace(hit, id=stored.id),))
    result = dataclasses.replace(result, groups=[group])
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.similar", lambda *_: result)
    with api.http() as http:
        layer = fetch_layer(http, "/v1/similar")
        plain = http.post("/v1/similar", files=PHOTO).json()
    check_layer(layer, tmp_path)
    (feature,) = layer["features"]
    properties = feature["properties"]
    assert (properties["feature_type"], properties["group"], properties["rank"]) == ("hit", "g", 0)
    assert (properties["license"], properties["attribution"]) == ("CC0", "we")
    assert plain["groups"][0]["hits"][0]["license"] == "CC0"
    assert layer["bundle"] == plain["bundle"]


def test_openapi_describes_the_layers(api):
    with api.http() as http:
        document = http.get("/openapi.json").json()
    for path, name in (("locate", "AnswerFeaturesOut"), ("similar", "SimilarFeaturesOut")):
        content = document["paths"][f"/v1/{path}"]["post"]["responses"]["200"]["content"]
        assert content[GEOJSON]["schema"] == {"$ref": f"#/components/schemas/{name}"}
        assert "application/json" in content
        schema = document["components"]["schemas"][name]
        assert schema["properties"]["features"]["items"] == {
            "$ref": "#/components/schemas/AnswerFeature"
        }


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/*", "application/json"),
        ("application/geo+json, application/json", GEOJSON),
        ("application/json, application/geo+json", "application/json"),
        ("application/json;q=0.5, application/geo+json", GEOJSON),
        ("application/geo+json;q=0.4, */*;q=0.5", "application/json"),
        ("*/*, application/json;q=0", GEOJSON),
        ("Application/Geo+JSON", GEOJSON),
        ("text/html, application/geo+json", GEOJSON),
        ("application/geo+json, */*;q=0.1", GEOJSON),
        ("image/*", "image/png"),
        ("text/html,*/*;q=0.8", "application/json"),
        ("application/geo+json;q=nan, application/json;q=0.9", GEOJSON),
    ],
)
def test_choose_media_type_follows_weight_and_precision(accept, chosen):
    assert choose_media_type(accept, ("application/json", GEOJSON, "image/png")) == chosen


def test_locate_with_unknown_media_type_returns_406(api, search_calls):
    with api.http(Accept="text/csv") as http:
        for path in ("/v1/locate", "/v1/similar"):
            body = problem(http.post(path, files=PHOTO), 406, "not_acceptable")
            assert GEOJSON in body["detail"]
    assert search_calls == []


def test_locate_keep_without_retention_returns_403(api, search_calls):
    with api.http() as http:
        body = problem(
            http.post("/v1/locate", files=PHOTO, data={"keep": "true"}), 403, "forbidden"
        )
    assert "PINPOINT_SEARCH_KEPT_QUERY_RETENTION_DAYS" in body["detail"]
    assert search_calls == []


def test_locate_keep_returns_what_is_kept_and_lists_it(api, search_calls):
    api.parts.settings.search = SearchSettings(kept_query_retention_days=2)
    with api.http() as http:
        not_kept = http.post("/v1/locate", files=PHOTO).json()
        answers = [
            http.post("/v1/locate", files=PHOTO, data={"keep": "true"}).json() for _ in range(3)
        ]
        first = http.get("/v1/queries", params={"limit": 2}).json()
        second = http.get(first["next"]).json()
        kept = answers[0]["kept_query"]
        deleted = http.delete(f"/v1/queries/{kept['id']}")
        problem(http.delete(f"/v1/queries/{kept['id']}"), 404, "not_found")
        problem(http.get("/v1/queries", params={"cursor": "WyJ4Il0"}), 400, "bad_request")
    assert not_kept["kept_query"] is None
    assert deleted.status_code == 204
    listed = [row["id"] for page in (first, second) for row in page["queries"]]
    assert sorted(listed) == sorted(answer["kept_query"]["id"] for answer in answers)
    assert second["next"] is None
    assert set(kept) == {
        *("id", "created_at", "expires_at", "lat", "lon", "radius_m", "probability"),
        *("calibrated", "abstention_reason", "bundle"),
    }
    assert "photo" not in json.dumps(first)


def covers(disc, positions):
    prepared = prep(disc)
    return np.array([prepared.covers(Point(lon, lat)) for lat, lon in positions])


@given(
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180),
    radius_m=st.floats(1, 20_015_000),
    seed=st.integers(0, 1_000),
)
@example(lat=90.0, lon=0.0, radius_m=1_000.0, seed=0)
@example(lat=-90.0, lon=10.0, radius_m=5_000_000.0, seed=0)
@example(lat=0.0, lon=180.0, radius_m=100_000.0, seed=0)
@example(lat=0.0, lon=-180.0, radius_m=12_000_000.0, seed=0)
@example(lat=45.0, lon=179.0, radius_m=np.pi / 4 * 6_371_008.8, seed=0)
@example(lat=10.0, lon=20.0, radius_m=20_015_114.0, seed=0)
@example(lat=0.0, lon=0.0, radius_m=19_879_937.5, seed=0)
def test_outline_disc_contains_what_is_within_the_radius(lat, lon, radius_m, seed):
    """Against the distance of positions clearly inside and outside."""
    coordinates = outline_disc(Position(lat, lon), radius_m)
    disc = shape({"type": "MultiPolygon", "coordinates": coordinates})
    assert disc.is_valid
    assert all(polygon.exterior.is_ccw for polygon in disc.geoms)
    west, south, east, north = disc.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    rng = np.random.default_rng(seed)
    center = np.array([lat, lon])
    bearings = rng.uniform(0, 360, 12)
    inside = destination(center, bearings, rng.uniform(0, 0.9, 12) * radius_m)
    assert covers(disc, inside).all()
    rest_m = np.pi * 6_371_008.8 - radius_m
    if rest_m > 0.3 * radius_m:
        outside = destination(center, bearings, radius_m + rng.uniform(0.1, 0.9, 12) * rest_m)
        assert not covers(disc, outside).any()
