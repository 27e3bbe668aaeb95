"""Random generators keyed by name: each named object has independent draws.

Generators are never seeded from coordinates: the noise would then encode the position, and a
network could learn to decode it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pinpoint.arrays import Floats32


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Random generator of one named object of one planet."""
    return np.random.Generator(np.random.Philox(key=_hash_key(seed, *names)))


def draw_noise(
    seed: int, names: Sequence[str], uniforms: int, normals: int
) -> tuple[Floats32, Floats32]:
    """Noise of many images; each row depends only on its name.

    Args:
        seed: Seed of the planet.
        names: Names of B images.
        uniforms: Number U of uniform values in [0, 1) per image.
        normals: Number Z of standard normal values per image.

    Returns:
        `[B, U]` and `[B, Z]`.
    """
    uniforms_by_row = np.empty((len(names), uniforms), np.float32)
    normals_by_row = np.empty((len(names), normals), np.float32)
    for row, name in enumerate(names):
        noise = rng(seed, "image", name)
        uniforms_by_row[row] = noise.random(uniforms, np.float32)
        normals_by_row[row] = noise.standard_normal(normals, np.float32)
    return uniforms_by_row, normals_by_row


def uniform(seed: int, *names: str | int) -> float:
    """One number in [0, 1) for a named object, to choose among alternatives."""
    return _hash_key(seed, *names) % 2**53 / 2**53


def _hash_key(seed: int, *names: str | int) -> int:
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
