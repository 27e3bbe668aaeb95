"""Raw metadata of a file, before validation; the child sends it over the pipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Final

from pinpoint.records import TIME_SOURCES, TimeSource

Scalar = str | float | int | bool | None

MAX_TEXT: int = 200
"""Maximum characters of a text from a file."""
MAX_WARNINGS: Final = 10
"""A file has at most this many warnings of `MAX_TEXT` characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sphere:
    """GPano geometry: the image as a window of a full equirectangular image, in pixels."""

    full_width_px: int
    full_height_px: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMetadata:
    """Finite numbers and clean text; ranges are not checked yet.

    `lat`/`lon` may be out of range, and one may be missing; `capture` checks them.
    """

    lat: float | None = None
    lon: float | None = None
    position_source: str = "none"
    """`exif`, `xmp` or `none`."""
    position_note: str = ""
    """Why an existing position cannot be read."""
    position_partial: bool = False
    """A part of a position exists, but it is not sufficient."""
    captured_at: datetime | None = None
    time_source: TimeSource | None = None
    """The time field of the file that `captured_at` is from; None without a time."""
    time_assumed_utc: bool = False
    warnings: tuple[str, ...] = ()
    """One sentence for each value that was preferred to another, or ignored."""
    heading_deg: float | None = None
    pose_heading_deg: float | None = None
    """GPano's heading of the center column of a panorama."""
    focal_length_35mm_mm: float | None = None
    """Equivalent focal length of 35 mm film."""
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    sphere: Sphere | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


def select_query_fields(raw_metadata: RawMetadata) -> RawMetadata:
    """The fields of a query photo: its claim (position, time, heading) and its creator."""
    return RawMetadata(
        creator=raw_metadata.creator,
        lat=raw_metadata.lat,
        lon=raw_metadata.lon,
        position_source=raw_metadata.position_source,
        position_note=raw_metadata.position_note,
        position_partial=raw_metadata.position_partial,
        captured_at=raw_metadata.captured_at,
        time_source=raw_metadata.time_source,
        time_assumed_utc=raw_metadata.time_assumed_utc,
        heading_deg=raw_metadata.heading_deg,
    )


def clean_metadata_text(value: object, limit: int = MAX_TEXT) -> str | None:
    """Text without control characters, at most `limit` long; None if it is empty."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    value = value.split("\x00", 1)[0]
    value = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return value[:limit].strip() or None


def limit_warnings(texts: Iterable[str]) -> tuple[str, ...]:
    """The first `MAX_WARNINGS` distinct warnings, cleaned and truncated."""
    clean = (clean_metadata_text(text) for text in texts)
    return tuple(dict.fromkeys(text for text in clean if text))[:MAX_WARNINGS]


def sanitize_text(text: str) -> str:
    """Make a text storable in a database: remove NUL, escape unpaired surrogates."""
    return text.replace("\x00", "").encode("utf-8", "backslashreplace").decode()


def to_finite(value: object) -> float | None:
    """A finite float, or None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_ratio(text: str | None) -> float | None:
    """`a/b` or a decimal number in text; None for any other text, and if b is 0."""
    if not text:
        return None
    top, slash, bottom = text.partition("/")
    a, b = to_finite(top), to_finite(bottom) if slash else 1.0
    return to_finite(a / b) if a is not None and b else None


def wrap_heading(value: object) -> float | None:
    """A compass direction in [0, 360), or None if the value is not a number."""
    number = to_finite(value)
    if number is None:
        return None
    wrapped = number % 360.0
    return 0.0 if wrapped == 360.0 else wrapped


def to_wire(raw_metadata: RawMetadata) -> dict[str, object]:
    """Plain values for msgpack."""
    values: dict[str, object] = {
        f.name: getattr(raw_metadata, f.name)
        for f in fields(RawMetadata)
        if f.name not in _CONVERTED_FIELDS
    }
    values["captured_at"] = (
        raw_metadata.captured_at.isoformat() if raw_metadata.captured_at else None
    )
    values["sphere"] = (
        [getattr(raw_metadata.sphere, f.name) for f in fields(Sphere)]
        if raw_metadata.sphere
        else None
    )
    values["attributes"] = dict(raw_metadata.attributes)
    values["warnings"] = list(raw_metadata.warnings)
    return values


_CONVERTED_FIELDS = frozenset({"captured_at", "sphere", "attributes", "warnings"})


def from_wire(values: object) -> RawMetadata:
    """Metadata from a child's message, with every value checked.

    Raises:
        ValueError: A value has the wrong type or size; the child is not trusted.
    """
    if not isinstance(values, dict):
        raise ValueError("the metadata is no map")
    if unknown := set(values) - {f.name for f in fields(RawMetadata)}:
        raise ValueError(f"unknown fields {sorted(map(str, unknown))}")
    position_source = values.get("position_source", "none")
    if position_source not in ("exif", "xmp", "none"):
        raise ValueError("unknown position_source")
    return RawMetadata(
        lat=_check_number(values, "lat"),
        lon=_check_number(values, "lon"),
        position_source=position_source,
        position_note=_check_text(values, "position_note") or "",
        position_partial=values.get("position_partial") is True,
        captured_at=_check_time(values.get("captured_at")),
        time_source=_check_time_source(values),
        time_assumed_utc=values.get("time_assumed_utc") is True,
        warnings=_check_warnings(values.get("warnings", [])),
        heading_deg=wrap_heading(_check_number(values, "heading_deg")),
        pose_heading_deg=wrap_heading(_check_number(values, "pose_heading_deg")),
        focal_length_35mm_mm=_check_number(values, "focal_length_35mm_mm"),
        altitude_m=_check_number(values, "altitude_m"),
        camera=_check_text(values, "camera"),
        creator=_check_text(values, "creator"),
        sphere=_check_sphere(values.get("sphere")),
        attributes=_check_attributes(values.get("attributes")),
    )


def _check_number(values: Mapping[object, object], key: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is no finite number")
    return float(value)


def _check_text(values: Mapping[object, object], key: str) -> str | None:
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"{key} is no short text")
    return value


def _check_time(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError("captured_at is no time")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("captured_at has no offset")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("captured_at is beyond the calendar") from error


def _check_time_source(values: Mapping[object, object]) -> TimeSource | None:
    value = values.get("time_source")
    if (value is None) != (values.get("captured_at") is None):
        raise ValueError("captured_at and time_source do not belong together")
    if value is None:
        return None
    for source in TIME_SOURCES:
        if source == value:
            return source
    raise ValueError("unknown time_source")


def _check_warnings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_WARNINGS:
        raise ValueError("warnings are no short list")
    for text in value:
        if not isinstance(text, str) or len(text) > MAX_TEXT or not text.isprintable():
            raise ValueError("a warning is no short text")
    return tuple(value)


def _check_sphere(value: object) -> Sphere | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != len(fields(Sphere)):
        raise ValueError("sphere is no list of its sizes")
    if not all(isinstance(v, int) and 0 <= v < 2**31 for v in value):
        raise ValueError("sphere holds no pixel counts")
    return Sphere(**dict(zip((f.name for f in fields(Sphere)), value, strict=True)))


def _check_attributes(value: object) -> dict[str, Scalar]:
    if not isinstance(value, dict) or len(value) > 64:
        raise ValueError("attributes are no small map")
    for key, item in value.items():
        if not isinstance(key, str) or len(key) > MAX_TEXT:
            raise ValueError("an attribute's name is no short text")
        if not isinstance(item, str | int | float | bool | None):
            raise ValueError("an attribute is no scalar")
        if isinstance(item, str) and len(item) > MAX_TEXT:
            raise ValueError("an attribute is too long")
    return value
