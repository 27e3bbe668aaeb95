"""Writes an opened image as a JPEG without metadata; runs in the decoding child."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.decode_request import JpegRequest
from pinpoint.media.decoding.image_reader import complete_image, load_pixels, to_refusal
from pinpoint.media.decoding.jpeg_segments import strip_metadata
from pinpoint.media.metadata.file_metadata import read_raw_metadata
from pinpoint.media.panoramas import OVERSAMPLING, cut_face, window
from pinpoint.media.renditions import orientation_of, upright
from pinpoint.records import Pixels

CONVERSION_QUALITY: Final = 90
"""JPEG quality of images that are encoded again."""


def write_jpeg(image: Image.Image, request: JpegRequest) -> tuple[dict[str, object], list[bytes]]:
    """The image as a JPEG, as a message.

    A JPEG at full size keeps its scans, color profile and orientation, without its metadata. All
    other images are decoded to upright sRGB, reduced to the requested width and encoded. An image
    is never enlarged.

    Raises:
        RejectedFileError: `undecodable`.
    """
    if request.format != "jpeg":
        load_pixels(image)  # some formats apply their orientation then, or have metadata at the end
    data = complete_image(image) if request.format == "jpeg" else None
    if request.face is not None:
        return _to_message(_encode_jpeg(_cut_face(image, request.face, request.width)))
    orientation = orientation_of(image)
    full_width = image.height if orientation >= 5 else image.width
    width = min(request.width or full_width, full_width)
    if data is not None and width == full_width:
        stripped = strip_metadata(data, orientation)
        if stripped is not None:
            return _to_message(stripped)
    return _to_message(_encode_jpeg(_reduce_image(image, orientation, width)))


def _to_message(jpeg: bytes) -> tuple[dict[str, object], list[bytes]]:
    return {"bytes": len(jpeg)}, [jpeg]


def _reduce_image(image: Image.Image, orientation: int, width: int) -> Pixels:
    """Upright pixels `[H, width, 3]`."""
    is_sideways = orientation >= 5
    scale = width / (image.height if is_sideways else image.width)
    size = (
        (max(1, round(image.width * scale)), width)
        if is_sideways
        else (width, max(1, round(image.height * scale)))
    )
    return _decode_upright(image, size)


def _cut_face(image: Image.Image, face: str, max_width: int | None) -> Pixels:
    """A cube-map face `[N, N, 3]`, with at most one pixel per pixel at its center."""
    visible = window(read_raw_metadata(image), *image.size) if orientation_of(image) == 1 else None
    if visible is None:
        raise RejectedFileError("undecodable", "the file is not a panorama that has faces")
    side = max(1, image.width // OVERSAMPLING)
    side = min(side, max_width or side)
    scale = min(1.0, side * OVERSAMPLING / image.width)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return cut_face(_decode_upright(image, size), visible, side, face)


def _decode_upright(image: Image.Image, size: tuple[int, int]) -> Pixels:
    try:
        return np.asarray(upright(image, size).image, dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:
        raise to_refusal(error) from error


def _encode_jpeg(pixels: Pixels) -> bytes:
    out = BytesIO()
    # From the array, so that no metadata that Pillow has of the file is written.
    Image.fromarray(pixels).save(out, "JPEG", quality=CONVERSION_QUALITY)
    return out.getvalue()
