"""Times in requests: ISO 8601 text with a time zone, within the UTC calendar."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_ISO_PREFIX: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def _check_text(value: Any) -> Any:
    """Accept only ISO 8601 text, because pydantic also accepts numbers and numeric text."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _ISO_PREFIX.match(value):
        raise ValueError("a time is text as ISO 8601, such as 2026-05-01T12:00:00Z")
    return value


def _check_calendar(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC the time is outside of the years 1 to 9999") from None


Time = Annotated[AwareDatetime, BeforeValidator(_check_text), AfterValidator(_check_calendar)]
"""A time in UTC that all components can store."""
