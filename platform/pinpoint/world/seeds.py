"""Randomness by name: what is drawn for one thing depends on nothing else that is drawn.

Never seeded from coordinates: a generator that starts from a position would write that position
into the noise, where a net can learn to read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one named thing of one planet."""
    return np.random.Generator(np.random.Philox(key=_hash_key(seed, *names)))


def draw_noise(
    seed: int, names: Sequence[str], uniforms: int, normals: int
) -> tuple[Floats, Floats]:
    """Noise of many images: each row depends on its own name only.

    Args:
        seed: Names the planet.
        names: One for each of B images.
        uniforms: U numbers in [0, 1) for each.
        normals: Z standard normal numbers for each.

    Returns:
        `[B, U]` and `[B, Z]`.
    """
    flat = np.empty((len(names), uniforms), np.float32)
    bell = np.empty((len(names), normals), np.float32)
    for row, name in enumerate(names):
        noise = rng(seed, "image", name)
        flat[row] = noise.random(uniforms, np.float32)
        bell[row] = noise.standard_normal(normals, np.float32)
    return flat, bell


def share(seed: int, *names: str | int) -> float:
    """One number in [0, 1) for a named thing; for choosing among alternatives."""
    return _hash_key(seed, *names) % 2**53 / 2**53


def _hash_key(seed: int, *names: str | int) -> int:
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
