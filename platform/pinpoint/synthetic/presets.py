"""Presets of synthetic planets, and the digest that identifies a planet.

The difficulty is frozen: a change of a number here or of any rendered image requires another
`GENERATOR`, and all tables of results on the planet must be computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

GENERATOR: Final = "pinpoint.world 2"
"""Name and version of the generator. It is part of every digest, so it is not a module name."""

Role = Literal["train", "rerank", "calibration", "test", "null-train", "null-test"]
"""Purpose of a region.

train        embedder training; also the gallery of the *closed* setting
rerank       gallery and queries for training a reranker
calibration  gallery and queries for fitting calibrations
test         gallery and queries of the *open* setting
null-train   queries only, for learning "not in this gallery"
null-test    queries only, for testing it
"""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

BUFFER_M: Final = 25_000.0
"""Minimum distance between images of different roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """Difficulty of the planet; chosen once, by retrieval metrics only.

    docs/explanation/synthetic-planet.md describes the choice.

    Noise is in standard deviations of the factors; shares are relative to images of that kind.
    """

    street_noise: float = 0.40
    photo_noise: float = 0.28
    street_facades: float = 0.65
    photo_facades: float = 0.90
    rural_facades: float = 0.15
    uninformative: float = 0.20
    close_ups: float = 0.20
    cast: float = 0.04
    """Standard deviation of a photo's color cast, per channel."""
    near_duplicates: float = 0.05
    panoramas: float = 0.08
    """Share of sequences with a 360° camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityCounts:
    """Number of cities of one role, and of images per city."""

    cities: int
    """Maximum number of cities."""
    photos: int = 0
    """Gallery photos per city."""
    streets: int = 0
    """Gallery street views per city."""
    photo_queries: int = 0
    street_queries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Size and difficulty of a planet."""

    name: str
    towns: Mapping[Role, LocalityCounts]
    side_px: int = 64
    habits: Difficulty = field(default_factory=Difficulty)


PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            towns={
                "train": LocalityCounts(
                    cities=6, photos=12, streets=12, photo_queries=4, street_queries=2
                ),
                "rerank": LocalityCounts(
                    cities=3, photos=12, streets=12, photo_queries=4, street_queries=2
                ),
                "calibration": LocalityCounts(cities=2, photos=12, streets=12, photo_queries=6),
                "test": LocalityCounts(
                    cities=6, photos=12, streets=12, photo_queries=6, street_queries=2
                ),
                "null-train": LocalityCounts(cities=1, photo_queries=4),
                "null-test": LocalityCounts(cities=2, photo_queries=4),
            },
        ),
        Preset(
            name="demo",
            towns={
                "test": LocalityCounts(
                    cities=24, photos=24, streets=24, photo_queries=2, street_queries=1
                ),
                "null-test": LocalityCounts(cities=2, photo_queries=2),
            },
        ),
        Preset(
            name="small",
            towns={
                "train": LocalityCounts(
                    cities=12, photos=24, streets=24, photo_queries=4, street_queries=2
                ),
                "rerank": LocalityCounts(
                    cities=24, photos=24, streets=24, photo_queries=16, street_queries=4
                ),
                "calibration": LocalityCounts(
                    cities=12, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "test": LocalityCounts(
                    cities=24, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "null-train": LocalityCounts(cities=6, photo_queries=16, street_queries=4),
                "null-test": LocalityCounts(cities=8, photo_queries=16, street_queries=4),
            },
        ),
        Preset(
            name="bench",
            towns={
                "train": LocalityCounts(
                    cities=800, photos=24, streets=24, photo_queries=4, street_queries=2
                ),
                "rerank": LocalityCounts(
                    cities=300, photos=24, streets=24, photo_queries=16, street_queries=4
                ),
                "calibration": LocalityCounts(
                    cities=160, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "test": LocalityCounts(
                    cities=500, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "null-train": LocalityCounts(cities=60, photo_queries=16, street_queries=4),
                "null-test": LocalityCounts(cities=100, photo_queries=16, street_queries=4),
            },
        ),
    )
}


def preset_digest(preset: Preset, seed: int) -> str:
    """Identifier of a planet by generator, preset and seed; 16 hex digits.

    The names of the fields of `Preset`, `LocalityCounts` and `Difficulty` are hashed too: a renamed
    field would change the identifier of every planet.
    """
    document = json.dumps(
        {"generator": GENERATOR, "preset": asdict(preset), "seed": seed}, sort_keys=True
    )
    return hashlib.sha256(document.encode()).hexdigest()[:16]
