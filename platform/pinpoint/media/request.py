"""What the parent asks of its decoding child for one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

THREADS: Final = 4
"""HEIC and AVIF decode on at most so many threads, each of which counts as CPU time."""

LONGEST_SIDES: Final = 8
"""A rendition's longer side is at most this many `rendition_px`: strips stay small too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the parent wants of one file, and within which limits."""

    size: int
    format: str
    need_position: bool
    """Without a position in the file nobody will want its pixels."""
    query: bool
    max_pixels: int
    max_frames: int
    max_metadata_bytes: int
    rendition_px: int
    thumbnail_px: int
    cpu_s: float

    @classmethod
    def from_wire(cls, header: Mapping[str, Any]) -> Ask:
        """The request as it arrived; the parent is trusted."""
        return cls(**{f.name: header[f.name] for f in fields(cls)})

    def to_wire(self) -> dict[str, object]:
        """The request as it travels."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
