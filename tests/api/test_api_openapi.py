"""`/openapi.json` agrees with the API where generated clients depend on it."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest


@pytest.fixture
def document(api):
    with api.http() as http:
        return http.get("/openapi.json").json()


def operations(document):
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_openapi_operations_have_name_summary_and_problems(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(document):
        assert operation["summary"], path
        statuses = set(operation["responses"])
        if path.startswith("/v1/"):
            assert {"401", "403", "503"} <= statuses, (method, path)
            assert "{" not in path or "404" in statuses, (method, path)
            # Without a key only this machine is served: a key is not always wanted.
            *schemes, keyless = operation["security"]
            names = [name for scheme in schemes for name in scheme]
            assert (names, keyless) == (["HTTPBearer", "HTTPBasic", "APIKeyHeader"], {})
        if operation.get("requestBody"):
            assert {"400", "422"} <= statuses, (method, path)
        for status in {status for status in statuses if status >= "400"}:
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], (method, path, status)


def test_openapi_path_parameters_have_an_example(document):
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert parameter["schema"].get("examples") or parameter.get("example"), path


def test_wrong_method_returns_405_with_allowed_methods(api):
    with api.http() as http:
        for path, methods in {
            "/v1/sources": "GET, HEAD, OPTIONS, POST",
            "/v1/batches": "GET, HEAD, OPTIONS, POST",
            f"/v1/images/{uuid4()}": "DELETE, GET, HEAD, OPTIONS, PATCH",
            "/v1/sources/walk": "DELETE, GET, HEAD, OPTIONS, PATCH",
            "/v1/locate": "OPTIONS, POST",
        }.items():
            refused = http.put(path)
            assert (refused.status_code, refused.headers["allow"]) == (405, methods)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/locate", {"data": {"sources": "a\0b"}, "files": {"photo": b"x"}}),
        ("POST", "/v1/batches", {"json": {"source": "a\0b"}}),
        ("GET", "/v1/sources/a%00b", {}),
        ("POST", "/v1/sources", {"json": {"name": "a\0b", "kind": "photo"}}),
        ("POST", "/v1/sources", {"content": b'{"name": "\\ud800", "kind": "photo"}'}),
        ("PATCH", f"/v1/images/{UUID(int=7)}", {"content": b"\xff\x00{"}),
    ],
)
def test_text_that_no_store_accepts_is_rejected(api, search_calls, method, path, body):
    with api.http() as http:
        headers = {"Content-Type": "application/json"} if "content" in body else {}
        refused = http.request(method, path, headers=headers, **body)
    assert refused.status_code in (400, 422)
    assert refused.headers["content-type"] == "application/problem+json"


def test_openapi_form_fields_are_not_nullable(document):
    for path in ("/v1/locate", "/v1/similar", "/v1/batches/{batch_id}/images"):
        form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]
        assert '"null"' not in json.dumps(form)
        assert form["schema"]["properties"]
