"""Pictures of ours as JPEG; only for pixels that the decoding child has already made safe."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from pinpoint.records import Pixels

QUALITY: Final = 92
"""Kept renditions are encoded again when weights change, so they should lose little."""


def encode_jpeg(pixels: Pixels, quality: int = QUALITY) -> bytes:
    """`[H, W, 3]` uint8 as JPEG without metadata."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()
