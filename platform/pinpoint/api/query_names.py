"""Names of parameters and fields: unknown ones of `/v1` are refused with the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, get_args
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

CHECKED_PREFIX: Final = "/v1/"
"""Routes of OGC and Panoramax follow the rules of their standards."""
UNKNOWN_NAME: Final = "extra_forbidden"
"""Type of the error in the terms of pydantic."""


def list_query_names(route: APIRoute) -> frozenset[str] | None:
    """List the query parameters of a route; None if its names are not checked."""
    if not route.path.startswith(CHECKED_PREFIX):
        return None
    return frozenset(_iterate_names(route.dependant))


def check_query_names(query_string: bytes, names: frozenset[str] | None) -> None:
    """Check that each parameter of a query string has a known name.

    Raises:
        RequestValidationError: A name is unknown.
    """
    if names is None or not query_string:
        return
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    unknown = sorted({name for name, _ in pairs} - names)
    if unknown:
        raise RequestValidationError(
            [
                {
                    "type": UNKNOWN_NAME,
                    "loc": ("query", name),
                    "msg": describe_unknown_name(name, names),
                }
                for name in unknown
            ]
        )


def describe_unknown_name(name: str, names: Iterable[str]) -> str:
    """Describe an unknown name, with the nearest known one."""
    known = sorted(names)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if nearest:
        return f"unknown name; did you mean {nearest[0]!r}?"
    return f"unknown name; known are {', '.join(known)}" if known else "unknown name"


def name_field(field_error: dict[str, Any], model: Any) -> dict[str, Any]:
    """Add the nearest known name to the error of an unknown field of a body.

    Args:
        field_error: Error of pydantic; `loc` begins with `body`.
        model: Model of the body.
    """
    if field_error["type"] != UNKNOWN_NAME or field_error["loc"][0] != "body":
        return field_error
    *parents, name = field_error["loc"][1:]
    names = _find_model_names(model, parents)
    return {**field_error, "msg": describe_unknown_name(str(name), names)}


def _iterate_names(dependant: Any) -> Iterator[str]:
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from _list_model_names(model)
        else:
            yield field.alias
    for dependency in dependant.dependencies:
        yield from _iterate_names(dependency)


def _list_model_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _find_model_names(model: Any, parents: Sequence[str | int]) -> list[str]:
    """Find the field names of the model at a location below `model`."""
    models = list(_iterate_models(model))
    for part in parents:
        if isinstance(part, str):
            models = [
                child
                for parent in models
                if part in parent.model_fields
                for child in _iterate_models(parent.model_fields[part].annotation)
            ] or models
    return sorted({name for model in models for name in _list_model_names(model)})


def _iterate_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as `list[Model] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _iterate_models(argument)
