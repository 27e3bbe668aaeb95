"""Reduces an image to gray at the size in which key points are detected, with bounded memory."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from pinpoint.records import Pixels

_BAND_PIXELS: Final = 4_000_000
"""Pixels that are converted at once."""


def reduce_to_gray(pixels: Pixels, longer_side_px: int) -> Pixels:
    """Gray image `[h, w]` with a longer side of at most `longer_side_px`; never enlarged.

    A large image is averaged over square blocks first, in bands of rows, so that memory stays at
    a few megabytes whatever its size and memory layout.

    Args:
        pixels: Upright sRGB `[H, W, 3]`.
        longer_side_px: Target size.
    """
    height, width = pixels.shape[:2]
    block = max(1, max(height, width) // (2 * longer_side_px))
    rows, columns = max(1, height // block), max(1, width // block)
    band = max(1, _BAND_PIXELS // (width * block))
    parts = []
    for first in range(0, rows, band):
        last = min(rows, first + band)
        part = np.ascontiguousarray(pixels[first * block : min(last * block, height)])
        gray = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
        if block > 1:
            size = (columns, last - first)
            gray = cv2.resize(gray[:, : columns * block], size, interpolation=cv2.INTER_AREA)
        parts.append(gray)
    gray = np.concatenate(parts)
    scale = longer_side_px / max(height, width)
    if scale >= 1:
        return np.asarray(gray, np.uint8)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
