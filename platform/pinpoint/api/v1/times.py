"""Times in requests: ISO 8601 text with a time zone, and time intervals of OGC APIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema

from pinpoint.api.v1.parsing_errors import make_parsing_error

_ISO_PREFIX: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_OPEN_ENDS: Final = ("..", "")
_FIRST_TIME: Final = datetime.min.replace(tzinfo=UTC)
_RESOLUTION: Final = timedelta(microseconds=1)
"""Resolution of all stores. A closed end is stored as an open end that is one step later."""


def _check_text(value: Any) -> Any:
    """Accept only ISO 8601 text, because pydantic also accepts numbers and numeric text."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _ISO_PREFIX.match(value):
        raise ValueError("a time is text as ISO 8601, such as 2026-05-01T12:00:00Z")
    return value


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC the time is outside of the years 1 to 9999") from None


Time = Annotated[AwareDatetime, BeforeValidator(_check_text), AfterValidator(_to_utc)]
"""A time in UTC that all components can store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInterval:
    """A half-open interval: `start <= time < before`; None is an open end. Both are in UTC."""

    start: datetime | None
    before: datetime | None


def parse_interval(text: str) -> TimeInterval:
    """Parse the parameter `datetime` of OGC API - Features (17-069r4, 7.15.4).

    Args:
        text: A time, or two times with `/` between them. Times are RFC 3339, such as
            `2026-05-01T12:00:00Z`. `..`, or no text, is an open end. Both ends are included.
            Clients that know no open end send the years 0000 and 9999 instead (QGIS): year 0, which
            neither Python nor PostgreSQL has, is read as the first time of year 1.

    Raises:
        ValueError: The text is not such an interval, or its end is before its start.
    """
    bounds = text.strip().split("/")
    if len(bounds) > 2:
        raise make_parsing_error("an interval has one `/`: start/end")
    if all(bound in _OPEN_ENDS for bound in bounds):
        raise make_parsing_error(
            "an interval needs a start or an end: start/end, start/.. or ../end"
        )
    start, end = (
        None if bound in _OPEN_ENDS else parse_time(bound) for bound in (bounds[0], bounds[-1])
    )
    if start is not None and end is not None and end < start:
        raise ValueError("the end of an interval must not be before its start")
    return TimeInterval(start=start, before=None if end is None else _next_instant(end))


def parse_time(text: str) -> datetime:
    """Parse a time of RFC 3339; year 0 becomes the first time of year 1.

    Raises:
        ValueError: The text is no such time.
    """
    if not _RFC_3339.fullmatch(text):
        raise make_parsing_error(
            f"{text[:40]!r} is not a time of RFC 3339 with seconds and time zone, such as "
            "2026-05-01T12:00:00Z"
        )
    try:
        if text.startswith("0000"):
            datetime.fromisoformat(f"0004{text[4:].upper()}")  # a leap year, as year 0
            return _FIRST_TIME
        time = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise make_parsing_error(f"{text[:40]!r} is not a time: {error}") from error
    return _to_utc(time)


def _next_instant(time: datetime) -> datetime | None:
    """The first time after `time`; None after the last time of the calendar."""
    try:
        return time + _RESOLUTION
    except OverflowError:
        return None


def _parse_field(value: Any) -> Any:
    return parse_interval(value) if isinstance(value, str) else value


IntervalField = Annotated[
    TimeInterval, BeforeValidator(_parse_field), WithJsonSchema({"type": "string"})
]
"""A form field with a time interval."""
