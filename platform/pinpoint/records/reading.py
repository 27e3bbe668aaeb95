"""What a file says of itself, and what reading it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pinpoint.records.basics import Pixels, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Panorama:
    """An equirectangular 360° picture (GPano), before it becomes faces."""

    heading_deg: float | None
    """Compass direction of the picture's centre column."""
    full_width_px: int
    full_height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What a file, or its manifest row, says of itself."""

    point: Point
    position_source: str
    """`exif`, `xmp`, `gpx`, `manifest` or `caller`."""
    time_source: str | None = None
    """Where `captured_at` comes from, None without a time."""
    warnings: tuple[str, ...] = ()
    """One sentence for each value that was chosen over another one or ignored."""
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    """Set by a manifest whose rows are faces of one panorama already cut."""
    panorama: Panorama | None = None
    format: str
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that cannot be used, where that was found out, and why."""

    file: str
    stage: Literal["find", "read", "check", "decode", "store", "embed", "index"]
    reason: str
    """A stable word, listed in the README: `no_position`, `null_island`, `undecodable` …"""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One picture to embed: a whole photo, or one face of a panorama."""

    name: str | None
    """None for a plain photo; `front`, `right`, `back`, `left` for panorama faces."""
    heading_deg: float | None
    pixels: Pixels
    """Rendition `[H, W, 3]`: upright sRGB, shorter side at most the reading's `rendition_px`."""
    thumbnail: bytes
    """JPEG without metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one accepted file yields."""

    capture: Capture
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What the outside says of a file: a manifest row, upload fields, a GPX track. All optional.

    A hint's field wins over what the file says of itself.
    """

    lat: float | None = None
    lon: float | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    track: str | None = None
    """Path of a GPX file; used where neither hint nor file has a position but a time is known."""
    position_source: str = "manifest"
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
