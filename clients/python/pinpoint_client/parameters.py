"""Conversion of Python values to query parameters, form fields and parts of a path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pinpoint_client.errors import BadRequestError

Id = str | UUID
"""Name or id."""


def to_form(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters to form fields; None is omitted."""
    form: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is None or value in ((), []):
            continue
        if isinstance(value, Mapping):
            form[name] = json.dumps(value)
        elif name == "bbox" and not isinstance(value, str):
            form[name] = ",".join(repr(float(degrees)) for degrees in value)
        elif name == "crop" and not isinstance(value, str):
            crops = [value] if all(isinstance(number, int) for number in value) else value
            form[name] = [
                crop if isinstance(crop, str) else ",".join(map(str, crop)) for crop in crops
            ]
        elif name == "datetime" and isinstance(value, list | tuple):
            form[name] = "/".join(".." if time is None else to_text(time) for time in value)
        elif isinstance(value, list | tuple):
            form[name] = [str(item) for item in value]
        else:
            form[name] = to_text(value)
    return form


def to_text(value: object) -> str:
    """Convert a value to text; times to ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_json(value: object) -> Any:
    """Convert times, ids and other values in a JSON document to text."""
    return json.loads(json.dumps(value, default=to_text))


def to_path_segment(identity: Id) -> str:
    """Convert a name or id to a part of a path.

    Raises:
        BadRequestError: It would change the path.
    """
    text = str(identity)
    if not text or "/" in text or text in (".", ".."):
        raise BadRequestError(f"{text!r} is not a valid name or id")
    return text


def drop_none(query: Mapping[str, Any] | None) -> dict[str, Any]:
    """Copy parameters without those that are None."""
    return {name: value for name, value in (query or {}).items() if value is not None}
