"""The committed OpenAPI document is current, and its examples are valid."""

from __future__ import annotations

import json

import jsonschema
import pytest

from document_blocks import ROOT
from pinpoint.api.app import create_app
from pinpoint.api.openapi_file import make_openapi_text

JSON_TYPES = ("application/json", "application/geo+json", "application/problem+json")


@pytest.fixture(scope="module")
def document():
    return create_app().openapi()


def bodies(document):
    """Name and content of each request and response body."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"{name} request", media_type, content
            for status, response in operation["responses"].items():
                for media_type, content in response.get("content", {}).items():
                    yield f"{name} {status}", media_type, content


def test_committed_document_is_current():
    committed = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert committed == make_openapi_text(), "run `make openapi`"


def test_every_json_body_has_a_valid_example(document):
    errors = []
    checked = 0
    for name, media_type, content in bodies(document):
        if media_type not in JSON_TYPES and not name.endswith("request"):
            continue
        if "example" not in content:
            errors.append(f"{name} {media_type}: no example")
            continue
        schema = {**content["schema"], "components": document["components"]}
        validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.FormatChecker()
        )
        errors += [
            f"{name}: {e.json_path} {e.message[:200]}"
            for e in validator.iter_errors(content["example"])
        ]
        checked += 1
    assert errors == []
    assert checked > 100


def test_operations_state_scope_and_shared_problems(document):
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert set(operation["tags"]) <= described, (method, path)
            if not path.startswith("/v1/"):
                continue
            assert {"400", "401", "403", "404", "422", "429", "503"} <= set(operation["responses"])
            scopes = {
                tuple(roles) for schemes in operation["security"] for roles in schemes.values()
            }
            assert len(scopes) == 1
            if "requestBody" in operation:
                assert {"408", "413"} <= set(operation["responses"])
            for status in ("429", "503"):
                assert "Retry-After" in operation["responses"][status]["headers"]


def test_request_objects_accept_no_unknown_fields(document):
    def closed(schema, where):
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, where
            for name, field in schema["properties"].items():
                closed(field, f"{where}.{name}")
        if "items" in schema:
            closed(schema["items"], where)
        for choice in schema.get("anyOf", ()):
            closed(choice, where)

    for name, _, content in bodies(document):
        if name.endswith("request"):
            closed(content["schema"], name)


def test_document_is_small_enough_for_a_page(document):
    assert len(json.dumps(document)) < 1_000_000
