"""Metadata of a file, and the result of decoding it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from pinpoint.records.claims import CaptureClaim
from pinpoint.records.field_layers import Layers
from pinpoint.records.primitives import Pixels, Point

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
"""The file's time that `captured_at` holds, in order of precedence.
docs/reference/metadata.md lists the tags."""

TIME_SOURCES: Final[tuple[TimeSource, ...]] = get_args(TimeSource)
"""Values of `Capture.time_source` that come from the file itself. Other origins are
`sidecar`, `manifest` (a row), `caller` (fields of an upload) and `manual` (a person's
correction)."""


PANORAMA_TOP_ATTRIBUTE: Final = "panorama_top_px"
"""Attribute of the faces of a panorama that does not show the whole sphere: number of rows of the
sphere above the image, in pixels of the file."""


FACE_FIELD_OF_VIEW_DEG: Final = 90.0
"""Horizontal field of view of a cube-map face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panorama:
    """An equirectangular 360° image (GPano), before it is split into faces."""

    heading_deg: float | None
    """Compass direction of the image's center column."""
    full_width_px: int
    full_height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureMetadata:
    """Merged metadata of one file, and its layers."""

    point: Point
    position_source: str
    """`exif`, `xmp`, `gpx`, `sidecar`, `manifest`, `caller` or `manual`."""
    time_source: str | None = None
    """One of `TIME_SOURCES`, `sidecar`, `manifest`, `caller` or `manual`; None without a time."""
    warnings: tuple[str, ...] = ()
    """One sentence for each value that was chosen over another one or ignored."""
    captured_at: datetime | None = None
    heading_deg: float | None = None
    field_of_view_deg: float | None = None
    """Horizontal; that of a panorama before it is split into faces."""
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    sequence: str | None = None
    license: str | None = None
    panorama_id: str | None = None
    """Set by a manifest whose rows are already separate faces of one panorama."""
    panorama: Panorama | None = None
    format: str
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
    """Merged attributes: those of a manifest override those of the file."""
    file_attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
    """Attributes of the file besides its fields."""
    layers: Layers = field(default_factory=dict)
    """Layers of this reading: the file and, if present, a manifest row, sidecars and a track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A rejected file, with the stage and the code of its error."""

    file: str
    error_stage: Literal["find", "read", "check", "decode", "store", "embed", "index"]
    error_code: str
    """A stable identifier, listed in the README: `no_position`, `null_island`, `undecodable` …"""
    error_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFace:
    """One image to embed: a whole photo, or one face of a panorama."""

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
class DecodedImage:
    """Result of decoding one accepted file."""

    capture: CaptureMetadata
    faces: tuple[ImageFace, ...]
    claim: CaptureClaim | None = None
    """Of a query photo: what its metadata claim. `capture` has none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataOverride:
    """Metadata from outside a file: manifest row, upload fields, track, sidecars. All optional.

    A field of an override replaces that of the file (`records.field_layers`).
    """

    lat: float | None = None
    lon: float | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    field_of_view_deg: float | None = None
    """Horizontal, in (0, 360]."""
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    license: str | None = None
    panorama_id: str | None = None
    track: str | None = None
    """Path of a GPX file, or of a folder with several; used if neither override nor file has a
    position but a time is known."""
    track_name: str | None = None
    """Name of the track: its own name, a file name, or `FILE#2` for the second track of a file."""
    sidecars: tuple[str, ...] = ()
    """Paths of sidecars, highest precedence first; a worker reads them with the file."""
    time_zone: str | None = None
    """Time zone of times without an offset in the file: an IANA name or an offset."""
    camera_clock_offset_s: float | None = None
    """Seconds to add to times of the camera's clock, never to satellite times."""
    position_source: str = "manifest"
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)
    stored_layers: Layers = field(default_factory=dict)
    """Layers of the file in the catalog; set when an item is claimed, never stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Options of a person for a whole folder or manifest with incomplete metadata."""

    track: str | None = None
    """See `MetadataOverride.track_name`; also the path of a GPX file."""
    time_zone: str | None = None
    """See `MetadataOverride.time_zone`; also applies to times of a manifest."""
    camera_clock_offset_s: float | None = None
    """See `MetadataOverride.camera_clock_offset_s`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Name of a manifest's column → canonical column, or `attribute`."""
