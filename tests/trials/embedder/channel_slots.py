"""The table of candidates by channel: recall of 12 and 48 slots with and without `gps` and `raw`.

`pinpoint bench embedder --channels` makes the one in docs/results.md. Each channel returns as many
hits as in serving, and the rule of serving assigns the slots (`search.candidate_slots`), without
spatial NMS. Letters: Q queries, B queries of a batch, G gallery images, R hits, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from reference_tables import table

from pinpoint.metrics.intervals import bootstrap, cluster_codes
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.search.candidate_slots import (
    GPS,
    IMAGE,
    NUM_CHANNELS,
    RAW,
    CandidateSlots,
    assign_slots,
)
from pinpoint.settings import SearchSettings
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from trials.embedder.tables import SEED, Channel, Say, trained_channels
from trials.planet.planet_images import (
    PlanetImages,
    apart_km,
    best_columns,
    plan_shots,
    render_planet,
)
from trials.planet.tables import BOTH

ARMS: Mapping[str, tuple[int, ...]] = {
    "image": (IMAGE,),
    "image + raw": (IMAGE, RAW),
    "image + gps": (IMAGE, GPS),
    "image + gps + raw": (IMAGE, GPS, RAW),
}
CANDIDATES, THRESHOLDS_KM = (12, 48), (1.0, 25.0)
QUOTA_SHARE = 6
"""Each channel besides `image` has one of so many slots, as in the paper: 2 of 12."""
_ROLE = "test"
"""Places far from the training data: the setting `open`."""
_QUERIES_AT_ONCE = 250
_EXCLUDED = -2.0
"""Score of images by the creator of the query; cosines are at least -1."""


def make_table(preset: str, bundle: Bundle, *, say: Say, every: int = 1) -> str:
    """Render, encode and assign slots: the line above the table, and the table.

    Args:
        preset: Preset of the planet.
        bundle: A bundle with heads and a location tower.
        say: Reports progress.
        every: Step through the queries.
    """
    planet = render_planet(SEED, PRESETS[preset], plan_shots(SEED, PRESETS[preset], (_ROLE,)))
    say(f"{len(planet.kind)} images rendered")
    ways = trained_channels(planet, bundle, say)
    by_channel = {IMAGE: ways["image"], GPS: ways["gps"], RAW: ways["bare tower"]}
    lines = []
    for kind in BOTH:
        lines += _kind_lines(planet, by_channel, kind, every)
        say(f"{kind}: slots assigned")
    words = (
        f"Synthetic planet, not the Earth: {GENERATOR}, preset `{preset}`, seed {SEED}, digest "
        f"`{preset_digest(PRESETS[preset], SEED)}`; bundle `{bundle.contract.name}`; setting open, "
        "galleries of both kinds. Per cent of queries with one of the K candidates within 1 / 25 "
        "km of the ground truth. The last two columns: points that `raw` adds to `image + gps`, "
        "with the 95 % interval of a bootstrap over creators and sequences."
    )
    gains = [f"gain of raw @{km:g} km" for km in THRESHOLDS_KM]
    return f"{words}\n\n" + table(["query", "queries", "K", *ARMS, *gains], lines)


def _kind_lines(
    planet: PlanetImages, by_channel: Mapping[int, Channel], kind: str, every: int
) -> list[list[object]]:
    """One line for each number of candidates."""
    queries = np.flatnonzero((planet.use == "query") & (planet.kind == kind))[::every]
    labels = planet.drive if kind == "street" else planet.creator
    codes = cluster_codes(list(labels[queries]))
    lines: list[list[object]] = []
    for candidates in CANDIDATES:
        best_km = nearest_candidates_km(planet, by_channel, queries, candidates)
        line: list[object] = [kind, f"{len(queries):,}", candidates]
        hits = {
            (arm, km): (best_km[arm] < km).astype(float) for arm in ARMS for km in THRESHOLDS_KM
        }
        for arm in ARMS:
            line.append(" / ".join(f"{100 * hits[arm, km].mean():.1f}" for km in THRESHOLDS_KM))
        for km in THRESHOLDS_KM:
            gain = bootstrap(
                hits["image + gps + raw", km] - hits["image + gps", km], codes, seed=SEED
            )
            line.append(f"{100 * gain.value:+.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}]")
        lines.append(line)
    return lines


def nearest_candidates_km(
    planet: PlanetImages,
    by_channel: Mapping[int, Channel],
    queries: np.ndarray,
    candidates: int,
) -> dict[str, np.ndarray]:
    """Distance of the nearest of K candidates to the ground truth `[Q]`, for each arm."""
    gallery = np.flatnonzero(planet.use == "gallery")
    kinds = np.array([BOTH.index(kind) for kind in planet.kind[gallery].tolist()])
    hits_per_kind = candidates * SearchSettings().oversampling
    best_km = {arm: np.empty(len(queries)) for arm in ARMS}
    for first in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = queries[first : first + _QUERIES_AT_ONCE]
        columns, retrieved, scores = _retrieve_hits(
            planet, by_channel, rows, gallery, kinds, hits_per_kind
        )
        away_km = apart_km(planet.xyz[rows], planet.xyz[gallery[columns]])
        for arm, searched in ARMS.items():
            quota = candidates // QUOTA_SHARE
            slots = CandidateSlots(
                candidates=candidates,
                gps_quota=quota if GPS in searched else 0,
                raw_quota=quota if RAW in searched else 0,
            )
            in_arm = retrieved & np.isin(np.arange(NUM_CHANNELS), searched)
            chosen = assign_slots(in_arm, scores, kinds[columns], slots, num_kinds=len(BOTH))
            best_km[arm][first : first + len(rows)] = np.where(chosen, away_km, np.inf).min(axis=1)
    return best_km


def _retrieve_hits(
    planet: PlanetImages,
    by_channel: Mapping[int, Channel],
    rows: np.ndarray,
    gallery: np.ndarray,
    kinds: np.ndarray,
    hits_per_kind: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits of all channels: gallery columns `[B, R]`, flags and scores by channel `[B, R, 3]`.

    A column that several lists contain is flagged once, at its first place in the row.
    """
    same_creator = (planet.creator[rows][:, None] == planet.creator[gallery]) & (
        planet.kind[rows] == "photo"
    )[:, None]
    flags = np.zeros((len(rows), len(gallery), NUM_CHANNELS), dtype=np.bool_)
    scores = np.empty(flags.shape, dtype=np.float32)
    lists = []
    for channel, vectors in by_channel.items():
        scores[..., channel] = vectors.query[rows] @ vectors.gallery[gallery].T
        scores[same_creator, channel] = _EXCLUDED
        for kind in range(len(BOTH)):
            of_kind = np.flatnonzero(kinds == kind)
            best = of_kind[best_columns(scores[:, of_kind, channel], hits_per_kind)]
            np.put_along_axis(flags[..., channel], best, True, axis=1)
            lists.append(best)
    flags &= scores > _EXCLUDED
    columns = np.sort(np.concatenate(lists, axis=1), axis=1)
    is_first = np.ones(columns.shape, dtype=np.bool_)
    is_first[:, 1:] = columns[:, 1:] != columns[:, :-1]
    indices = columns[..., None]
    retrieved = np.take_along_axis(flags, indices, axis=1) & is_first[..., None]
    return columns, retrieved, np.take_along_axis(scores, indices, axis=1)
