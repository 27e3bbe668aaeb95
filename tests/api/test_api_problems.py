"""Errors are problem details (RFC 9457) with a stable type and without internal details."""

from __future__ import annotations

import inspect
import json
import re
from uuid import uuid4

import pytest

from pinpoint import errors
from pinpoint.api import problems

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PinpointError)
]


def problem(answer, status, kind, reason=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == problems.build_type(kind)
    assert body["status"] == status
    assert body["reason"] == (reason or kind)
    assert body["title"] == problems.TITLES[kind]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def test_status_table_has_every_error_class():
    assert set(problems.STATUS) == set(TREE)
    assert {kind.reason for kind in TREE} <= set(problems.TITLES)


@pytest.mark.parametrize("kind", TREE)
def test_locate_that_raises_a_pinpoint_error_returns_its_problem(api, monkeypatch, kind):
    def fail(*_, **__):
        raise kind("said plainly", reason="more_exact")

    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", fail)
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO)
    body = problem(answer, problems.STATUS[kind], kind.reason, "more_exact")
    assert body["detail"] == "said plainly"
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


@pytest.mark.parametrize(
    "client_id", ["short", "x" * 65, "has a blank", 'quote"quote', "new-line-é"]
)
def test_request_id_unusable_client_id_is_replaced(api, client_id):
    with api.http() as http:
        answer = http.get("/v1/none", headers={"X-Request-ID": client_id.encode()})
    (request_id,) = answer.headers.get_list("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert answer.json()["request_id"] == request_id


def test_locate_with_unexpected_error_returns_500_without_details(api, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", fail)
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, headers={"X-Request-ID": "my-own-id-1"})
    body = problem(answer, 500, "internal")
    assert body["request_id"] == "my-own-id-1"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_request_with_unknown_path_method_or_body_returns_its_problem(api):
    with api.http() as http:
        problem(http.get("/v1/nothing"), 404, "not_found")
        problem(http.put("/v1/sources"), 405, "method_not_allowed")
        problem(http.post("/v1/locate", content=b"{}"), 415, "unsupported_media_type")
        problem(http.post("/v1/batches", json={"sauce": "x"}), 422, "invalid_request")
        problem(http.post("/v1/batches", content=b"{", headers=JSON), 400, "bad_request")
        problem(http.get("/v1/images/no-uuid"), 400, "bad_request")
        problem(http.get(f"/v1/batches/{uuid4()}/items?status=odd"), 422, "invalid_request")


JSON = {"Content-Type": "application/json"}


def test_id_of_other_organization_returns_the_404_of_an_unknown_id(api):
    theirs = api.rows("acme").add_source("secret-walk", "photo")
    batch = api.rows("acme").open_batch(theirs.id)
    with api.http() as http:
        for path, foreign_id in (("batches", batch.id), ("sources", theirs.id)):
            foreign = problem(http.get(f"/v1/{path}/{foreign_id}"), 404, "not_found")
            unknown_id = uuid4()
            missing = problem(http.get(f"/v1/{path}/{unknown_id}"), 404, "not_found")
            assert foreign["detail"].replace(str(foreign_id), "") == missing["detail"].replace(
                str(unknown_id), ""
            )
        assert http.get("/v1/sources").json() == {"sources": [], "next": None}


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"lat": "1"}, 422),
        ({"lat": "1", "lon": "2"}, 422),
        ({"lat": "91", "lon": "2", "radius_m": "5"}, 422),
        ({"lat": "nan", "lon": "2", "radius_m": "5"}, 422),
        ({"bbox": "1,2,3"}, 400),
        ({"bbox": "1,50,3,40"}, 422),
        ({"bbox": "1,2,3,inf"}, 422),
        ({"polygon": "{"}, 400),
        ({"polygon": "[" * 5000}, 400),
        ({"polygon": '{"type": "Point", "coordinates": [1, 2]}'}, 422),
        (
            {"polygon": '{"type": "Polygon", "coordinates": [[[1, 2], [1, 2], [1, 2], [1, 2]]]}'},
            422,
        ),
        ({"polygon": '{"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 4]]]}'}, 422),
        ({"polygon": '{"type": "Polygon", "coordinates": []}'}, 422),
        ({"polygon": "null"}, 422),
        ({"datetime": "2026-01-01/.."}, 400),
        ({"datetime": "2026-02-01T00:00:00Z/2026-01-01T00:00:00Z"}, 422),
        ({"source_kinds": "photo,drone"}, 422),
        ({"sources": "nobody"}, 404),
        ({"top": "0"}, 422),
        ({"color": "red"}, 422),
    ],
)
def test_locate_with_invalid_filter_returns_problem(api, search_calls, form, status):
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, data=form)
    kind = {400: "bad_request", 404: "not_found", 422: "invalid_request"}[status]
    body = problem(answer, status, kind)
    assert search_calls == []
    if status == 422:
        assert body["errors"][0]["where"].startswith("body")


def test_upload_over_a_limit_stores_no_item_and_no_blob(api):
    source = api.rows().add_source("walk", "photo")
    batch = api.rows().open_batch(source.id)
    path = f"/v1/batches/{batch.id}/images"

    def drip():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(200):
            yield b"x" * 100_000

    with api.http() as http:
        many = http.post(path, files=[("files", (f"{n}.jpg", b"x")) for n in range(4)])
        problem(many, 413, "too_large")
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        problem(http.post(path, content=drip(), headers=headers), 413, "too_large")
        assert (
            "PINPOINT_API_MAX_UPLOAD_BYTES" in http.post(path, content=drip(), headers=headers).text
        )
        problem(http.post(path, content=b"--b--junk", headers=headers), 422, "invalid_request")
        problem(http.post(path, files=[("other", ("a.jpg", b"x"))]), 422, "invalid_request")
        problem(http.post(path, data={"metadata_overrides": "{}"}), 422, "invalid_request")
        for name in ("../up.jpg", "a\u2028.jpg", "x" * 600):
            problem(http.post(path, files=[("files", (name, b"x"))]), 422, "invalid_request")
        for metadata_overrides in ("[", '{"b.jpg": {}}', '{"a.jpg": {"track": "/etc/passwd"}}'):
            answer = http.post(
                path,
                files=[("files", ("a.jpg", b"x"))],
                data={"metadata_overrides": metadata_overrides},
            )
            assert answer.status_code in (400, 422)
        problem(
            http.post(f"/v1/batches/{uuid4()}/images", files=[("files", ("a.jpg", b"x"))]),
            404,
            "not_found",
        )
    assert api.parts.blobs.kept == {}
    assert api.rows().batch(batch.id).items == 0


def test_locate_with_too_large_photo_returns_413(api, search_calls):
    with api.http() as http:
        answer = http.post("/v1/locate", files={"photo": ("p", b"x" * 9_000_000)})
    problem(answer, 413, "too_large")
    assert search_calls == []


def test_upload_with_conflict_deletes_its_blobs(api, monkeypatch):
    source = api.rows().add_source("walk", "photo")
    batch = api.rows().open_batch(source.id)

    def fail(*_):
        raise errors.ConflictError("closed meanwhile")

    monkeypatch.setattr(api.rows(), "add_items", fail)
    with api.http() as http:
        answer = http.post(f"/v1/batches/{batch.id}/images", files=[("files", ("a.jpg", b"x"))])
    problem(answer, 409, "conflict")
    assert api.parts.blobs.kept == {}


def test_validation_problem_does_not_repeat_the_invalid_value(api):
    with api.http() as http:
        answer = http.post("/v1/sources", json={"name": "n", "kind": "hunter2"})
    assert "hunter2" not in json.dumps(answer.json())
