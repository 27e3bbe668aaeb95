"""The OpenAPI document of `locate` and `similar` has only the names of the glossary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from pinpoint.api.app import create_app

PATHS: Final = ("/v1/locate", "/v1/similar")
REJECTED: Final = {
    "abstained": "abstention_reason",
    "areas": "credible_regions",
    "belief": "posterior",
    "candidates_considered": "num_candidates",
    "elsewhere": "p_outside_candidates",
    "kind": "query_kind or source_kind",
    "kinds": "source_kinds",
    "mass": "weight or probability",
    "null_score": "no_match_logit",
    "over": "search_space",
    "places": "coordinates",
    "ranker_reason": "ranker_fallback_reason",
    "refined": "refined_position",
    "regions": "credible_discs",
    "rerank_score": "rerank_logit",
    "since": "datetime",
    "stratum": "calibration_group",
    "support": "evidence_share",
    "unsupported": "p_not_in_gallery",
    "until": "datetime",
    "within": "probability_within_km",
}
"""Rejected name → name of the glossary."""
ANSWER_FIELDS: Final = {
    "abstention_reason",
    "coordinates",
    "credible_discs",
    "no_match_logit",
    "num_candidates",
    "posterior",
    "ranker_fallback_reason",
    "warnings",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def walk_schema(node: Any, document: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yield `(kind of name, name)` of a schema and of all schemas that it refers to."""
    if isinstance(node, list):
        for item in node:
            yield from walk_schema(item, document, seen)
    if not isinstance(node, dict):
        return
    reference = node.get("$ref")
    if reference is not None and reference not in seen:
        seen.add(reference)
        schema = document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
        yield from walk_schema(schema, document, seen)
    for name in node.get("properties", {}):
        yield "property", name
    for parameter in node.get("parameters", []):
        yield "parameter", parameter["name"]
    for value in (*node.get("enum", []), *node.get("examples", []), node.get("const")):
        if isinstance(value, str):
            yield "value", value
    for value in node.values():
        yield from walk_schema(value, document, seen)


def operation_names(document: dict[str, Any], path: str) -> set[tuple[str, str]]:
    return set(walk_schema(document["paths"][path]["post"], document, set()))


@pytest.mark.parametrize("path", PATHS)
def test_openapi_of_search_has_no_rejected_names(document, path):
    names = operation_names(document, path)
    assert ("property", "datetime") in names, "the form is part of the walk"
    assert ("property", "timings_ms") in names, "the answer is part of the walk"
    rejected = {f"{kind} {name}: use {REJECTED[name]}" for kind, name in names if name in REJECTED}
    assert rejected == set()


def test_openapi_of_locate_has_the_names_of_the_glossary(document):
    answer = document["components"]["schemas"]["AnswerOut"]["properties"]
    assert set(answer) >= ANSWER_FIELDS
    assert answer["warnings"]["type"] == "array"
    names = operation_names(document, "/v1/locate")
    parameters = {"query_kind", "source_kinds", "search_space", "datetime", "bbox"}
    assert {name for kind, name in names if kind == "property"} >= parameters
    assert ("value", "coordinates") in names


@pytest.mark.parametrize("name", sorted(REJECTED))
def test_walk_schema_with_a_rejected_name_finds_it(name):
    schema = {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}
    document = {"components": {"schemas": {"A": {"items": {"properties": {name: {}}}}}}}
    assert list(walk_schema(schema, document, set())) == [("property", name)]
