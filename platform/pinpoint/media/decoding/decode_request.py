"""Request from the parent to its decoding child for one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

THREADS: Final = 4
"""Maximum threads that decode HEIC and AVIF; the CPU time of all threads counts."""

LONGEST_SIDES: Final = 8
"""Maximum longer side of a rendition in `rendition_px`, which bounds long strips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRequest:
    """Request for one file, with its limits."""

    size: int
    format: str
    need_position: bool
    """Whether the pixels are needed only if the file has a position."""
    query: bool
    crop: tuple[int, int, int, int] | None
    """Region of the upright image to decode: x, y, width, height in pixels; None for all of it."""
    max_pixels: int
    max_frames: int
    max_metadata_bytes: int
    rendition_px: int
    thumbnail_px: int
    cpu_s: float

    @classmethod
    def from_wire(cls, header: Mapping[str, Any]) -> DecodeRequest:
        """Request from a message header; the parent is trusted."""
        return cls(**{f.name: header[f.name] for f in fields(cls)})

    def to_wire(self) -> dict[str, object]:
        """The request as a message header."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
