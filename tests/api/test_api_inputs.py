"""Numbers, times and names that cannot be stored are rejected with a problem."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from api.test_api_problems import problem

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
HUGE = "9" * 400


def polygon(position: str) -> str:
    ring = f"[[{position}],[3,48],[3,49],[{position}]]"
    return f'{{"type":"Polygon","coordinates":[{ring}]}}'


@pytest.mark.parametrize(
    "position", [f"{HUGE},48", f"2,-{HUGE}", f"2,48,{HUGE}", "1e999,48", "NaN,48", "true,48"]
)
def test_polygon_with_invalid_degrees_returns_422(api, search_calls, position):
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, data={"polygon": polygon(position)})
    problem(answer, 422, "invalid_request")
    assert search_calls == []


def test_polygon_with_number_of_too_many_digits_returns_400(api, search_calls):
    with api.http() as http:
        form = {"polygon": polygon(f"{'9' * 5_000},48")}
        problem(http.post("/v1/locate", files=PHOTO, data=form), 400, "bad_request")


@pytest.mark.parametrize("field", ["lat", "lon", "radius_m"])
def test_circle_with_number_of_400_digits_returns_422(api, search_calls, field):
    form = {"lat": "48", "lon": "2", "radius_m": "5"} | {field: HUGE}
    with api.http() as http:
        problem(http.post("/v1/locate", files=PHOTO, data=form), 422, "invalid_request")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0001-01-01T00:00:00+01:00", "invalid_request"),
        ("9999-12-31T23:59:59-01:00", "invalid_request"),
        ("1700000000", "bad_request"),
        ("2026-05-01", "bad_request"),
        ("2026-05-01T12:00:00", "bad_request"),
        ("yesterday", "bad_request"),
    ],
)
def test_invalid_time_is_refused_on_every_route(api, search_calls, text, kind):
    rows = api.rows()
    batch = rows.open_batch(rows.add_source("walk", "photo").id)
    metadata_overrides = json.dumps({"a.jpg": {"captured_at": text}})
    with api.http() as http:
        for answer in (
            http.post("/v1/locate", files=PHOTO, data={"datetime": f"{text}/.."}),
            http.post("/v1/similar", files=PHOTO, data={"datetime": f"../{text}"}),
        ):
            problem(answer, 400 if kind == "bad_request" else 422, kind)
        # JSON was parsed, so the value violates a rule.
        for answer in (
            http.patch(f"/v1/images/{uuid4()}", json={"captured_at": text}),
            http.post(
                f"/v1/batches/{batch.id}/images",
                files=[("files", ("a.jpg", b"x"))],
                data={"metadata_overrides": metadata_overrides},
            ),
        ):
            problem(answer, 422, "invalid_request")
    assert search_calls == []


@pytest.mark.parametrize("number", [1_700_000_000, 1.7e9, -1, True])
def test_time_as_number_returns_422(api, number):
    with api.http() as http:
        answer = http.patch(f"/v1/images/{uuid4()}", json={"captured_at": number})
    assert "ISO 8601" in problem(answer, 422, "invalid_request")["detail"]


@pytest.mark.parametrize(
    "text", ["2026-05-01T12:00:00Z", "2026-05-01T12:00:00+02:00", "0001-01-01T00:00:00Z"]
)
def test_time_with_utc_offset_is_accepted(api, search_calls, text):
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, data={"datetime": f"{text}/.."})
    assert answer.status_code == 200
    assert search_calls[0]["limits"].captured_after.tzinfo is not None


def test_attribute_with_number_of_400_digits_returns_422(api):
    rows = api.rows()
    batch = rows.open_batch(rows.add_source("walk", "photo").id)
    overrides = f'{{"a.jpg": {{"attributes": {{"n": {HUGE}}}, "lat": {HUGE}}}}}'
    with api.http() as http:
        answer = http.post(
            f"/v1/batches/{batch.id}/images",
            files=[("files", ("a.jpg", b"x"))],
            data={"metadata_overrides": overrides},
        )
    problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"name": ' + b"9" * 5_000 + b"}"])
def test_json_that_python_cannot_parse_returns_client_error(api, body):
    with api.http() as http:
        headers = {"Content-Type": "application/json"}
        answer = http.post("/v1/sources", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
