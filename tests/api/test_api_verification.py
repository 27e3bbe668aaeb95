"""Crops, several photos and geometric verification in the API, with a fixed answer."""

from __future__ import annotations

import dataclasses
from uuid import UUID

import numpy as np
import pytest

from api import example_answers
from api.test_api_problems import problem
from pinpoint.records import (
    DEFAULT_MIN_INLIERS,
    DEFAULT_MIN_SPREAD,
    Crop,
    GeometricMatch,
    ImageMatch,
    Verification,
    VerificationThreshold,
)

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
POINTS = np.array([[1.5, 2.0], [30.0, 40.25]], np.float32)


def image_match(inliers, *, verified, status):
    return ImageMatch(
        verification=Verification(
            inliers=inliers,
            spread=0.25,
            verified=verified,
            false_match_rate=0.001 if verified else None,
            status=status,
        ),
        match=GeometricMatch(
            inliers=inliers,
            spread=0.25,
            model="homography",
            query_points=POINTS,
            image_points=POINTS + 1,
        )
        if status != "image_unavailable"
        else None,
        query_size_px=(683, 512),
        image_size_px=(512, 512),
    )


@pytest.fixture
def verified_answer(monkeypatch):
    """The search flow returns an answer with a verified citation."""
    answer = dataclasses.replace(
        example_answers.answer(),
        matches={
            UUID(int=0): image_match(31, verified=True, status="matched"),
            UUID(int=1): image_match(0, verified=False, status="image_unavailable"),
        },
        verification_threshold=VerificationThreshold(),
    )
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", lambda *_: answer)
    return answer


def test_locate_crop_is_passed_to_the_search(api, search_calls):
    with api.http() as http:
        for path in ("/v1/locate", "/v1/similar"):
            answer = http.post(path, files=PHOTO, data={"crop": "10, 20,300,200"})
            assert answer.status_code == 200, answer.text
    assert search_calls[0]["photos"][0].crop == Crop(10, 20, 300, 200)
    assert search_calls[1]["request"].query.crop == Crop(10, 20, 300, 200)


@pytest.mark.parametrize("crop", ["1,2,3", "a,b,c,d", "-5,0,100,100", "0,0,8,100", "1.5,0,99,99"])
def test_locate_invalid_crop_returns_422(api, search_calls, crop):
    with api.http() as http:
        body = problem(
            http.post("/v1/locate", files=PHOTO, data={"crop": crop}), 422, "invalid_request"
        )
    assert "crop" in str(body)
    assert search_calls == []


def test_locate_several_photos_are_one_query_with_one_hash_each(api, search_calls):
    files = [("photo", (f"{n}.jpg", f"photo {n}".encode())) for n in range(3)]
    with api.http() as http:
        crops = ["0,0,100,100", "0,0,200,200", "0,0,300,300"]
        answer = http.post("/v1/locate", files=files, data={"crop": crops})
    assert answer.status_code == 200, answer.text
    photos = search_calls[0]["photos"]
    assert [photo.data for photo in photos] == [b"photo 0", b"photo 1", b"photo 2"]
    assert [photo.crop.width for photo in photos] == [100, 200, 300]
    assert len({line.photo_sha256 for line in api.rows().audit}) == 3


def test_locate_crops_without_a_photo_each_return_400(api, search_calls):
    files = [("photo", (f"{n}.jpg", f"photo {n}".encode())) for n in range(2)]
    with api.http() as http:
        answer = http.post("/v1/locate", files=files, data={"crop": "0,0,100,100"})
    assert "2 photos and 1 values" in problem(answer, 422, "invalid_request")["detail"]


def test_locate_too_many_photos_return_413(api, search_calls):
    files = [("photo", (f"{n}.jpg", b"photo")) for n in range(9)]
    with api.http() as http:
        problem(http.post("/v1/locate", files=files), 413, "too_large")
        problem(http.post("/v1/similar", files=files[:2]), 422, "invalid_request")


def test_locate_verify_sets_the_number_of_candidates(api, search_calls):
    with api.http() as http:
        assert http.post("/v1/locate", files=PHOTO, data={"verify": "3"}).status_code == 200
        assert http.post("/v1/locate", files=PHOTO).status_code == 200
        for text in ("-1", "65"):
            problem(
                http.post("/v1/locate", files=PHOTO, data={"verify": text}), 422, "invalid_request"
            )
        problem(http.post("/v1/locate", files=PHOTO, data={"verify": "many"}), 400, "bad_request")
    counts = [call["context"].settings.verify_candidates for call in search_calls]
    assert counts == [3, 8]


def test_locate_returns_the_verification_of_candidates_and_citations(api, verified_answer):
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO).json()
    assert body["verified"] is True
    assert body["verification_threshold"] == {
        "min_inliers": DEFAULT_MIN_INLIERS,
        "min_spread": DEFAULT_MIN_SPREAD,
        "false_match_rate": None,
        "calibrated": False,
    }
    verified = {
        "inliers": 31,
        "spread": 0.25,
        "verified": True,
        "false_match_rate": 0.001,
        "status": "matched",
    }
    candidates = [candidate["verification"] for candidate in body["candidates"]]
    assert candidates[0] == body["citations"]["photo"][0]["verification"] == verified
    assert candidates[1]["status"] == "image_unavailable"
    assert candidates[2] is None
    assert body["matches"] is None


def test_locate_include_matches_returns_the_inliers_of_compared_images(api, verified_answer):
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO, data={"include": "matches"}).json()
        problem(
            http.post("/v1/locate", files=PHOTO, data={"include": "pixels"}), 422, "invalid_request"
        )
    (match,) = body["matches"]
    assert match == {
        "image_id": str(UUID(int=0)),
        "photo": 0,
        "model": "homography",
        "query_width_px": 683,
        "query_height_px": 512,
        "image_width_px": 512,
        "image_height_px": 512,
        "query_points": POINTS.tolist(),
        "image_points": (POINTS + 1).tolist(),
    }


def test_locate_without_verification_says_so(api, search_calls):
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO, data={"include": "matches"}).json()
    assert (body["verified"], body["verification_threshold"], body["matches"]) == (False, None, [])


def test_match_picture_without_compared_image_returns_404(api, search_calls):
    with api.http(Accept="image/png") as http:
        problem(http.post("/v1/locate", files=PHOTO), 404, "not_found", "no_match")


def test_match_picture_needs_the_scope_read(api, verified_answer):
    key = api.parts.api_keys.key("acme", "locate")
    with api.http(key, Accept="image/png") as http:
        body = problem(http.post("/v1/locate", files=PHOTO), 403, "forbidden")
    assert "`read`" in body["detail"]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, image/png", "text/html,*/*;q=0.8"]
)
def test_locate_returns_json_unless_png_is_preferred(api, verified_answer, accept):
    with api.http(Accept=accept) as http:
        answer = http.post("/v1/locate", files=PHOTO)
    assert answer.headers["content-type"] == "application/json"
