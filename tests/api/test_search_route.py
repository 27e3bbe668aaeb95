"""`POST /v1/search`, countries, claims and explanations over HTTP."""

from __future__ import annotations

import dataclasses
from uuid import UUID, uuid4

import pytest

from api import example_answers
from pinpoint.errors import UnsupportedQueryError
from pinpoint.records import CaptureClaim, Point
from pinpoint.search.claims import add_claims

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}


@pytest.fixture
def gallery_calls(monkeypatch):
    """Calls of the search, which returns a fixed result."""
    calls = []

    def search_gallery(request, search_filter, context):
        calls.append((request, search_filter, context))
        if request.query.texts == ["no encoder"]:
            raise UnsupportedQueryError("no text encoder", reason="no_text_encoder")
        by_distance = request.query.parts == ("point",)
        return dataclasses.replace(
            example_answers.similar(),
            weights=request.query.normalized_weights,
            by_distance=by_distance,
        )

    monkeypatch.setattr("pinpoint.api.v1.search.gallery_search.search_gallery", search_gallery)
    return calls


def test_search_passes_all_parts_weights_and_filters(api, gallery_calls):
    ids = [uuid4(), uuid4()]
    form = {
        "text": ["a red door", "snow, and ice"],
        "image_id": f"{ids[0]},{ids[1]}",
        "point": "48.85,2.35",
        "weights": "text=3,photo=1,image=0",
        "country": "fr,BE",
        "bbox": "2,48,3,49",
        "limit": "5",
        "include_self": "true",
    }
    with api.http() as http:
        answer = http.post("/v1/search", files=PHOTO, data=form)
    assert answer.status_code == 200, answer.text
    (request, search_filter, _) = gallery_calls[0]
    assert request.query.texts == ["a red door", "snow, and ice"]
    assert request.query.photos[0].data == b"bytes of a photo"
    assert (request.query.image_ids, request.query.point) == (ids, Point(48.85, 2.35))
    assert (request.limit, request.include_self) == (5, True)
    assert (search_filter.countries, search_filter.box.north) == (("FR", "BE"), 49.0)
    body = answer.json()
    assert body["weights"] == {"text": 0.6, "photo": 0.2, "image": 0.0, "point": 0.2}
    assert [country["code"] for country in body["filters"]["countries"]] == ["FR", "BE"]
    assert "Natural Earth" in body["filters"]["countries"][0]["borders"]
    hit = body["groups"][0]["hits"][0]
    assert hit["score"] == 0.7
    assert hit["distance_m"] > 1e6
    (line,) = api.rows().audit
    assert (line.operation, line.photo_sha256 is None) == ("search", False)


def test_search_by_distance_has_no_scores_and_is_a_layer(api, gallery_calls):
    with api.http() as http:
        body = http.post("/v1/search", data={"point": "1,2"}).json()
        http.headers["Accept"] = "application/geo+json"
        layer = http.post("/v1/search", data={"point": "1,2"})
    assert body["order"] == "distance"
    hit = body["groups"][0]["hits"][0]
    assert (hit["score"], hit["distance_m"]) == (None, 0.0)
    assert layer.headers["content-type"] == "application/geo+json"
    assert layer.json()["features"][0]["properties"]["feature_type"] == "hit"


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({}, 422, "at least one"),
        ({"limit": "3"}, 422, "at least one"),
        ({"text": "x" * 1_001}, 422, "1000"),
        ({"point": "91,2"}, 422, "LAT,LON"),
        ({"point": "1,2", "weights": "text=1"}, 422, "no text"),
        ({"point": "1,2", "weights": "point=-1"}, 422, "NAME=NUMBER"),
        ({"point": "1,2", "weights": "point=nan"}, 422, "NAME=NUMBER"),
        ({"point": "1,2", "country": "UK"}, 422, "the nearest is GB (United Kingdom)"),
        ({"point": "1,2", "country": "RU,US,CA,ID"}, 422, "positions together"),
        ({"text": "no encoder"}, 422, "no text encoder"),
    ],
)
def test_invalid_search_is_a_problem(api, gallery_calls, form, status, words):
    with api.http() as http:
        # An empty form has no body.
        answer = http.post("/v1/search", data={**form, "per_group": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert words in answer.text, answer.text


def test_country_combines_with_all_other_filters(api, search_calls):
    source = api.rows().add_source("walk", "street")
    form = {
        "country": ["FR", "be", "FR"],
        "bbox": "2,48,3,49",
        "lat": "48",
        "lon": "2",
        "radius_m": "500",
        "polygon": '{"type":"Polygon","coordinates":[[[2,48],[3,48],[3,49],[2,48]]]}',
        "datetime": "2026-01-01T00:00:00Z/..",
        "sources": "walk",
        "source_kinds": "street",
    }
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO, data=form).json()
    limits = search_calls[0]["limits"]
    assert limits.countries == ("FR", "BE")
    filters = body["filters"]
    assert [country["name"] for country in filters["countries"]] == ["France", "Belgium"]
    assert filters["countries"][0]["reach_km"] == pytest.approx(15, abs=5)
    assert filters["bbox"] == [2.0, 48.0, 3.0, 49.0]
    assert filters["circle"] == {"lat": 48.0, "lon": 2.0, "radius_m": 500.0}
    assert (filters["num_polygons"], filters["source_ids"]) == (1, [str(source.id)])
    assert filters["captured_after"] == "2026-01-01T00:00:00Z"


def test_answer_without_filter_states_none(api, search_calls):
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO).json()
    assert body["filters"]["countries"] == []
    assert body["filters"]["bbox"] is None
    assert body["claims"] == []
    assert body["explanation"] is None


def test_claims_are_in_the_answer(api, monkeypatch):
    claims = [CaptureClaim(point=Point(48.8501, 2.35), position_source="exif"), CaptureClaim()]
    answer = add_claims(example_answers.answer(), claims)
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", lambda *_: answer)
    with api.http() as http:
        first, second = http.post("/v1/locate", files=PHOTO).json()["claims"]
    assert (first["photo"], first["point"]) == (0, {"lat": 48.8501, "lon": 2.35})
    assert first["distance_m"] == pytest.approx(11.1, abs=0.1)
    assert [(area["probability"], area["inside"]) for area in first["inside_discs"]] == [
        (0.5, False),
        (0.9, True),
    ]
    assert (first["agrees"], first["position_source"]) == (True, "exif")
    assert (second["point"], second["agrees"], second["distance_m"]) == (None, None, None)


def test_explanation_lists_all_candidates_and_dropped_images(api, monkeypatch):
    def locate(photos, search_filter, context):
        hits = list(example_answers.similar().groups[0].hits)
        kept = dataclasses.replace(hits[0], id=UUID(int=0))
        context.trace.record_hits({"image": [kept, *hits]}, [kept], dedupe_m=5.0)
        return example_answers.answer()

    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", locate)
    with api.http() as http:
        form = {"include": "explain", "top": "1"}
        explanation = http.post("/v1/locate", files=PHOTO, data=form).json()["explanation"]
    assert [row["is_shown"] for row in explanation["candidates"]] == [True, False, False]
    assert explanation["candidates"][0]["num_evidence"] == {"street": 1}
    assert explanation["num_hits"] == {"image": 2}
    (dropped,) = explanation["dropped"]
    assert (dropped["drop_reason"], dropped["kept_image_id"]) == ("redundant", str(UUID(int=0)))
    assert dropped["channels"]["image"]["rank"] == 1
    assert explanation["settings"]["dedupe_m"] > 0
