"""Clocks and zones: converts wall clocks without an offset to UTC, and corrects camera clocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pinpoint.errors import BadRequestError
from pinpoint.media.metadata.raw_metadata import RawMetadata
from pinpoint.records import Layer, MetadataOverride

ASSUMED_UTC: Final = "assumed_utc"
"""Value of the attribute `time_zone` for a time without a known offset."""
MAX_OFFSET: Final = timedelta(hours=14)
"""Time zones range from -12:00 to +14:00; both signs are allowed up to the larger value."""
MAX_CLOCK_OFFSET_S: Final = 20 * 366 * 86_400.0
"""Maximum error of a camera clock, for a camera without a set year."""

_SATELLITES: Final = frozenset({"exif_gps", "xmp_gps"})
"""Values of `RawMetadata.time_source` that are not the camera's clock."""

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?(?::00)?", re.ASCII)
_CLOCK = re.compile(r"([+-]?)(\d{1,5}):([0-5]\d):([0-5]\d(?:\.\d{1,6})?)", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureTime:
    """The capture time of a photo, and its uncertainty."""

    moment: datetime | None
    """UTC, or None if unknown."""
    zone_problem: str = ""
    """Why the moment may be wrong by hours, for users; empty if its offset is known."""
    zone: str | None = None
    """`assumed_utc`, the zone that was applied, or None if the time had an offset."""
    note: str = ""
    """Change that was applied to the file's time, for users."""


def read_offset(text: str) -> timedelta | None:
    """An offset from UTC: `Z`, `+02:00`, `+0200`, `+2`, `UTC+2`; None for any other text."""
    text = text.strip()
    if text.upper() in ("Z", "UTC", "GMT"):
        return timedelta(0)
    match = _OFFSET.fullmatch(text.upper().replace("\u2212", "-"))
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if offset > MAX_OFFSET or int(minutes or 0) > 59:
        return None
    return -offset if sign == "-" else offset


@lru_cache(maxsize=64)
def find_zone(text: str) -> tzinfo | None:
    """The zone of an IANA name (`Europe/Paris`) or an offset; None for any other text."""
    offset = read_offset(text)
    if offset is not None:
        return timezone(offset)
    # Only names in the database, because the look-up opens files and the text is untrusted.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", text.strip(), re.ASCII):
        return None
    try:
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def check_zone(text: str) -> str:
    """Check that a text names a zone, and return it.

    Raises:
        BadRequestError: It does not name a zone.
    """
    if find_zone(text) is None:
        raise BadRequestError(
            f"the time zone {text[:60]!r} is unknown: give an IANA name such as Europe/Paris, or "
            "an offset such as +02:00"
        )
    return text.strip()


def read_clock_offset(text: str) -> float:
    """Seconds of a camera clock offset: `+00:03:20`, `-01:00:00`, `200`, `-1.5`.

    The offset is added to the camera's time, so a slow camera has a positive offset, as in
    exiftool's `-geosync` and Mapillary's `offset_time`.

    Raises:
        BadRequestError: It has another format, or is more than 20 years.
    """
    text = text.strip().replace("\u2212", "-")
    if match := _CLOCK.fullmatch(text):
        sign, hours, minutes, seconds = match.groups()
        seconds_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        seconds_s = -seconds_s if sign == "-" else seconds_s
    elif _SECONDS.fullmatch(text):
        seconds_s = float(text)
    else:
        raise BadRequestError(
            f"the camera clock offset {text[:40]!r} cannot be read: give +HH:MM:SS, -HH:MM:SS, or "
            "seconds; it is added to the camera's time"
        )
    if abs(seconds_s) > MAX_CLOCK_OFFSET_S:
        raise BadRequestError("the camera clock offset is more than 20 years")
    return seconds_s


def attach_zone(wall: datetime, zone: tzinfo) -> tuple[datetime, str]:
    """UTC of a wall clock in a zone, and why it is uncertain; empty if it is certain.

    If the clock shows a time twice (end of summer time), the first one is used.

    Raises:
        OverflowError: The moment is outside the calendar.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first, ""
    exists = first.astimezone(zone).replace(tzinfo=None) == wall
    when = "comes twice" if exists else "does not exist"
    return first, f"{wall:%Y-%m-%d %H:%M} {when} in {zone}, where the clock changes; give an offset"


def read_file_time(raw_metadata: RawMetadata, metadata_override: MetadataOverride) -> CaptureTime:
    """The file's time, with the clock offset and the zone of the override."""
    if raw_metadata.captured_at is None:
        return CaptureTime(moment=None)
    try:
        return _correct_clock(raw_metadata.captured_at, raw_metadata, metadata_override)
    except OverflowError:
        return CaptureTime(moment=None, note="the corrected time is beyond the calendar")


def explain_manifest_zone(layer: Layer) -> str:
    """Why the time of a manifest may be wrong by hours; empty if its offset is known."""
    if layer.captured_at is None or layer.attributes.get("time_zone") != ASSUMED_UTC:
        return ""
    return _no_offset(layer.captured_at, "manifest")


def _correct_clock(
    moment: datetime, raw_metadata: RawMetadata, metadata_override: MetadataOverride
) -> CaptureTime:
    note = ""
    if metadata_override.camera_clock_offset_s and raw_metadata.time_source not in _SATELLITES:
        moment += timedelta(seconds=metadata_override.camera_clock_offset_s)
        note = f"{metadata_override.camera_clock_offset_s:+g} s were added to the camera's time"
    if not raw_metadata.time_assumed_utc:
        return CaptureTime(moment=moment, note=note)
    if metadata_override.time_zone is None:
        problem = _no_offset(moment, "file")
        return CaptureTime(moment=moment, zone_problem=problem, zone=ASSUMED_UTC, note=note)
    zone = find_zone(metadata_override.time_zone)
    if zone is None:
        problem = f"the time zone {metadata_override.time_zone[:60]!r} is unknown on this machine"
        return CaptureTime(moment=moment, zone_problem=problem, zone=ASSUMED_UTC, note=note)
    moment, problem = attach_zone(moment.replace(tzinfo=None), zone)
    return CaptureTime(
        moment=moment, zone_problem=problem, zone=metadata_override.time_zone, note=note
    )


def _no_offset(moment: datetime, where: str) -> str:
    return (
        f"the time {moment:%Y-%m-%d %H:%M:%S} of the {where} has no offset from UTC; say which "
        "zone it is in: --time-zone Europe/Paris, or --time-zone +02:00"
    )
