"""The OpenAPI document: what all routes share is declared here, not at each route.

These are the scope of each route, the problems that middleware may send, headers of responses,
descriptions of tags, and an example of each JSON body.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

from pinpoint.api import problems
from pinpoint.api.auth import RouteAccess
from pinpoint.api.rules import RouteRule
from pinpoint.api.schema_examples import build_example
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut, SimilarFeaturesOut
from pinpoint.api.v1.schemas.batch_urls import UrlsIn
from pinpoint.api.v1.schemas.images import ImageFeatures
from pinpoint.api.v1.schemas.spatial import CellFeatures
from pinpoint.http_headers import API_KEY_HEADER
from pinpoint.records import SCOPES

RESPONSE_MODELS: Final[tuple[type[BaseModel], ...]] = (
    problems.Problem,
    AnswerFeaturesOut,
    CellFeatures,
    ImageFeatures,
    SimilarFeaturesOut,
    UrlsIn,
)
"""Models that FastAPI does not list: of responses with another media type than `application/json`,
and of bodies that a route reads itself."""
KEY_SCHEMES: Final = {
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `Authorization: Bearer <key>`.",
    },
    "HTTPBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, and an API key as password.",
    },
    "APIKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "An API key.",
    },
}
"""Forms of an API key (`pinpoint.api.auth`)."""
TAGS: Final = {
    "search": "Queries with a photo: where it was taken, and which gallery images look like it.",
    "jobs": "Many photos located asynchronously: uploads, state, results and errors.",
    "ingest": "Batches of files that are added to a source, and the status of each file.",
    "images": "Rows of the gallery: metadata, files, thumbnails, corrections and deletion.",
    "sources": "Collections of images of one kind, with license and originals policy.",
    "spatial queries": "Images near points, coverage of the gallery and its gaps.",
    "exports": "The rows of the gallery as a file.",
    "layers": "OGC API - Features and Tiles: the gallery as layers of GIS clients.",
    "panoramax": "The API of Panoramax: STAC, sequences and vector tiles.",
    "quality": "Evaluations and calibrations: figures, reliability, errors by position.",
    "webhooks": "Signed messages about the end of batches and jobs, and their deliveries.",
    "protected areas": "Areas whose places answers do not reveal, or only coarsely.",
    "access": "Organizations, API keys, their limits, and the audit log.",
    "health": "State of the service. Needs no key.",
}
"""Descriptions of tags, in the order of the document."""
_HEADERS: Final = {
    "Retry-After": ("Seconds until the request may be repeated.", {"type": "integer"}),
    "WWW-Authenticate": ("Forms of a key that are accepted.", {"type": "string"}),
    "ETag": ("Entity tag of the representation.", {"type": "string"}),
    "Link": ('The next page as `rel="next"`; missing on the last page.', {"type": "string"}),
}
_JSON_TYPES: Final = ("application/json", "application/geo+json", problems.MEDIA_TYPE)
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def describe_routes(app: FastAPI, rules: list[RouteRule]) -> None:
    """Complete the OpenAPI document of the application.

    Args:
        app: The application.
        rules: Rules of its protected routes.
    """
    generate = app.openapi
    by_operation = {
        (method.lower(), rule.route.path_format): rule
        for rule in rules
        for method in rule.route.methods or ()
    }

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None and app.openapi_schema.get("tags"):
            return app.openapi_schema
        document = generate()
        schemas = document["components"]["schemas"]
        document["components"].setdefault("securitySchemes", {}).update(KEY_SCHEMES)
        _add_response_models(schemas)
        tags: set[str] = set()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                tags.update(operation.get("tags", ()))
                _describe_operation(operation, by_operation.get((method, path)))
                _add_examples(operation, schemas)
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        document["tags"] = [
            {"name": name, "description": TAGS.get(name, "")}
            for name in [*(name for name in TAGS if name in tags), *sorted(tags - set(TAGS))]
        ]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_response_models(schemas: dict[str, Any]) -> None:
    """Add `RESPONSE_MODELS`, and the models in them, to the schemas of an OpenAPI document."""
    for model in RESPONSE_MODELS:
        schema = model.model_json_schema(
            ref_template="#/components/schemas/{model}", mode="serialization"
        )
        for name, definition in schema.pop("$defs", {}).items():
            schemas.setdefault(name, definition)
        schemas[model.__name__] = schema


def _describe_operation(operation: dict[str, Any], rule: RouteRule | None) -> None:
    """Add scope, problems of the middleware and headers to one operation."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    statuses: list[int] = []
    if rule is not None:
        # `protection` may send these: the parameters, the key, its organization, overload.
        statuses += [400, 401, 403, 404, 422, 429, 503]
        # Keyless access is possible only if PINPOINT_API_ALLOW_KEYLESS is set.
        roles = [rule.access] if rule.access in SCOPES else []
        operation["security"] = [*({name: roles} for name in KEY_SCHEMES), {}]
        operation["description"] = (
            f"{operation.get('description', '')}\n\n{_describe_access(rule.access)}".strip()
        )
        if rule.is_idempotent:
            statuses.append(409)
    if "requestBody" in operation:
        statuses += [400, 408, 413, 415, 422]
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI's own, which no route sends
        statuses.append(422)
    for status, declared in problems.problem_responses(*statuses).items():
        responses.setdefault(str(status), declared)
    for status, response in responses.items():
        _add_headers(response, status, parameters)
    operation["responses"] = dict(sorted(responses.items()))


def _describe_access(access: RouteAccess) -> str:
    if access in SCOPES:
        return f"Scope: `{access}`."
    return "For every valid key." if access == "any_key" else "Only for the operator."


def _add_headers(response: dict[str, Any], status: str, parameters: set[str]) -> None:
    names = []
    if status in ("429", "503"):
        names.append("Retry-After")
    if status == "401":
        names.append("WWW-Authenticate")
    if status in ("200", "304") and "if-none-match" in parameters:
        names.append("ETag")
    if status == "200" and "cursor" in parameters:
        names.append("Link")
    for name in names:
        description, schema = _HEADERS[name]
        response.setdefault("headers", {})[name] = {"description": description, "schema": schema}


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add an example to each JSON body of an operation, and to forms."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if "schema" in content and media_type in (*_JSON_TYPES, "multipart/form-data"):
            example = build_example(content["schema"], schemas, only_needed=True)
            content.setdefault("example", example)
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            if media_type in _JSON_TYPES and "schema" in content:
                content.setdefault("example", _build_response(status, content["schema"], schemas))


def _build_response(status: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    example = build_example(schema, schemas)
    if schema.get("$ref", "").endswith("/Problem"):
        kind, title = problems.describe_status(int(status))
        example |= {
            "type": f"{problems.PROBLEM_TYPE_PREFIX}{kind}",
            "title": title,
            "status": int(status),
            "reason": kind,
            "detail": title,
        }
        if status not in ("400", "422"):
            example["errors"] = None
    return example
