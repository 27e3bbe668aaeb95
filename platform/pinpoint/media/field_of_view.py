"""Horizontal field of view of an image, from EXIF's focal length or GPano's window."""

from __future__ import annotations

import math
from typing import Final

from pinpoint.media.metadata.raw_metadata import RawMetadata
from pinpoint.media.panoramas import is_equirectangular

FULL_CIRCLE_DEG: Final = 360.0
_DIAGONAL_MM: Final = math.hypot(36.0, 24.0)
"""Diagonal of the frame of 35 mm film."""
_MIN_FOCAL_LENGTH_MM: Final = 4.0
_MAX_FOCAL_LENGTH_MM: Final = 5_000.0
"""Focal lengths outside this range are errors; fisheye lenses begin at about 4 mm."""
_SAME_ASPECT: Final = 0.02


def compute_field_of_view(raw_metadata: RawMetadata, width_px: int, height_px: int) -> float | None:
    """Compute the horizontal field of view of a whole image, degrees in (0, 360].

    `2 atan(w / 2f)`, with the equivalent focal length f of 35 mm film (EXIF tag 0xA405) and the
    width w of a frame with the image's aspect ratio and the diagonal of 35 mm film: 36 mm for 3:2.
    Equal diagonals define equivalent focal lengths (CIPA DCG-001). The lens is taken as
    rectilinear. A panorama sees `360 * width / full width` (GPano).

    Args:
        raw_metadata: Metadata of the file.
        width_px: Columns of the upright image.
        height_px: Rows of the upright image.

    Returns:
        None if the metadata do not state it, or were written for another aspect ratio.
    """
    sphere = raw_metadata.sphere
    if is_equirectangular(raw_metadata):
        if sphere is None:
            return FULL_CIRCLE_DEG if 1.95 <= width_px / height_px <= 2.05 else None
        aspect = (width_px / height_px) / (sphere.width_px / sphere.height_px)
        if abs(aspect - 1.0) > _SAME_ASPECT:
            return None
        return FULL_CIRCLE_DEG * sphere.width_px / sphere.full_width_px
    focal_length_mm = raw_metadata.focal_length_35mm_mm
    if focal_length_mm is None or not (
        _MIN_FOCAL_LENGTH_MM <= focal_length_mm <= _MAX_FOCAL_LENGTH_MM
    ):
        return None
    frame_width_mm = _DIAGONAL_MM * width_px / math.hypot(width_px, height_px)
    return math.degrees(2.0 * math.atan(frame_width_mm / (2.0 * focal_length_mm)))


def check_field_of_view(degrees: float | None) -> float | None:
    """A field of view in (0, 360], or None for any other number: 0 often means unknown."""
    return degrees if degrees is not None and 0.0 < degrees <= FULL_CIRCLE_DEG else None
