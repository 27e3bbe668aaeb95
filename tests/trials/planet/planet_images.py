"""The images of a planet in memory, with their locations and creators.

Letters: N images, G gallery images, Q queries, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.synthetic.capture_patterns import Shot, generate_shots
from pinpoint.synthetic.presets import Preset
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.shot_rendering import render_shots

EARTH_KM = 6371.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanetImages:
    """N images: pixels `[N, H, W, 3]`, unit vectors of their places `[N, 3]`, and labels `[N]`."""

    shots: list[Shot]
    pixels: np.ndarray
    xyz: np.ndarray
    kind: np.ndarray
    use: np.ndarray
    role: np.ndarray
    creator: np.ndarray
    drive: np.ndarray
    city: np.ndarray
    country: np.ndarray


def plan_shots(seed: int, preset: Preset, roles: tuple[str, ...]) -> list[Shot]:
    """Shots of some roles; panoramas as plain images, so that all have one shape."""
    return [
        replace(shot, panorama=False)
        for site in choose_sites(seed, preset)
        if site.role in roles
        for shot in generate_shots(seed, site, preset.towns[site.role], preset.habits)
    ]


def render_planet(
    seed: int, preset: Preset, some: list[Shot], blind: tuple[str, ...] = ()
) -> PlanetImages:
    """Draw shots; factors of `blind` scales are switched off."""
    return PlanetImages(
        shots=some,
        pixels=render_shots(seed, some, preset, blind=blind),
        xyz=unit_xyz(lat_lon([shot.point for shot in some])),
        kind=np.array([shot.kind for shot in some]),
        use=np.array([shot.use for shot in some]),
        role=np.array([shot.site.role for shot in some]),
        creator=np.array([shot.creator for shot in some]),
        drive=np.array([shot.sequence or "" for shot in some]),
        city=np.array([shot.site.city.number for shot in some]),
        country=np.array([shot.site.city.country for shot in some]),
    )


def candidates_km(
    planet: PlanetImages,
    vectors: np.ndarray,
    *,
    role: str,
    query_kind: str,
    gallery: tuple[str, ...],
    depth: int = 48,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact search: distances from ground truth to candidates `[Q, depth]`, and the queries' rows.

    The query's creator is left out of the gallery, as in every protocol. The gallery may have other
    vectors than the queries.
    """
    known = vectors if known is None else known
    own = planet.role == role
    queries = np.flatnonzero(own & (planet.use == "query") & (planet.kind == query_kind))
    rows = np.flatnonzero(own & (planet.use == "gallery") & np.isin(planet.kind, gallery))
    away_km = np.empty((len(queries), depth))
    for first in range(0, len(queries), 1_000):
        part = queries[first : first + 1_000]
        score = vectors[part] @ known[rows].T
        if query_kind == "photo":
            score[planet.creator[part][:, None] == planet.creator[rows][None, :]] = -2.0
        best = best_columns(score, depth)
        away_km[first : first + 1_000] = apart_km(planet.xyz[part], planet.xyz[rows[best]])
    return away_km, queries


def apart_km(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """From unit vectors `[Q, 3]` to those of their candidates `[Q, K, 3]`: `[Q, K]`."""
    chord = np.linalg.norm(here[:, None] - there, axis=2)
    return np.asarray(2 * EARTH_KM * np.arcsin(np.clip(chord / 2, 0, 1)))


def best_columns(score: np.ndarray, depth: int) -> np.ndarray:
    """Columns `[B, depth]` of the highest scores, highest first, ties in the gallery's order."""
    if score.shape[1] <= depth:
        return np.argsort(-score, axis=1, kind="stable")
    # A full sort of 24,000 columns for 48 of them was most of a table's time.
    some = np.argpartition(-score, depth - 1, axis=1)[:, :depth]
    order = np.lexsort((some, -np.take_along_axis(score, some, axis=1)), axis=1)
    return np.take_along_axis(some, order, axis=1)
