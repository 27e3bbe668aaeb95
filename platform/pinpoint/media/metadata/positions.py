"""Parses the positions in files and chooses one; docs/reference/metadata.md has the reasons.

Nothing is guessed. A coordinate without a hemisphere, with two contradicting hemispheres, or with
an unreadable part is refused with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from PIL.TiffImagePlugin import IFDRational

from pinpoint.geo.distance import geodesic_m
from pinpoint.media.checks import RejectedFileError, check_position
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, read_ratio, to_finite
from pinpoint.records import Point

REPORTED_DISTANCE_M: Final = 100.0
"""Distance above which two positions of one file are reported."""

_SIDES: Final = re.compile(r"([NSEW])(?:(?<=N)orth|(?<=S)outh|(?<=E)ast|(?<=W)est)?\b", re.I)
_NO_SIDE: Final = "has no hemisphere"
_SEPARATORS: Final = re.compile(r"[,:\s\u00b0\u00ba'\"\u2019\u2032\u2033\u201d]+")
_AXES: Final = (("latitude", "NS"), ("longitude", "EW"))

Tags = Mapping[Any, Any]
Reading = tuple[float | None, str, bool]
"""A coordinate or None, the reason, and whether a part of it exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position from one metadata block."""

    source: str = "none"
    """`exif` or `xmp`."""
    name: str = ""
    """The block, for messages."""
    lat: float | None = None
    lon: float | None = None
    note: str = ""
    partial: bool = False
    """One coordinate is missing, or a hemisphere is missing or contradicted."""
    coarse: str = ""
    """A warning if the position is less precise than it appears."""

    @property
    def whole(self) -> bool:
        """Whether both coordinates can be read."""
        return self.lat is not None and self.lon is not None


NO_POSITION: Final = Position()


def choose_position(candidates: Sequence[Position]) -> tuple[Position, tuple[str, ...]]:
    """The first usable position, and warnings about skipped positions.

    A position is usable if it is complete, in range and not 0/0. Without a usable one, the result
    is the first complete one, otherwise the first part, so that the refusal has its reason.

    Args:
        candidates: In order of precedence.
    """
    faults = [_find_fault(position) for position in candidates]
    chosen = next((p for p, fault in zip(candidates, faults, strict=True) if fault is None), None)
    if chosen is None:
        return _choose_fault(candidates), ()
    warnings = [chosen.coarse] if chosen.coarse else []
    passed = True
    for position, fault in zip(candidates, faults, strict=True):
        if position is chosen:
            passed = False
        elif fault is None:
            apart_m = geodesic_m(_make_point(position), _make_point(chosen))
            if apart_m > REPORTED_DISTANCE_M:
                warnings.append(
                    f"the {position.name} position is {apart_m / 1000:.1f} km away; "
                    f"the {chosen.name} position comes first"
                )
        elif fault and passed:
            warnings.append(
                f"the {position.name} position is not used ({fault[:100]}); "
                f"the {chosen.name} position is"
            )
    return chosen, tuple(warnings)


def _find_fault(position: Position) -> str | None:
    """None for a usable position, an empty text without a position, otherwise the problem."""
    if position.lat is None and position.lon is None and not position.note:
        return ""
    try:
        check_position(position.lat, position.lon, position.note, partial=position.partial)
    except RejectedFileError as refused:
        return position.note or refused.detail
    return None


def _choose_fault(candidates: Sequence[Position]) -> Position:
    for position in candidates:
        if position.whole:
            return position
    for position in candidates:
        if position.partial:
            return position
    return Position(note=next((p.note for p in candidates if p.note), ""))


def _make_point(position: Position) -> Point:
    return Point(position.lat or 0.0, position.lon or 0.0)


def gps_position(gps: Tags, name: str = "EXIF") -> Position:
    """Position from a GPS directory; a missing hemisphere is not guessed."""
    readings = [
        _read_exif_degrees(gps.get(tag), clean_metadata_text(gps.get(tag - 1)), *axis)
        for tag, axis in zip((2, 4), _AXES, strict=True)
    ]
    position = _join_readings(readings, "exif", name)
    coarse = [
        axis[0]
        for tag, axis in zip((2, 4), _AXES, strict=True)
        if _is_coarse(_split_parts(gps.get(tag)))
    ]
    if position.whole and coarse:
        note = f"the {' and '.join(coarse)} has no seconds: precise to one minute of arc"
        return replace(position, coarse=note)
    return position


def xmp_position(properties: Mapping[str, str]) -> Position:
    """Position from the properties of EXIF for XMP; hemispheres are in them or separate."""
    readings = [
        _read_xmp_degrees(properties.get(f"exif:GPS{axis[0].title()}"), side, *axis)
        for axis in _AXES
        for side in [properties.get(f"exif:GPS{axis[0].title()}Ref")]
    ]
    return _join_readings(readings, "xmp", "XMP")


def drone_position(properties: Mapping[str, str]) -> Position:
    """Position from the properties of a drone's maker, names in lower case below `drone:`."""
    readings = []
    for axis, names in zip(_AXES, (("gpslatitude", "latitude"), _DRONE_LON), strict=True):
        text = next((properties[f"drone:{n}"] for n in names if properties.get(f"drone:{n}")), None)
        side = properties.get(f"drone:gps{axis[0]}ref")
        readings.append(_read_xmp_degrees(text, side, *axis))
    return _join_readings(readings, "xmp", "drone's XMP")


_DRONE_LON: Final = ("gpslongitude", "gpslongtitude", "longitude")
"""Older firmware of DJI writes `GpsLongtitude`."""


def _join_readings(readings: Sequence[Reading], source: str, name: str) -> Position:
    (lat, lat_note, lat_part), (lon, lon_note, lon_part) = readings
    return Position(
        source=source,
        name=name,
        lat=lat,
        lon=lon,
        note="; ".join(note for note in (lat_note, lon_note) if note),
        partial=(lat is None) != (lon is None) or lat_part or lon_part,
    )


def _split_parts(raw: object) -> list[object]:
    """Degrees, minutes and seconds as written, without undefined parts (0/0) at the end.

    Some programs write 0/0 for unknown seconds; the part before then has a fraction, or it is an
    integral number of minutes.
    """
    parts = list(raw) if isinstance(raw, tuple | list) else [raw]
    while len(parts) > 1 and _is_empty(parts[-1]):
        before = to_finite(parts[-2])
        if len(parts) == 2 and before is not None and before.is_integer():
            break  # integral degrees only: an error of up to 111 km
        parts.pop()
    return parts


def _is_empty(part: object) -> bool:
    return isinstance(part, IFDRational) and part.denominator == 0 and part.numerator == 0


def _is_coarse(parts: list[object]) -> bool:
    minutes = to_finite(parts[1]) if len(parts) == 2 else None
    return minutes is not None and minutes.is_integer()


def _read_exif_degrees(raw: object, side: str | None, name: str, sides: str) -> Reading:
    """Degrees with sign from one to three numbers and a reference."""
    if raw is None:
        return None, "", False
    numbers = [to_finite(part) for part in _split_parts(raw)]
    finite_numbers = [number for number in numbers if number is not None]
    if not finite_numbers or len(finite_numbers) != len(numbers) or len(finite_numbers) > 3:
        return None, f"the {name} cannot be read", False
    return _apply_sign(finite_numbers, side, name, sides)


def _read_xmp_degrees(text: str | None, side: str | None, name: str, sides: str) -> Reading:
    """Degrees with sign from `DDD,MM,SSk`, `DDD,MM.mmk` or decimal degrees."""
    if not text:
        return None, "", False
    letters, numbers = _split_text(text[:64])
    if not numbers or len(numbers) > 3:
        return None, f"the XMP {name} cannot be read", False
    hemispheres = {*letters, *([_read_side(side)] if side else [])}
    if len(hemispheres) > 1:
        return None, f"the XMP {name} has two hemispheres that contradict each other", True
    if not hemispheres and len(numbers) == 1:
        return numbers[0], "", False  # signed decimal degrees
    return _apply_sign(numbers, next(iter(hemispheres), None), f"XMP {name}", sides)


def _split_text(text: str) -> tuple[list[str], list[float]]:
    """Hemispheres and numbers of a coordinate in text; no numbers if a part is not a number."""
    body, letters = text.strip().upper(), []
    if body[:1] in tuple("NSEW"):
        letters.append(body[0])
        body = body[1:]
    if body[-1:] in tuple("NSEW"):
        letters.append(body[-1])
        body = body[:-1]
    numbers = [read_ratio(part) for part in _SEPARATORS.split(body.strip()) if part]
    finite_numbers = [number for number in numbers if number is not None]
    return letters, finite_numbers if len(finite_numbers) == len(numbers) else []


def _read_side(text: str | None) -> str:
    """N, S, E or W of a reference in letters or words; `?` for other text."""
    match = _SIDES.match(text.strip()) if text else None
    return match[1].upper() if match else "?"


def _apply_sign(numbers: list[float], side: str | None, name: str, sides: str) -> Reading:
    """One signed number from parts that may have signs, and a hemisphere.

    Some programs write both a sign and a hemisphere; the sign is then applied once.
    """
    letter = _read_side(side)
    if letter not in sides:
        return None, f"the {name} {_NO_SIDE}", True
    negative = any(number < 0 for number in numbers)
    if negative and any(number > 0 for number in numbers[1:]) and numbers[0] >= 0:
        return None, f"the {name} has parts with different signs", True
    if negative and letter == sides[0]:
        return None, f"the {name} is negative, and its hemisphere is {letter}", True
    # Programs that round write 60 seconds; a larger value is not an angle.
    if any(abs(n) >= 60 for n in numbers[1:2]) or any(abs(n) > 60 for n in numbers[2:]):
        return None, f"the {name} has 60 or more minutes or seconds", False
    value = sum(abs(part) / 60**i for i, part in enumerate(numbers))
    return (-value if letter == sides[1] else value), "", False
