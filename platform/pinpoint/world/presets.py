"""The planets that can be asked for, and the digest that names exactly which one it was.

Difficulty is set and frozen: changing a number here or a picture elsewhere means another
`GENERATOR`, and every table that quotes the planet is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, get_args

GENERATOR: Final = "pinpoint.world 2"

Role = Literal["train", "rerank", "calibration", "test", "null-train", "null-test"]
"""What a region is for.

train        embedder training; also the gallery of the *closed* setting
rerank       gallery and queries that a reranker learns on
calibration  gallery and queries that probabilities are fitted on
test         gallery and queries of the *open* setting
null-train   queries only, for learning to say "not in this gallery"
null-test    queries only, for testing it
"""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

BUFFER_M: Final = 25_000.0
"""Images of different roles are further apart than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """How difficult the planet is; set once, on retrieval figures alone (docs/planet.md).

    Noise is in standard deviations of the factors; shares are of images of that kind.
    """

    street_noise: float = 0.40
    photo_noise: float = 0.28
    street_facades: float = 0.65
    photo_facades: float = 0.90
    rural_facades: float = 0.15
    uninformative: float = 0.20
    close_ups: float = 0.20
    cast: float = 0.04
    """Spread of a photo's colour cast, per channel."""
    near_duplicates: float = 0.05
    panoramas: float = 0.08
    """Share of drives whose camera is a 360° one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """What a city of one role holds."""

    cities: int
    """How many cities at most."""
    photos: int = 0
    """Gallery photos in each."""
    streets: int = 0
    """Gallery street views in each."""
    photo_queries: int = 0
    street_queries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A planet's size and difficulty."""

    name: str
    towns: Mapping[Role, Town]
    side_px: int = 64
    habits: Difficulty = field(default_factory=Difficulty)


PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            towns={
                "train": Town(cities=6, photos=12, streets=12, photo_queries=4, street_queries=2),
                "rerank": Town(cities=3, photos=12, streets=12, photo_queries=4, street_queries=2),
                "calibration": Town(cities=2, photos=12, streets=12, photo_queries=6),
                "test": Town(cities=6, photos=12, streets=12, photo_queries=6, street_queries=2),
                "null-train": Town(cities=1, photo_queries=4),
                "null-test": Town(cities=2, photo_queries=4),
            },
        ),
        Preset(
            name="demo",
            towns={
                "test": Town(cities=24, photos=24, streets=24, photo_queries=2, street_queries=1),
                "null-test": Town(cities=2, photo_queries=2),
            },
        ),
        Preset(
            name="small",
            towns={
                "train": Town(cities=12, photos=24, streets=24, photo_queries=4, street_queries=2),
                "rerank": Town(
                    cities=24, photos=24, streets=24, photo_queries=16, street_queries=4
                ),
                "calibration": Town(
                    cities=12, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "test": Town(cities=24, photos=24, streets=24, photo_queries=24, street_queries=4),
                "null-train": Town(cities=6, photo_queries=16, street_queries=4),
                "null-test": Town(cities=8, photo_queries=16, street_queries=4),
            },
        ),
        Preset(
            name="bench",
            towns={
                "train": Town(cities=800, photos=24, streets=24, photo_queries=4, street_queries=2),
                "rerank": Town(
                    cities=300, photos=24, streets=24, photo_queries=16, street_queries=4
                ),
                "calibration": Town(
                    cities=160, photos=24, streets=24, photo_queries=24, street_queries=4
                ),
                "test": Town(cities=500, photos=24, streets=24, photo_queries=24, street_queries=4),
                "null-train": Town(cities=60, photo_queries=16, street_queries=4),
                "null-test": Town(cities=100, photo_queries=16, street_queries=4),
            },
        ),
    )
}


def preset_digest(preset: Preset, seed: int) -> str:
    """Names a planet: generator, preset and seed; 16 hex digits."""
    document = json.dumps(
        {"generator": GENERATOR, "preset": asdict(preset), "seed": seed}, sort_keys=True
    )
    return hashlib.sha256(document.encode()).hexdigest()[:16]
