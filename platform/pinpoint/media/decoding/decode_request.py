"""Requests from the parent to its decoding child for one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

THREADS: Final = 4
"""Maximum threads that decode HEIC and AVIF; the CPU time of all threads counts."""

LONGEST_SIDES: Final = 8
"""Maximum longer side of a rendition in `rendition_px`, which bounds long strips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """Size and format of one file, and the limits on it."""

    size: int
    format: str
    max_pixels: int
    max_frames: int
    max_metadata_bytes: int
    cpu_s: float

    output: ClassVar[str]

    def to_wire(self) -> dict[str, object]:
        """The request as a message header."""
        return {"output": self.output, **{f.name: getattr(self, f.name) for f in fields(self)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRequest(FileLimits):
    """Request for metadata and pixels of one file."""

    output = "pixels"

    need_position: bool
    """Whether the pixels are needed only if the file has a position."""
    query: bool
    crop: tuple[int, int, int, int] | None
    """Region of the upright image to decode: x, y, width, height in pixels; None for all of it."""
    rendition_px: int
    thumbnail_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegRequest(FileLimits):
    """Request for one file as a JPEG without metadata."""

    output = "jpeg"

    width: int | None
    """Maximum width in pixels of the upright image; None for its full size."""
    face: str | None
    """Cube-map face to cut from a panorama; None for the whole image."""


def read_request(header: Mapping[str, Any]) -> DecodeRequest | JpegRequest:
    """Request from a message header; the parent is trusted."""
    kind = JpegRequest if header["output"] == JpegRequest.output else DecodeRequest
    return kind(**{f.name: header[f.name] for f in fields(kind)})
