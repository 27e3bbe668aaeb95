"""Synthetic views: images of one place are similar and never identical."""

from __future__ import annotations

import numpy as np
from PIL import Image

from media.pictures import noise


def view(place: int, seed: int, strength: float = 60.0) -> Image.Image:
    """One view of a place, 96 x 72; with a smaller strength views are more similar."""
    base = np.asarray(noise(96, 72, seed=place)).astype(np.float64)
    grain = np.random.default_rng([place, seed]).normal(128, strength, (6, 8, 3))
    small = Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))
    seen = base + np.asarray(small.resize((96, 72), Image.Resampling.BICUBIC)) - 128.0
    return Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))
