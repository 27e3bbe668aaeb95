"""What a file says of itself, before anybody believes it; crosses the pipe from the child."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Final

from pinpoint.records import TIME_SOURCES, TimeSource

Scalar = str | float | int | bool | None

MAX_TEXT: int = 200
"""Longest text taken from a file."""
MAX_WARNINGS: Final = 10
"""A file has at most this many warnings of `MAX_TEXT` characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sphere:
    """GPano geometry: the picture as a window of a full equirectangular one, in pixels."""

    full_width_px: int
    full_height_px: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Finite numbers and clean text, not yet checked against the world.

    `lat`/`lon` may be out of range, and one may be missing: that is for `capture` to judge.
    """

    lat: float | None = None
    lon: float | None = None
    position_source: str = "none"
    """`exif`, `xmp` or `none`."""
    position_note: str = ""
    """Why a position that is there cannot be read."""
    position_partial: bool = False
    """There is something of a position, but not enough."""
    captured_at: datetime | None = None
    time_source: TimeSource | None = None
    """Which time of the file `captured_at` is; None without one."""
    time_assumed_utc: bool = False
    warnings: tuple[str, ...] = ()
    """One sentence for each value that was chosen over another, or ignored."""
    heading_deg: float | None = None
    pose_heading_deg: float | None = None
    """GPano's direction of the centre column of a panorama."""
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    sphere: Sphere | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


def clean_text(value: object, limit: int = MAX_TEXT) -> str | None:
    """Text without control characters, at most `limit` long; None where nothing is left."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    value = value.split("\x00", 1)[0]
    value = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return value[:limit].strip() or None


def limit_warnings(texts: Iterable[str]) -> tuple[str, ...]:
    """The first warnings, each once, clean and cut to what travels."""
    clean = (clean_text(text) for text in texts)
    return tuple(dict.fromkeys(text for text in clean if text))[:MAX_WARNINGS]


def storable(text: str) -> str:
    """The same text as a database keeps it: without NUL, halves of surrogates written out."""
    return text.replace("\x00", "").encode("utf-8", "backslashreplace").decode()


def finite(value: object) -> float | None:
    """A finite float, or None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_ratio(text: str | None) -> float | None:
    """`a/b` or a decimal number in text; None for anything else, and where b is 0."""
    if not text:
        return None
    top, slash, bottom = text.partition("/")
    a, b = finite(top), finite(bottom) if slash else 1.0
    return finite(a / b) if a is not None and b else None


def wrap_heading(value: object) -> float | None:
    """A compass direction in [0, 360), or None where the value is no number."""
    number = finite(value)
    if number is None:
        return None
    wrapped = number % 360.0
    return 0.0 if wrapped == 360.0 else wrapped


def to_wire(facts: Facts) -> dict[str, object]:
    """Plain values for msgpack."""
    wire: dict[str, object] = {
        f.name: getattr(facts, f.name) for f in fields(Facts) if f.name not in _SPECIAL
    }
    wire["captured_at"] = facts.captured_at.isoformat() if facts.captured_at else None
    wire["sphere"] = (
        [getattr(facts.sphere, f.name) for f in fields(Sphere)] if facts.sphere else None
    )
    wire["attributes"] = dict(facts.attributes)
    wire["warnings"] = list(facts.warnings)
    return wire


_SPECIAL = frozenset({"captured_at", "sphere", "attributes", "warnings"})


def from_wire(wire: object) -> Facts:
    """Facts from what a child sent, every value checked.

    Raises:
        ValueError: Something is not of its type or size; the child is not to be believed.
    """
    if not isinstance(wire, dict):
        raise ValueError("facts are no map")
    if unknown := set(wire) - {f.name for f in fields(Facts)}:
        raise ValueError(f"unknown facts {sorted(map(str, unknown))}")
    position_source = wire.get("position_source", "none")
    if position_source not in ("exif", "xmp", "none"):
        raise ValueError("unknown position_source")
    return Facts(
        lat=_number(wire, "lat"),
        lon=_number(wire, "lon"),
        position_source=position_source,
        position_note=_text(wire, "position_note") or "",
        position_partial=wire.get("position_partial") is True,
        captured_at=_time(wire.get("captured_at")),
        time_source=_check_time_source(wire),
        time_assumed_utc=wire.get("time_assumed_utc") is True,
        warnings=_check_warnings(wire.get("warnings", [])),
        heading_deg=wrap_heading(_number(wire, "heading_deg")),
        pose_heading_deg=wrap_heading(_number(wire, "pose_heading_deg")),
        altitude_m=_number(wire, "altitude_m"),
        camera=_text(wire, "camera"),
        creator=_text(wire, "creator"),
        sphere=_sphere(wire.get("sphere")),
        attributes=_attributes(wire.get("attributes")),
    )


def _number(wire: Mapping[object, object], key: str) -> float | None:
    value = wire.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is no finite number")
    return float(value)


def _text(wire: Mapping[object, object], key: str) -> str | None:
    value = wire.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"{key} is no short text")
    return value


def _time(value: object) -> datetime | None:
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


def _check_time_source(wire: Mapping[object, object]) -> TimeSource | None:
    value = wire.get("time_source")
    if (value is None) != (wire.get("captured_at") is None):
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


def _sphere(value: object) -> Sphere | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != len(fields(Sphere)):
        raise ValueError("sphere is no list of its sizes")
    if not all(isinstance(v, int) and 0 <= v < 2**31 for v in value):
        raise ValueError("sphere holds no pixel counts")
    return Sphere(**dict(zip((f.name for f in fields(Sphere)), value, strict=True)))


def _attributes(value: object) -> dict[str, Scalar]:
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
