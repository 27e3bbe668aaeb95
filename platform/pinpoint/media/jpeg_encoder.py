"""Encodes pixels as JPEG; only for pixels that the decoding child has decoded."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from pinpoint.records import Pixels

QUALITY: Final = 92
"""JPEG quality of stored renditions; new models embed them again, so losses should be small."""


def encode_jpeg(pixels: Pixels, quality: int = QUALITY) -> bytes:
    """Encode `[H, W, 3]` uint8 as JPEG without metadata."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()
