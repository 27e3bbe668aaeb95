"""Reads form bodies under limits that hold while the bytes stream in.

FastAPI's own parsing reads the whole body before anyone asked who sent it, and writes larger
files to disk; here the caller is known first, and a query photo stays in memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from pinpoint.errors import BadRequest, TooLarge

FIELDS_BYTES: Final = 8_000_000
"""Room for everything in a form that is no file: fields, hints, part headers."""
_SPOOL_BYTES: Final = 1_000_000
_MAX_FIELDS: Final = 64

Shape = TypeVar("Shape", bound=BaseModel)


async def read(
    request: Request, *, max_files: int, max_bytes: int, limit_name: str, in_memory: bool = False
) -> FormData:
    """Read a form.

    Args:
        request: The request, its body not yet read.
        max_files: Most files.
        max_bytes: Most bytes of files; fields may take `FIELDS_BYTES` more.
        limit_name: Setting that a message about size names.
        in_memory: Never let a file touch the disk.

    Raises:
        TooLarge: Over a limit; nothing was kept.
        BadRequest: The body is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    allowed = max_bytes + FIELDS_BYTES
    if int(request.headers.get("content-length", "0") or 0) > allowed:
        raise _over(max_bytes, limit_name)
    stream = _bounded(request.stream(), allowed, max_bytes, limit_name)
    try:
        if kind == "multipart/form-data":
            parser = MultiPartParser(
                request.headers,
                stream,
                max_files=max_files,
                max_fields=_MAX_FIELDS,
                max_part_size=FIELDS_BYTES,
            )
            parser.spool_max_size = allowed if in_memory else _SPOOL_BYTES
            return await parser.parse()
        if kind == "application/x-www-form-urlencoded":
            return await FormParser(request.headers, stream, max_fields=_MAX_FIELDS).parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise TooLarge(f"more than {max_files} files in one request; send fewer") from error
        raise BadRequest(f"the form cannot be read: {error.message}") from error
    raise HTTPException(415, "the body must be multipart/form-data")


async def _bounded(
    stream: Any, allowed: int, max_bytes: int, limit_name: str
) -> AsyncGenerator[bytes]:
    seen = 0
    async for chunk in stream:
        seen += len(chunk)
        if seen > allowed:
            raise _over(max_bytes, limit_name)
        yield chunk


def _over(max_bytes: int, limit_name: str) -> TooLarge:
    return TooLarge(
        f"the request is larger than {max_bytes} bytes ({limit_name}); send fewer or smaller files"
    )


def files(form: FormData, name: str) -> list[UploadFile]:
    """The form's files under `name`, in order.

    Raises:
        BadRequest: A file came under another name.
    """
    found = []
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != name:
                raise BadRequest(f"a file came in the field {key!r}; files go in {name!r}")
            found.append(value)
    return found


def fields(form: FormData, shape: type[Shape]) -> Shape:
    """The form's text fields as `shape`; a field sent several times becomes a list.

    Raises:
        RequestValidationError: A field is unknown or has no usable value.
        BadRequest: A field holds a zero byte, which no store can keep.
    """
    texts: dict[str, Any] = {}
    for key, value in form.multi_items():
        if isinstance(value, str) and "\x00" in value:
            raise BadRequest(f"the field {key!r} holds a zero byte")
        if isinstance(value, str) and value != "":
            texts[key] = [*texts[key], value] if key in texts else [value]
    flat = {key: values[0] if len(values) == 1 else values for key, values in texts.items()}
    try:
        return shape.model_validate(flat)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error


def as_json(text: str, field: str) -> Any:
    """A JSON value that travelled in a form field.

    Raises:
        BadRequest: It is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the field {field!r} is no JSON: {error}") from error


def documented(shape: type[BaseModel], *, file: str, many: bool, required: bool) -> dict[str, Any]:
    """OpenAPI's description of a form: the fields of `shape` and the file field."""
    schema = shape.model_json_schema()
    binary = {"type": "string", "format": "binary"}
    own = {"type": "array", "items": binary} if many else binary
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    schema["properties"] = {file: own, **fields}
    if required:
        schema["required"] = [file, *schema.get("required", [])]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: what is not said is left out."""
    choices = [one for one in field.get("anyOf", []) if one != {"type": "null"}]
    if len(choices) != 1 or field.get("default", ...) is not None:
        return field
    rest = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
    return {**choices[0], **rest}
