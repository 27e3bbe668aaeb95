"""Render shots: computes factors, noise and appearance, in blocks of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.geo.points import lat_lon
from pinpoint.synthetic.appearance import NORMALS, UNIFORMS, Appearance, draw_appearance
from pinpoint.synthetic.capture_patterns import Shot
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS, latent_factors
from pinpoint.synthetic.presets import Preset
from pinpoint.synthetic.rendering import render
from pinpoint.synthetic.seeds import draw_noise

_NEW_NOISE_SHARE: Final = 0.15
"""Weight of new noise in a near-duplicate; the rest is the noise of the original."""


def render_shots(
    seed: int, shots: Sequence[Shot], preset: Preset, *, threads: int = 2, blind: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Render B shots, either all panoramas or none.

    Args:
        seed: Seed of the planet.
        shots: The shots to render.
        preset: Size and difficulty.
        threads: Number of blocks rendered concurrently.
        blind: Factor scales to set to zero, for ablations.

    Returns:
        `[B, H, W, 3]`; each image depends only on its shot.
    """
    panoramas = {shot.panorama for shot in shots}
    if len(panoramas) > 1:
        raise ValueError("panoramas and other images have different shapes; render them separately")
    appearance = scene_appearance(seed, shots, preset, blind=blind)
    names = np.array([_hash_name(shot.name) for shot in shots], np.uint64)
    return render(appearance, names, preset.side_px, panorama=panoramas == {True}, threads=threads)


def scene_appearance(
    seed: int, shots: Sequence[Shot], preset: Preset, *, blind: Sequence[str] = ()
) -> Appearance:
    """Appearance of the shots; arguments as for `render_shots`."""
    factors = latent_factors(
        seed, lat_lon([shot.point for shot in shots]), [shot.site.city.country for shot in shots]
    )
    for scale in blind:
        factors[:, LATENT_COLUMNS[scale]] = 0.0
    return factors_appearance(seed, shots, preset, factors)


def factors_appearance(
    seed: int, shots: Sequence[Shot], preset: Preset, factors: Floats32
) -> Appearance:
    """Appearance of the shots for given factors `[B, WIDTH]`."""
    uniform, normal = draw_shot_noise(seed, shots)
    return draw_appearance(
        factors,
        street=np.array([shot.kind == "street" for shot in shots], np.float32),
        rural=np.array([shot.rural for shot in shots], np.float32),
        heading_deg=np.array([shot.heading_deg for shot in shots], np.float32),
        uniform=uniform,
        normal=normal,
        difficulty=preset.habits,
    )


def draw_shot_noise(seed: int, shots: Sequence[Shot]) -> tuple[Floats32, Floats32]:
    """Noise of each shot; near-duplicates share most of the noise of their original."""
    uniform, normal = draw_noise(
        seed, [shot.near_duplicate_of or shot.name for shot in shots], UNIFORMS, NORMALS
    )
    repeats = [row for row, shot in enumerate(shots) if shot.near_duplicate_of]
    if repeats:
        _, new_normal = draw_noise(seed, [shots[row].name for row in repeats], UNIFORMS, NORMALS)
        # The squares of the weights sum to 1, so the variance of the noise is unchanged.
        normal[repeats] = (
            np.sqrt(1.0 - _NEW_NOISE_SHARE**2) * normal[repeats] + _NEW_NOISE_SHARE * new_normal
        )
    return uniform, normal


def _hash_name(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
