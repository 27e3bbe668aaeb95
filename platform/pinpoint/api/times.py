"""Times as callers send them: text as ISO 8601 with a zone, within the calendar of UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

_ISO_PREFIX: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def _check_text(value: Any) -> Any:
    """Let only text through: pydantic takes numbers, too, and text that is a number."""
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
"""A moment in UTC, which every part of the stack can keep."""
