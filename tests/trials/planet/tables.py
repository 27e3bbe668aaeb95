"""The planet's table: exact search with the untrained descriptor and with the probe.

`pinpoint bench planet` makes the one in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from reference_tables import table

from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings, MediaSettings, ServiceSettings
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from trials.planet import probe
from trials.planet.planet_images import PlanetImages, candidates_km, plan_shots, render_planet

BOTH = ("photo", "street")
ARMS = (
    ("photo", ("photo",)),
    ("photo", ("street",)),
    ("photo", BOTH),
    ("street", ("street",)),
    ("street", BOTH),
)
SETTINGS = {"open": "test", "closed": "train"}
"""Setting → role of gallery and queries; the probe was trained on the role `train`."""
STEPS, CPU_LIMIT_S = 1_200, 595.0

DistancesByArm = Mapping[tuple[str, str, tuple[str, ...]], np.ndarray]
Say = Callable[[str], None]


def make_table(preset: str, seed: int, *, steps: int, say: Say) -> str:
    """Render, train and search: the lines above the table, and the table."""
    planet = render_planet(
        seed, PRESETS[preset], plan_shots(seed, PRESETS[preset], ("train", "test"))
    )
    net, taken, cpu_s = probe.train(planet, steps=steps, cpu_limit_s=CPU_LIMIT_S, say=say)
    words = (
        f"Synthetic planet, not the Earth: {GENERATOR}, preset `{preset}`, seed {seed}, digest "
        f"`{preset_digest(PRESETS[preset], seed)}`. The probe took {taken} steps in {cpu_s:.0f} "
        "CPU seconds."
    )
    figures = {
        "descriptor": search_planet(planet, descriptor_vectors(planet)),
        "probe": search_planet(planet, probe.vectors(net, planet)),
    }
    return f"{words}\n\n{markdown(figures)}"


def search_planet(planet: PlanetImages, vectors: np.ndarray) -> DistancesByArm:
    """Distances of the candidates `[Q, 48]` of every setting, query kind and gallery."""
    return {
        (setting, query_kind, gallery): candidates_km(
            planet, vectors, role=role, query_kind=query_kind, gallery=gallery
        )[0]
        for setting, role in SETTINGS.items()
        for query_kind, gallery in ARMS
    }


def share(distances_km: np.ndarray, depth: int, within_km: float) -> float:
    """Percentage of queries with one of the first candidates within a radius."""
    return 100.0 * float((distances_km[:, :depth].min(axis=1) < within_km).mean())


def markdown(figures: Mapping[str, DistancesByArm]) -> str:
    """One line per setting, query kind and gallery; percentages."""
    columns = ["setting", "query ← gallery", "queries"]
    for name in figures:
        columns += [f"{name} top-1 @1 / 25 / 200 km", "oracle@12 / @48, 25 km"]
    rows = []
    for key in next(iter(figures.values())):
        setting, query_kind, gallery = key
        row: list[object] = [setting, f"{query_kind} ← {' + '.join(gallery)}"]
        row.append(f"{len(next(iter(figures.values()))[key]):,}")
        for distances_km in figures.values():
            top = (f"{share(distances_km[key], 1, km):.1f}" for km in (1, 25, 200))
            oracle = (f"{share(distances_km[key], depth, 25):.1f}" for depth in (12, 48))
            row += [" / ".join(top), " / ".join(oracle)]
        rows.append(row)
    return table(columns, rows)


def descriptor_vectors(planet: PlanetImages) -> np.ndarray:
    """`[N, D]`, by the descriptor that needs no weights."""
    encoder = open_encoder(
        EncoderSettings(bundle="descriptor", device="cpu"),
        ServiceSettings().home,
        MediaSettings().rendition_px,
    )
    parts = [
        encoder.encode(list(planet.pixels[first : first + 512]))
        for first in range(0, len(planet.pixels), 512)
    ]
    return np.concatenate(parts)
