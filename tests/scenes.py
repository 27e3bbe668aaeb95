"""Synthetic scenes with many key points, and other views of them, for geometric verification."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from stack_fixtures import degrees

SIZE = (420, 320)


def scene(seed: int) -> Image.Image:
    """Shapes and strokes on a textured ground, with many key points."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 200, (SIZE[1] // 4, SIZE[0] // 4, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize(SIZE, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(90):
        x, y = rng.integers(0, SIZE[0] - 40), rng.integers(0, SIZE[1] - 40)
        width, height = rng.integers(6, 40, 2)
        # Without any symmetry, so that no shape equals its mirror image.
        corners = rng.uniform(0.0, 1.0, (4, 2)) * (width, height) + (x, y)
        color = tuple(int(c) for c in rng.integers(0, 255, 3))
        draw.polygon([tuple(corner) for corner in corners.tolist()], fill=color)
    return image


def save_scene(image: Image.Image, lat: float | None = None, lon: float = 10.0) -> bytes:
    """The image as a JPEG, with a position if `lat` is given."""
    out = BytesIO()
    exif = Image.Exif()
    if lat is not None:
        exif[0x8825] = {1: "N", 2: degrees(lat), 3: "E", 4: degrees(lon)}
    image.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def other_view(image: Image.Image) -> Image.Image:
    """The scene from slightly further away and to the side."""
    width, height = image.size
    corners = (15, 10, 5, height - 12, width - 8, height, width - 20, 4)
    return image.transform(image.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
