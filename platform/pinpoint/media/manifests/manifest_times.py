"""Times in manifests: reads unambiguous formats and refuses all others.

docs/reference/manifests.md lists the formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Final

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.metadata.clocks import ASSUMED_UTC, attach_zone, find_zone, read_offset

EPOCH_UNITS: Final = {"s": 0, "ms": 3, "µs": 6, "ns": 9}
"""Units of numbers that count since 1970, with the power of ten of each unit per second."""
FIRST_EPOCH_S: Final = 315_532_800
"""1980-01-01, before digital cameras. From here to `LAST_EPOCH_S`, a number fits only one unit."""
LAST_EPOCH_S: Final = 4_102_444_800
"""2100-01-01."""
FIRST_MANIFEST_YEAR: Final = 1800
LAST_YEAR: Final = 2200
_MAX_LENGTH: Final = 64

_DIGITS = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_WHOLE = re.compile(r"\d+", re.ASCII)
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T?(\d\d)(\d\d)(\d\d)?)?(.*)", re.ASCII | re.DOTALL)
_CALENDAR = re.compile(
    r"(?P<a>\d{1,4})(?P<mark>[-/:.])(?P<b>\d{1,2})(?P=mark)(?P<c>\d{1,4})(?P<rest>.*)",
    re.ASCII | re.DOTALL,
)
_CLOCK = re.compile(
    r"(?:[Tt]|,?\s+|,)\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>.*)",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTime:
    """A moment from a manifest, and the zone that was applied."""

    moment: datetime
    """UTC."""
    zone: str | None = None
    """`assumed_utc`, the zone that was applied, or None where the cell has an offset."""


def read_time(text: str, zone: str | None = None) -> ManifestTime:
    """Parse a time of a manifest.

    Formats: numbers of seconds, milli-, micro- or nanoseconds since 1970 (`EPOCH_UNITS`), ISO 8601,
    EXIF's `2024:06:01 12:00:00`, dates with the year first, `1.6.2024` (day first), and clocks of
    12 or 24 hours. `31/12/2024` and `12/31/2024` are read if only one number can be the day.

    Args:
        text: The cell.
        zone: Time zone of times without an offset. Default UTC, which the result's `zone` reports.

    Raises:
        RejectedFileError: `bad_row`; the detail contains a format that is accepted.
    """
    text = text.strip()
    if len(text) > _MAX_LENGTH:
        raise _make_refusal(text, "it is too long")
    if _SCIENTIFIC.fullmatch(text):
        raise _make_refusal(
            text, "its last digits were cut off; format the column as text or as a number"
        )
    # Digits of a calendar date are not a count: the ranges of counts exclude such numbers.
    compact = len(text) in (8, 12, 14) and _WHOLE.fullmatch(text) is not None
    if _DIGITS.fullmatch(text) and not (
        compact and FIRST_MANIFEST_YEAR <= int(text[:4]) <= LAST_YEAR
    ):
        return ManifestTime(moment=_read_epoch(text))
    wall, rest = _read_wall_clock(text)
    offset = read_offset(rest) if rest else None
    if rest and offset is None:
        raise _make_refusal(text, f"{rest[:20]!r} is no offset from UTC: write Z or +02:00")
    try:
        return _apply_zone(wall, offset, zone, text)
    except OverflowError as error:
        raise _make_refusal(text, "it is beyond the calendar") from error


def join_date_and_time(date: str, time: str) -> str:
    """Join a date and a time of day from two columns."""
    return f"{date.strip()} {time.strip()}"


def _apply_zone(
    wall: datetime, offset: timedelta | None, zone: str | None, text: str
) -> ManifestTime:
    if offset is not None:
        return ManifestTime(moment=wall.replace(tzinfo=timezone(offset)).astimezone(UTC))
    if zone is None:
        return ManifestTime(moment=wall.replace(tzinfo=UTC), zone=ASSUMED_UTC)
    zone_info = find_zone(zone)
    if zone_info is None:
        raise _make_refusal(
            text, f"its time zone {zone[:60]!r} is unknown: write Europe/Paris or +02:00"
        )
    moment, problem = attach_zone(wall, zone_info)
    if problem:
        raise _make_refusal(text, problem)
    return ManifestTime(moment=moment, zone=zone)


def _read_epoch(text: str) -> datetime:
    """The moment of an epoch number. The ranges of the four units do not overlap."""
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _make_refusal(text, "it is no number") from error
    for power in EPOCH_UNITS.values():
        seconds = number.scaleb(-power)
        if FIRST_EPOCH_S <= seconds < LAST_EPOCH_S:
            whole_seconds = int(seconds)
            micros = int((seconds - whole_seconds) * 1_000_000)
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                seconds=whole_seconds, microseconds=micros
            )
    raise _make_refusal(
        text,
        "as a count since 1970 it is outside of 1980 to 2100 in s, ms, µs and ns; write ISO 8601",
    )


def _read_wall_clock(text: str) -> tuple[datetime, str]:
    """Date and clock, and the rest of the text, which must be an offset."""
    if match := _CALENDAR.fullmatch(text):
        year, month, day = _read_date(text, match)
        rest = match["rest"]
        if not rest.strip():
            return _build_datetime(text, year, month, day), ""
        clock = _CLOCK.fullmatch(rest)
        if clock is None:
            raise _make_refusal(text, "the clock after its date cannot be read")
        return _build_datetime(text, year, month, day) + _read_clock(text, clock), clock[
            "zone"
        ].strip()
    if match := _COMPACT.fullmatch(text):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        start = _build_datetime(text, year, month, day)
        if hour > 24 or minute > 59 or second > 60:
            raise _make_refusal(text, "its clock cannot be read")
        return start + timedelta(hours=hour, minutes=minute, seconds=second), match[7].strip()
    raise _make_refusal(text, "write ISO 8601: 2024-06-01T12:00:00+02:00")


def _read_date(text: str, match: re.Match[str]) -> tuple[int, int, int]:
    """Year, month and day, if their order is certain."""
    first, second, third = match["a"], match["b"], match["c"]
    if len(first) == 4:
        return int(first), int(second), int(third)
    if len(third) != 4:
        raise _make_refusal(text, "its year has no four digits; write 2024-06-01")
    a, b, year = int(first), int(second), int(third)
    if match["mark"] == "." or a > 12 or a == b:
        return year, b, a
    if b > 12:
        return year, a, b
    raise _make_refusal(
        text,
        f"it may be {year}-{b:02d}-{a:02d} or {year}-{a:02d}-{b:02d}; write the year first",
    )


def _read_clock(text: str, clock: re.Match[str]) -> timedelta:
    """Time of day; hour 24 is the next day's 0, second 60 the next minute's."""
    hour, minute, second = (int(clock[part] or 0) for part in ("hour", "minute", "second"))
    half = (clock["half"] or "").replace(".", "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise _make_refusal(text, "its hour is not one of a 12-hour clock")
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 24 or minute > 59 or second > 60:
        raise _make_refusal(text, "its clock cannot be read")
    micros = int((clock["fraction"] or "0").ljust(6, "0")[:6])
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)


def _build_datetime(text: str, year: int, month: int, day: int) -> datetime:
    if not FIRST_MANIFEST_YEAR <= year <= LAST_YEAR:
        raise _make_refusal(text, f"its year is not within {FIRST_MANIFEST_YEAR} to {LAST_YEAR}")
    try:
        return datetime(year, month, day)
    except ValueError as error:
        raise _make_refusal(text, "there is no such date") from error


def _make_refusal(text: str, why: str) -> RejectedFileError:
    return RejectedFileError("bad_row", f"captured_at {text[:40]!r} cannot be read: {why}")
