"""Reads form bodies; `body_limits` counts their bytes while they arrive.

FastAPI's own parser writes larger files to disk; this one can keep a query photo in memory. Text
must be UTF-8, because some of Python's codecs need seconds for a megabyte.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from pinpoint.api.problems import list_field_errors, shorten
from pinpoint.api.query_names import name_field
from pinpoint.errors import BadRequestError, InvalidRequestError, TooLargeError

MAX_QUERY_FIELDS_BYTES: Final = 300_000
"""Maximum bytes of a query form without its photo; the largest field is a polygon."""
MAX_UPLOAD_FIELDS_BYTES: Final = 4_000_000
"""Maximum bytes of the overrides and part headers of an upload form."""
_UTF_8: Final = frozenset({"utf-8", "utf8"})
_SPOOL_BYTES: Final = 1_000_000
_MAX_FIELDS: Final = 256

Model = TypeVar("Model", bound=BaseModel)


async def read_form(
    request: Request, *, max_files: int, fields_bytes: int, in_memory_bytes: int = _SPOOL_BYTES
) -> FormData:
    """Read a form.

    Args:
        request: The request with an unread body.
        max_files: Maximum number of files.
        fields_bytes: Maximum bytes of one text field.
        in_memory_bytes: A larger file is spooled to disk.

    Raises:
        TooLargeError: The form exceeds a limit; nothing was stored.
        BadRequestError: The body is not a valid form.
    """
    kind = _parse_media_type(request.headers.get("content-type", ""))
    try:
        if kind == "multipart/form-data":
            parser = MultiPartParser(
                request.headers,
                request.stream(),
                max_files=max_files,
                max_fields=_MAX_FIELDS,
                max_part_size=fields_bytes,
            )
            parser.spool_max_size = in_memory_bytes
            return await parser.parse()
        if kind == "application/x-www-form-urlencoded":
            return await FormParser(
                request.headers,
                request.stream(),
                max_fields=_MAX_FIELDS,
                max_part_size=fields_bytes,
            ).parse()
    except MultiPartException as error:
        raise _form_error(error.message, max_files, fields_bytes) from error
    raise HTTPException(415, "the body must be multipart/form-data")


def _parse_media_type(header: str) -> str:
    """Return the media type of a body and require UTF-8 text."""
    kind, parameters = parse_options_header(header)
    charset = parameters.get(b"charset", b"utf-8").decode("latin-1").strip().lower()
    if charset not in _UTF_8:
        raise HTTPException(415, "the text of a form must be UTF-8; leave its charset out")
    return kind.decode("latin-1").strip().lower()


def _form_error(parser_message: str, max_files: int, fields_bytes: int) -> BadRequestError:
    """Translate a parser message into an error that does not repeat the request's content."""
    if "Too many files" in parser_message:
        return TooLargeError(f"more than {max_files} files in one request; send fewer")
    if "Too many fields" in parser_message:
        return InvalidRequestError(f"the form has more than {_MAX_FIELDS} fields")
    if "exceeded maximum size" in parser_message:
        return TooLargeError(f"a field of the form is larger than {fields_bytes} bytes")
    if "boundary" in parser_message:
        return BadRequestError("the form cannot be read: its content type has no boundary")
    return BadRequestError("the form cannot be read: it is not well-formed multipart/form-data")


def form_files(form: FormData, name: str) -> list[UploadFile]:
    """Return the form's files in the field `name`, in order.

    Raises:
        InvalidRequestError: A file is in another field.
    """
    uploads = []
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != name:
                raise InvalidRequestError(
                    f"a file is in the field {shorten(key)!r}; files belong in {name!r}"
                )
            uploads.append(value)
    return uploads


def form_fields(form: FormData, model: type[Model]) -> Model:
    """Parse the form's text fields as `model`; a repeated field becomes a list.

    Raises:
        RequestValidationError: A field is unknown or has an invalid value.
        InvalidRequestError: A field contains a zero byte, which the database cannot store.
    """
    texts: dict[str, Any] = {}
    for key, value in form.multi_items():
        if isinstance(value, str) and "\x00" in value:
            raise InvalidRequestError(f"the field {shorten(key)!r} contains a zero byte")
        if isinstance(value, str) and value != "":
            texts[key] = [*texts[key], value] if key in texts else [value]
    flat = {key: values[0] if len(values) == 1 else values for key, values in texts.items()}
    try:
        return model.model_validate(flat)
    except ValidationError as error:
        raise RequestValidationError(
            [
                name_field(
                    {**field_error, "loc": ("body", *field_error["loc"]), "is_form": True}, model
                )
                for field_error in list_field_errors(error)
            ]
        ) from error


def parse_json(text: str, field: str) -> Any:
    """Parse the JSON value of a form field.

    Raises:
        BadRequestError: The text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise BadRequestError(f"the field {field!r} is not valid JSON at {position}") from error
    except ValueError as error:
        raise BadRequestError(
            f"the field {field!r} contains a number with too many digits"
        ) from error
    except RecursionError as error:
        raise BadRequestError(f"the JSON in the field {field!r} is nested too deeply") from error


def openapi_body(
    model: type[BaseModel],
    *,
    file: str,
    many: bool,
    required: bool,
    max_files: int | None = None,
) -> dict[str, Any]:
    """Build the OpenAPI request body of a form: the fields of `model` and the file field.

    Args:
        model: The fields.
        file: Name of the file field.
        many: Whether it may have several files.
        required: Whether it has at least one.
        max_files: Maximum number of files, if it is a constant.
    """
    schema = model.model_json_schema()
    file_schema: dict[str, Any] = {"type": "string", "format": "binary"}
    if many:
        file_schema = {"type": "array", "items": file_schema}
        limits = {"minItems": 1 if required else None, "maxItems": max_files}
        file_schema |= {name: limit for name, limit in limits.items() if limit is not None}
    properties = {name: _remove_null(field) for name, field in schema["properties"].items()}
    schema["properties"] = {file: file_schema, **properties}
    if required:
        schema["required"] = [file, *schema.get("required", [])]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def _remove_null(field: dict[str, Any]) -> dict[str, Any]:
    """Remove null from a field's schema: forms omit a field instead."""
    choices = [choice for choice in field.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1 or field.get("default", ...) is not None:
        return field
    rest = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
    return {**choices[0], **rest}
