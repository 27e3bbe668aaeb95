"""EXIF: reads the tags and validates each of them (EXIF 3.0)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pinpoint.media.metadata.positions import NO_POSITION, Position, Tags, gps_position
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, to_finite, wrap_heading
from pinpoint.media.metadata.times import Clock, is_blank_time, parse_offset, parse_time
from pinpoint.records import TimeSource

# Errors of Pillow for a damaged directory; the pixels may be intact.
DAMAGE: Final = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    struct.error,
)

_GPS_IFD: Final = 0x8825
_EXIF_IFD: Final = 0x8769
_FOCAL_LENGTH_35MM: Final = 0xA405
"""FocalLengthIn35mmFilm, whole millimeters; 0 means unknown."""
_ZONE_HOURS: Final = 0x882A
"""TimeZoneOffset of TIFF/EP: whole hours, for the original and for the changed time."""
_TIMES: Final[tuple[tuple[TimeSource, str, int, int, int], ...]] = (
    ("exif_original", "DateTimeOriginal", 0x9003, 0x9011, 0x9291),
    ("exif_digitized", "DateTimeDigitized", 0x9004, 0x9012, 0x9292),
    ("exif_modified", "DateTime", 0x0132, 0x9010, 0x9290),
)
"""(source, name, time, offset, sub-second) tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exif:
    """The values that Pinpoint uses of one EXIF block."""

    position: Position = NO_POSITION
    clocks: tuple[Clock, ...] = ()
    satellite: Clock | None = None
    """UTC of the satellite fix."""
    notes: tuple[str, ...] = ()
    """Notes on times that cannot be read."""
    heading_deg: float | None = None
    heading_magnetic: bool = False
    focal_length_35mm_mm: float | None = None
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    damaged: str | None = None


def read_exif(base: Image.Exif) -> Exif:
    """Read one EXIF block; damage is reported in the result and not raised."""
    try:
        detail = base.get_ifd(_EXIF_IFD)
        gps = _find_gps(base, detail)
    except DAMAGE:
        return Exif(damaged="the EXIF block cannot be read")
    clocks, notes = _read_clocks(base, detail)
    satellite, satellite_note = _read_satellite(gps)
    return Exif(
        position=gps_position(gps),
        clocks=tuple(clocks),
        satellite=satellite,
        notes=tuple(note for note in (*notes, satellite_note) if note),
        heading_deg=wrap_heading(_first_value(gps.get(17))),
        heading_magnetic=clean_metadata_text(gps.get(16)) == "M",
        focal_length_35mm_mm=to_finite(_first_value(detail.get(_FOCAL_LENGTH_35MM))),
        altitude_m=_read_altitude(gps),
        camera=_read_camera(base),
        creator=_read_text(base.get(0x013B)) or _read_wide_text(base.get(0x9C9D)),
    )


def _find_gps(base: Image.Exif, detail: Tags) -> Tags:
    """The GPS directory; some programs write it below the Exif directory.

    Raises:
        One of `DAMAGE`: The directory is broken.
    """
    offset = detail.get(_GPS_IFD)
    if _GPS_IFD not in base and isinstance(offset, int):
        base[_GPS_IFD] = offset
    gps = base.get_ifd(_GPS_IFD)
    if 2 in gps or 4 in gps or not isinstance(offset, int) or base.get(_GPS_IFD) == offset:
        return gps
    directory = ImageFileDirectory_v2(base.head, group=_GPS_IFD)
    base.fp.seek(offset)
    directory.load(base.fp)
    return {**{tag: _unpack_one(value) for tag, value in directory.items()}, **gps}


def _unpack_one(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _read_clocks(base: Tags, detail: Tags) -> tuple[list[Clock], list[str]]:
    """Times, each with its offset and sub-seconds, and notes."""
    clocks: list[Clock] = []
    notes: list[str] = []
    for number, (source, name, tag, offset_tag, part_tag) in enumerate(_TIMES):
        text = clean_metadata_text(detail.get(tag) or base.get(tag))
        stated = clean_metadata_text(detail.get(offset_tag) or base.get(offset_tag))
        clock = parse_time(text, source, name)
        if clock is None:
            if text is not None and not is_blank_time(text):
                notes.append(f"{name} {text[:40]!r} is no time; not used")
            continue
        if not clock.wall.microsecond:
            clock = replace(clock, wall=_add_part(clock.wall, detail.get(part_tag)))
        if clock.offset is None:
            offset = parse_offset(stated)
            if offset is None and not is_blank_time(stated):
                notes.append(f"the time zone {str(stated)[:20]!r} of {name} cannot be read")
            hours = detail.get(_ZONE_HOURS, base.get(_ZONE_HOURS))
            clock = replace(clock, offset=offset or _read_zone_hours(hours, number))
        clocks.append(clock)
    return clocks, notes


def _add_part(wall: datetime, value: object) -> datetime:
    """Add sub-seconds to a time: decimal digits after the point."""
    digits = (clean_metadata_text(value) or "").strip()
    if not digits.isdecimal() or not digits.isascii():
        return wall
    return wall.replace(microsecond=int(digits.ljust(6, "0")[:6]))


def _read_zone_hours(value: object, number: int) -> timezone | None:
    """TimeZoneOffset: the first number is for the original time, the second for the change time."""
    hours = list(value) if isinstance(value, tuple | list) else [value]
    index = {0: 0, 2: 1}.get(number)
    hour = hours[index] if index is not None and index < len(hours) else None
    if not isinstance(hour, int):
        return None
    hour = hour - 65_536 if hour > 32_767 else hour  # written as an unsigned number
    return timezone(timedelta(hours=hour)) if -12 <= hour <= 14 else None


def _read_satellite(gps: Tags) -> tuple[Clock | None, str]:
    """UTC of the satellite fix from GPSDateStamp and GPSTimeStamp, or why it is unusable."""
    date, raw = clean_metadata_text(gps.get(29)), gps.get(7)
    if date is None:
        return None, ""
    parts = [to_finite(part) for part in raw] if isinstance(raw, tuple | list) else []
    if isinstance(raw, str):
        parts = [to_finite(part) for part in raw.split(":")]
    if len(parts) != 3:
        return None, f"GPSDateStamp {date[:20]!r} has no time of day; not used"
    seconds = 0.0
    for part, maximum in zip(parts, (24, 59, 60), strict=True):
        if part is None or not 0 <= part < maximum + 1:
            return None, "GPSTimeStamp is no time of day; not used"
        seconds = seconds * 60 + part
    midnight = parse_time(f"{date[:10]} 00:00:00", "exif_gps", "GPSTimeStamp")
    if midnight is None:
        is_stated = not is_blank_time(date)
        return None, f"GPSDateStamp {date[:20]!r} is no date; not used" if is_stated else ""
    try:
        wall = midnight.wall + timedelta(seconds=seconds)
    except OverflowError:
        return None, f"GPSDateStamp {date[:20]!r} is no date; not used"
    return replace(midnight, wall=wall, void=clean_metadata_text(gps.get(9)) == "V"), ""


def _read_altitude(gps: Tags) -> float | None:
    """Meters, negative below the reference (GPSAltitudeRef 1, or 3 in EXIF 3.0)."""
    value = to_finite(_first_value(gps.get(6)))
    if value is None or not -12_000 <= value <= 100_000:
        return None
    ref = _first_value(gps.get(5))
    is_below = ref in (1, 3, b"\x01", b"\x03", "1", "3")
    return -abs(value) if is_below else value


def _read_camera(base: Tags) -> str | None:
    """Make and model, without repeating the make."""
    make, model = _read_text(base.get(0x010F)), _read_text(base.get(0x0110))
    if make and model:
        if model.casefold().startswith(make.split()[0].casefold()):
            return model
        return clean_metadata_text(f"{make} {model}")
    return make or model


def _read_text(value: object) -> str | None:
    """Text of an ASCII tag; Pillow decodes it as Latin-1, but most programs write UTF-8."""
    value = _first_value(value)
    if isinstance(value, str):
        try:
            value = value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return clean_metadata_text(value)
    return clean_metadata_text(value)


def _read_wide_text(value: object) -> str | None:
    """Text of a Windows XP tag: UTF-16 bytes."""
    if isinstance(value, tuple) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
        value = bytes(value)
    return (
        clean_metadata_text(value.decode("utf-16-le", "replace"))
        if isinstance(value, bytes)
        else None
    )


def _first_value(value: Any) -> Any:
    """The first value of a tag that should have one value but may have a tuple."""
    if isinstance(value, tuple | list):
        return value[0] if value else None
    return None if isinstance(value, float) and math.isnan(value) else value
