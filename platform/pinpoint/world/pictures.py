"""From shots to pixels: gathers what the renderer needs, in blocks of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.points import lat_lon
from pinpoint.world.fields import COLUMNS, latent_factors
from pinpoint.world.habits import Shot
from pinpoint.world.looks import NORMALS, UNIFORMS, Appearance, draw_appearance
from pinpoint.world.presets import Preset
from pinpoint.world.rendering import render
from pinpoint.world.seeds import Floats, draw_noise

_AGAIN: Final = 0.15
"""How much of its noise a repeated picture has anew; the rest is that of the first one."""


def render_pictures(
    seed: int, shots: Sequence[Shot], preset: Preset, *, threads: int = 2, blind: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """The pictures of B shots, none of them a panorama or all of them.

    Args:
        seed: Names the planet.
        shots: What to take.
        preset: Size and difficulty.
        threads: Blocks painted at a time.
        blind: Scales of factors to switch off, for measuring what each contributes.

    Returns:
        `[B, H, W, 3]`; each depends on its own shot only.
    """
    wide = {shot.panorama for shot in shots}
    if len(wide) > 1:
        raise ValueError("panoramas and pictures have different shapes; ask for them apart")
    shown = scene(seed, shots, preset, blind=blind)
    names = np.array([_hash_name(shot.name) for shot in shots], np.uint64)
    return render(shown, names, preset.side_px, panorama=wide == {True}, threads=threads)


def scene(
    seed: int, shots: Sequence[Shot], preset: Preset, *, blind: Sequence[str] = ()
) -> Appearance:
    """What the shots show; arguments as `render_pictures`."""
    seen = latent_factors(
        seed, lat_lon([shot.point for shot in shots]), [shot.site.city.country for shot in shots]
    )
    for scale in blind:
        seen[:, COLUMNS[scale]] = 0.0
    return shown(seed, shots, preset, seen)


def shown(seed: int, shots: Sequence[Shot], preset: Preset, seen: Floats) -> Appearance:
    """What the shots show if their spots have the factors `[B, WIDTH]`."""
    flat, bell = noise(seed, shots)
    return draw_appearance(
        seen,
        street=np.array([shot.kind == "street" for shot in shots], np.float32),
        rural=np.array([shot.rural for shot in shots], np.float32),
        heading_deg=np.array([shot.heading_deg for shot in shots], np.float32),
        flat=flat,
        bell=bell,
        habits=preset.habits,
    )


def noise(seed: int, shots: Sequence[Shot]) -> tuple[Floats, Floats]:
    """Each shot's own noise; one that repeats another has most of that one's."""
    flat, bell = draw_noise(seed, [shot.again or shot.name for shot in shots], UNIFORMS, NORMALS)
    again = [row for row, shot in enumerate(shots) if shot.again]
    if again:
        _, anew = draw_noise(seed, [shots[row].name for row in again], UNIFORMS, NORMALS)
        # Shares whose squares sum to 1: the spread of the noise stays what it is.
        bell[again] = np.sqrt(1.0 - _AGAIN**2) * bell[again] + _AGAIN * anew
    return flat, bell


def _hash_name(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
