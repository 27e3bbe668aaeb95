"""What a file says of itself, and what reading it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from pinpoint.records.basics import Pixels, Point
from pinpoint.records.field_layers import Layers

TimeSource = Literal[
    "exif_original",
    "xmp_original",
    "xmp_created",
    "iptc_created",
    "exif_digitized",
    "xmp_digitized",
    "iptc_digitized",
    "exif_gps",
    "xmp_gps",
    "exif_modified",
]
"""Which time of a file `captured_at` is, in order of precedence; docs/metadata.md has the tags."""

TIME_SOURCES: Final[tuple[TimeSource, ...]] = get_args(TimeSource)
"""Values of `Capture.time_source` that come from the file itself. From outside come `manifest`
(a row), `caller` (fields of an upload) and `manual` (a person's correction)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panorama:
    """An equirectangular 360° picture (GPano), before it becomes faces."""

    heading_deg: float | None
    """Compass direction of the picture's centre column."""
    full_width_px: int
    full_height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The values that count for one file, and the layers they were chosen from."""

    point: Point
    position_source: str
    """`exif`, `xmp`, `gpx`, `manifest`, `caller` or `manual`."""
    time_source: str | None = None
    """One of `TIME_SOURCES`, `manifest`, `caller` or `manual`; None without a time."""
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
    """The attributes that count: the file's, and above them a manifest's."""
    file_attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
    """What the file says besides its fields."""
    layers: Layers = field(default_factory=dict)
    """What this reading brought: the file, and where they are there a manifest row and a track."""


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
    turn_deg: float = 0.0
    """Angle from the capture's heading to this face's, clockwise."""
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

    A hint's field counts before what the file says of itself (`records.field_layers`).
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
    """Path of a GPX file, or of a folder with several; used where neither hint nor file has a
    position but a time is known."""
    track_name: str | None = None
    """Which track: its name, a file name, or `FILE#2` for the second track of a file."""
    time_zone: str | None = None
    """What a time of the file without an offset means: an IANA name or an offset."""
    camera_clock_offset_s: float | None = None
    """Seconds to add to times of the camera's clock, never to those of satellites."""
    position_source: str = "manifest"
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
    stored_layers: Layers = field(default_factory=dict)
    """What the catalog has about the file already; set when an item is claimed, never stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a person says about a whole folder or manifest, where its files do not say enough."""

    track: str | None = None
    """See `Hint.track_name`; also the path of a GPX file."""
    time_zone: str | None = None
    """See `Hint.time_zone`; holds for the times of a manifest, too."""
    camera_clock_offset_s: float | None = None
    """See `Hint.camera_clock_offset_s`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Name of a manifest's column → the column that it means, or `attribute`."""
