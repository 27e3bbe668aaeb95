"""Primitive types of all records: pixels, vectors, points, states."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""One decoded image, upright sRGB, `[H, W, 3]`."""
Vector = NDArray[np.float32]
"""One unit vector, `[D]`; a batch of them is `[B, D]`."""

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")

SourceKind = Literal["photo", "street"]
"""Kind of imagery in a source: `photo` (internet photos) or `street` (street view)."""
SOURCE_KINDS: Final[tuple[SourceKind, ...]] = get_args(SourceKind)

DEFAULT_ORGANIZATION: Final = "default"
"""Organization of requests that name none; it exists in every installation."""

VOTE_TEMPERATURE: Final = 0.7
"""Temperature of the softmax over the standardized similarities of candidates, in the ranker `vote`
and in the features of a reranker."""

IMAGE_CHANNEL: Final = "image"
"""Named vector of the image content; every bundle computes it."""
GPS_CHANNEL: Final = "gps"
"""Named vector of the image position, in the same space; only bundles with a location tower compute
it."""
RAW_CHANNEL: Final = "raw"
"""Named vector of the tower's own features, before the heads; optional for bundles with heads."""

OriginalsPolicy = Literal["reference", "copy", "rendition"]
FinalStatus = Literal["indexed", "updated", "duplicate", "rejected", "failed", "canceled"]
FINAL_STATUSES: Final[tuple[FinalStatus, ...]] = get_args(FinalStatus)
ItemStatus = Literal["received", "stored"] | FinalStatus
ImageState = Literal["pending", "indexed", "failed", "deleted"]
Scope = Literal["locate", "read", "ingest", "export", "audit", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Point:
    """A position: `lat` in [-90, 90], `lon` in [-180, 180], degrees.

    Raises:
        ValueError: A coordinate is not finite or out of range.
    """

    lat: float
    lon: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lat) and math.isfinite(self.lon)):
            raise ValueError(f"position ({self.lat}, {self.lon}) is not finite")
        if abs(self.lat) > 90 or abs(self.lon) > 180:
            raise ValueError(f"position ({self.lat}, {self.lon}) is out of range")


MIN_CROP_PX: Final = 32
"""Minimum side of a crop, pixels; a smaller region does not identify a place."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A region of a photo, in pixels of the upright image; x = y = 0 is its top left corner.

    Raises:
        ValueError: It begins outside the image, or a side is shorter than `MIN_CROP_PX`.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.x < 0 or self.y < 0:
            raise ValueError(f"the crop {self} begins outside the image")
        if min(self.width, self.height) < MIN_CROP_PX:
            raise ValueError(f"the crop {self} is too small: each side needs {MIN_CROP_PX} pixels")

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Parse `x,y,w,h`.

        Raises:
            ValueError: It is not four whole numbers, or not a valid crop.
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(_WHOLE_NUMBER.fullmatch(part) for part in parts):
            raise ValueError("a crop is x,y,w,h: four whole numbers of pixels")
        x, y, width, height = (int(part) for part in parts)
        return cls(x, y, width, height)
