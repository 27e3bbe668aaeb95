"""JSONL files of jobs: one item for each line, read in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pinpoint.api.v1.job_answers import parse_job_parameters
from pinpoint.errors import BadRequestError, TooLargeError
from pinpoint.jobs.locate_items import URL_INPUTS_DISABLED
from pinpoint.records.jobs import DUPLICATE_CUSTOM_ID, INVALID_LINE, NewJobItem

MAX_ID_CHARACTERS = 512
_MAX_URL_CHARACTERS = 4_096

CustomId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]


class JobLine(BaseModel):
    """One line of a JSONL file: a photo behind a URL, or an uploaded one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    custom_id: CustomId = Field(
        description="The caller's name of the item, unique in the job.", examples=["roof-17"]
    )
    url: str | None = Field(default=None, max_length=_MAX_URL_CHARACTERS)
    upload: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        description="Name of an uploaded file.",
        examples=["2026/roof.jpg"],
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of `/v1/locate`; they override those of the job.",
        examples=[{"top": 3, "bbox": [2.2, 48.8, 2.5, 48.9]}],
    )

    @model_validator(mode="after")
    def _check_photo(self) -> Self:
        if (self.url is None) == (self.upload is None):
            raise ValueError("give either url or upload")
        if self.url is not None and not urlsplit(self.url).scheme:
            raise ValueError("the url has no scheme, such as https")
        return self


def read_lines(
    file: BinaryIO, *, max_items: int, max_line_bytes: int, allows_urls: bool
) -> Iterator[NewJobItem]:
    """Read the lines of a JSONL file as items; empty lines are skipped.

    An invalid line is an item with an error code, so that no line is lost.

    Args:
        file: The file, UTF-8.
        max_items: Maximum number of items.
        max_line_bytes: Maximum size of one line.
        allows_urls: Whether photos behind URLs are supported.

    Raises:
        TooLargeError: The file has too many lines.
    """
    custom_ids: set[str] = set()
    num_items = line_number = 0
    while line := file.readline(max_line_bytes + 1):
        line_number += 1
        if len(line) > max_line_bytes:
            while line and not line.endswith(b"\n"):
                line = file.readline(max_line_bytes + 1)
            item = _make_invalid_item(
                line_number, None, f"the line is longer than {max_line_bytes} bytes"
            )
        elif not line.strip():
            continue
        else:
            item = _read_line(line, line_number, custom_ids, allows_urls=allows_urls)
        num_items += 1
        if num_items > max_items:
            raise TooLargeError(f"a job has at most {max_items:,} items (PINPOINT_JOB_MAX_ITEMS)")
        yield item


def _read_line(
    line: bytes, line_number: int, custom_ids: set[str], *, allows_urls: bool
) -> NewJobItem:
    try:
        text = line.decode("utf-8-sig" if line_number == 1 else "utf-8")
        value = json.loads(text)
    except UnicodeError:
        return _make_invalid_item(line_number, None, "the line is not valid UTF-8")
    except (ValueError, RecursionError):
        return _make_invalid_item(line_number, None, "the line is not JSON")
    custom_id = _read_custom_id(value)
    try:
        _check_storable(value)
        job_line = JobLine.model_validate(value)
        parse_job_parameters(job_line.parameters)
    except (ValidationError, BadRequestError) as error:
        return _make_invalid_item(line_number, custom_id, _describe_error(error))
    if job_line.custom_id in custom_ids:
        message = "an earlier line has the same custom_id"
        return _make_invalid_item(line_number, custom_id, message, error_code=DUPLICATE_CUSTOM_ID)
    custom_ids.add(job_line.custom_id)
    if job_line.url is not None and not allows_urls:
        message = "URL inputs are not enabled"
        return _make_invalid_item(line_number, custom_id, message, error_code=URL_INPUTS_DISABLED)
    return NewJobItem(
        custom_id=job_line.custom_id,
        file=job_line.upload,
        url=job_line.url,
        line_number=line_number,
        parameters=job_line.parameters,
    )


def _check_storable(value: Any) -> None:
    """Require that PostgreSQL can store the values of a line.

    Raises:
        BadRequestError: They contain a zero character or half of a surrogate pair.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the line has a number or text that cannot be stored") from error
    if "\\u0000" in text:
        raise BadRequestError("the line contains a zero character")


def _describe_error(error: ValidationError | BadRequestError) -> str:
    if isinstance(error, BadRequestError):
        return error.message
    first = error.errors(include_url=False, include_input=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    return f"{location}: {first['msg']}" if location else str(first["msg"])


def _read_custom_id(value: Any) -> str | None:
    """The id of a line that may be invalid, if it can be stored."""
    custom_id = value.get("custom_id") if isinstance(value, dict) else None
    if not isinstance(custom_id, str) or not custom_id.isprintable():
        return None
    return custom_id[:MAX_ID_CHARACTERS]


def _make_invalid_item(
    line_number: int, custom_id: str | None, message: str, *, error_code: str = INVALID_LINE
) -> NewJobItem:
    return NewJobItem(
        custom_id=custom_id,
        line_number=line_number,
        error_code=error_code,
        error_message=message[:1_000],
    )
