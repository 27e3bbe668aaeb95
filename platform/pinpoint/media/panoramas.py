"""Cuts equirectangular 360° images into four upright cube-map faces (Google's GPano, XMP).

A cube-map face has a field of view of 90°.

Symbols: H, W rows and columns of the image; N side of a face. The center column of the image has
the pose heading; columns increase to the right, clockwise on the compass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.media.metadata.raw_metadata import RawMetadata
from pinpoint.records import Pixels

FACES: Final[tuple[tuple[str, float], ...]] = (
    ("front", 0.0),
    ("right", 90.0),
    ("back", 180.0),
    ("left", 270.0),
)
"""Name and direction relative to the pose heading, degrees clockwise."""

OVERSAMPLING: Final = 4
"""An image this many sides wide has at least one pixel per pixel at the center of a face."""

_STRIP_ROWS: Final = 256
"""Rows of a face that are sampled together, which bounds the memory of large faces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows of the full sphere in an image of full width, as shares of the height."""

    top: float
    bottom: float
    full_width_px: int
    full_height_px: int


def is_equirectangular(raw_metadata: RawMetadata) -> bool:
    """Whether the metadata declare an equirectangular panorama."""
    return raw_metadata.attributes.get("projection") == "equirectangular"


def window(raw_metadata: RawMetadata, width: int, height: int) -> Window | None:
    """The visible part of the sphere; None unless it covers 360° and 45° up and down.

    Args:
        raw_metadata: Metadata of the file.
        width: Columns of the image, which may have been resized since GPano was written.
        height: Rows of the image.
    """
    if not is_equirectangular(raw_metadata):
        return None
    sphere = raw_metadata.sphere
    if sphere is None:
        is_full_sphere = 1.95 <= width / height <= 2.05
        full = Window(top=0.0, bottom=1.0, full_width_px=width, full_height_px=height)
        return full if is_full_sphere else None
    is_full_circle = sphere.width_px >= sphere.full_width_px and sphere.left_px == 0
    two_to_one = 1.95 <= sphere.full_width_px / sphere.full_height_px <= 2.05
    as_written = sphere.width_px / sphere.height_px
    undistorted = 0.98 <= (width / height) / as_written <= 1.02
    top = sphere.top_px / sphere.full_height_px
    bottom = (sphere.top_px + sphere.height_px) / sphere.full_height_px
    if not (
        is_full_circle and two_to_one and undistorted and top <= 0.25 and 0.75 <= bottom <= 1.0
    ):
        return None
    return Window(
        top=top,
        bottom=bottom,
        full_width_px=sphere.full_width_px,
        full_height_px=sphere.full_height_px,
    )


def face_side(width: int, rendition_px: int) -> int:
    """Side of the faces of an image with `width` columns."""
    return max(1, min(rendition_px, width // OVERSAMPLING))


def cut_faces(image: Pixels, part: Window, side: int) -> list[tuple[str, Pixels]]:
    """Four faces `[N, N, 3]` by bilinear sampling, in the order of `FACES`."""
    height, width = image.shape[:2]
    lon, rows = _map_face(height, part, side, slice(0, side))
    return [
        (name, _sample_bilinear(image, rows, _turn_columns(lon, turn, width)))
        for name, turn in FACES
    ]


def cut_face(image: Pixels, part: Window, side: int, name: str) -> Pixels:
    """The face `[N, N, 3]` with this name; large faces are cut strip by strip.

    Raises:
        KeyError: No face has this name.
    """
    turn = dict(FACES)[name]
    height, width = image.shape[:2]
    face = np.empty((side, side, 3), np.uint8)
    for top in range(0, side, _STRIP_ROWS):
        strip = slice(top, min(top + _STRIP_ROWS, side))
        lon, rows = _map_face(height, part, side, strip)
        face[strip] = _sample_bilinear(image, rows, _turn_columns(lon, turn, width))
    return face


def _map_face(
    height: int, part: Window, side: int, strip: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude, in turns from the center of the face, and image row of each pixel of a strip."""
    steps = (np.arange(side) + 0.5) / side * 2.0 - 1.0
    across, down = np.meshgrid(steps, steps[strip])
    lon = np.arctan(across) / (2.0 * math.pi)
    lat = np.arctan2(-down, np.hypot(across, 1.0)) / math.pi
    share = (0.5 - lat - part.top) / (part.bottom - part.top)
    return lon, np.clip(share * height - 0.5, 0.0, height - 1.0)


def _turn_columns(lon: NDArray[np.float64], turn: float, width: int) -> NDArray[np.float64]:
    columns: NDArray[np.float64] = ((lon + 0.5 + turn / 360.0) * width - 0.5) % width
    return columns


def _sample_bilinear(
    image: Pixels, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> Pixels:
    """Sample colors between pixels; columns wrap around the sphere, rows do not."""
    height, width = image.shape[:2]
    top = np.floor(rows).astype(np.intp)
    left_columns = np.floor(columns).astype(np.intp)
    y = (rows - top).astype(np.float32)[..., None]
    x = (columns - left_columns).astype(np.float32)[..., None]
    bottom = np.minimum(top + 1, height - 1)
    left_columns %= width
    right_columns = (left_columns + 1) % width
    upper = image[top, left_columns] * (1 - x) + image[top, right_columns] * x
    lower = image[bottom, left_columns] * (1 - x) + image[bottom, right_columns] * x
    mixed: Pixels = (upper * (1 - y) + lower * y + 0.5).astype(np.uint8)
    return mixed
