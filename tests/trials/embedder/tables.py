"""The table of a trained bundle: descriptor, bare tower, image and gps channel, side by side.

`pinpoint bench embedder` makes the one in docs/results.md. Letters: N images of the planet,
Q queries, D the width of a space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from reference_tables import table

from pinpoint.geo.points import lat_lon
from pinpoint.metrics.intervals import Interval, bootstrap, cluster_codes
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.embedder.embedder import Embedder
from pinpoint.nets.runtime import open_encoder, tower_features
from pinpoint.settings import EncoderSettings, MediaSettings, ServiceSettings
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from trials.planet.planet_images import PlanetImages, candidates_km, plan_shots, render_planet
from trials.planet.tables import ARMS, SETTINGS, descriptor_vectors

SEED, DEPTHS, NEAR_KM = 7, (1, 12, 48), 25.0
_AT_ONCE = 512
Say = Callable[[str], None]
Key = tuple[str, str, tuple[str, ...], str, int]
"""Setting, query kind, gallery kinds, channel, depth."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Vectors of the queries and of the gallery, `[N, D]` each."""

    query: np.ndarray
    gallery: np.ndarray


def make_table(preset: str, bundle: Bundle, *, say: Say) -> str:
    """Render, encode and search: the line above the table, and the table."""
    planet = render_planet(
        SEED, PRESETS[preset], plan_shots(SEED, PRESETS[preset], ("train", "test"))
    )
    say(f"{len(planet.kind)} images rendered")
    figures = measured(planet, channels(planet, bundle, say))
    words = (
        f"Synthetic planet, not the Earth: {GENERATOR}, preset `{preset}`, seed {SEED}, digest "
        f"`{preset_digest(PRESETS[preset], SEED)}`; bundle `{bundle.contract.name}`. Per cent of"
        f" queries with one of the first K candidates within {NEAR_KM:g} km of the ground truth,"
        " K = 1 / 12 / 48; for K = 1 with the 95 % interval of a bootstrap over creators and"
        " sequences."
    )
    return f"{words}\n\n{markdown(figures, planet)}"


def channels(planet: PlanetImages, bundle: Bundle, say: Say) -> Mapping[str, Channel]:
    """Every way of searching this planet, by name."""
    vectors = descriptor_vectors(planet)
    say("descriptor: encoded")
    return {
        "descriptor": Channel(query=vectors, gallery=vectors),
        **trained_channels(planet, bundle, say),
    }


def trained_channels(planet: PlanetImages, bundle: Bundle, say: Say) -> dict[str, Channel]:
    """The ways that a trained bundle offers: its tower's features, its vectors and positions."""
    vectors = _bare(planet, bundle)
    by_name = {"bare tower": Channel(query=vectors, gallery=vectors)}
    say("bare tower: encoded")
    encoder = _opened(bundle)
    vectors = _seen(planet, encoder)
    by_name["image"] = Channel(query=vectors, gallery=vectors)
    places = encoder.encode_positions(lat_lon([shot.point for shot in planet.shots]))
    by_name["gps"] = Channel(query=vectors, gallery=places)
    say("image and gps: encoded")
    return by_name


def measured(planet: PlanetImages, ways: Mapping[str, Channel]) -> Mapping[Key, Interval]:
    """Shares of queries with a correct candidate, with intervals."""
    figures: dict[Key, Interval] = {}
    for setting, role in SETTINGS.items():
        for query_kind, gallery in ARMS:
            for name, way in ways.items():
                away_km, rows = candidates_km(
                    planet,
                    way.query,
                    role=role,
                    query_kind=query_kind,
                    gallery=gallery,
                    known=way.gallery,
                )
                labels = planet.drive if query_kind == "street" else planet.creator
                codes = cluster_codes(list(labels[rows]))
                for depth in DEPTHS:
                    hit = (away_km[:, :depth].min(axis=1) < NEAR_KM).astype(float)
                    figures[setting, query_kind, gallery, name, depth] = bootstrap(
                        hit, codes, seed=SEED
                    )
    return figures


def markdown(figures: Mapping[Key, Interval], planet: PlanetImages) -> str:
    """One line per setting, query kind and gallery."""
    names = list(dict.fromkeys(key[3] for key in figures))
    lines = []
    for setting, query_kind, gallery in dict.fromkeys(key[:3] for key in figures):
        line: list[object] = [setting, f"{query_kind} ← {' + '.join(gallery)}"]
        line.append(f"{figures[setting, query_kind, gallery, names[0], 1].rows:,}")
        for name in names:
            top, *deeper = (figures[setting, query_kind, gallery, name, depth] for depth in DEPTHS)
            first = f"{100 * top.value:.1f} [{100 * top.low:.1f}, {100 * top.high:.1f}]"
            line.append(" / ".join([first, *(f"{100 * each.value:.1f}" for each in deeper)]))
        lines.append(line)
    return table(["setting", "query ← gallery", "queries", *names], lines)


def _opened(bundle: Bundle) -> Embedder:
    if bundle.weights is None:
        raise ValueError("the descriptor has no space")
    folder = str(bundle.weights.parent)
    settings = EncoderSettings(bundle=folder, device="cpu")
    return open_encoder(settings, ServiceSettings().home, MediaSettings().rendition_px)


def _seen(planet: PlanetImages, encoder: Embedder) -> np.ndarray:
    """Encode each image with the adapter of its kind, as ingest and queries do."""
    vectors = np.empty((len(planet.kind), encoder.contract.dims["image"]), dtype=np.float32)
    for kind in np.unique(planet.kind).tolist():
        rows = np.flatnonzero(planet.kind == kind)
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            vectors[some] = encoder.encode(list(planet.pixels[some]), kind)
    return vectors


def _bare(planet: PlanetImages, bundle: Bundle) -> np.ndarray:
    encode = tower_features(bundle, torch.device("cpu"), 256)
    parts = [
        encode(list(planet.pixels[first : first + _AT_ONCE]))
        for first in range(0, len(planet.pixels), _AT_ONCE)
    ]
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)
