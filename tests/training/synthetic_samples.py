"""Seeded sample tables of any size for training tests, without files."""

from __future__ import annotations

import numpy as np

from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import destination
from pinpoint.training.core.samples import Samples, texts


def scattered_samples(
    count: int,
    *,
    cities: int,
    seed: int = 1,
    creators: int | None = None,
    drives: int | None = None,
    resolution: int = 5,
) -> Samples:
    """Street views and photos in cities on the whole Earth, also at a pole and the antimeridian."""
    rng = np.random.default_rng(seed)
    centers = np.column_stack(
        [np.degrees(np.arcsin(rng.uniform(-1, 1, cities))), rng.uniform(-180, 180, cities)]
    )
    centers[: min(3, cities)] = [(89.99, 0.0), (-16.5, 179.999), (0.2, -0.1)][: min(3, cities)]
    city = rng.integers(cities, size=count)
    positions = destination(centers[city], rng.uniform(0, 360, count), rng.gamma(2, 1_500, count))
    street = rng.random(count) < 0.6
    drive = city + cities * rng.integers(max(1, (drives or count // 8) // cities), size=count)
    creator = rng.integers(creators or max(1, count // 5), size=count)
    return Samples(
        ids=texts([f"s/{n}" for n in range(count)]),
        files=texts([f"/nowhere/{n}.jpg" for n in range(count)]),
        sizes=np.full(count, 1000),
        lat=positions[:, 0].copy(),
        lon=positions[:, 1].copy(),
        kinds=texts(np.where(street, "street", "photo")),
        creators=texts(["" if s else f"a{a}" for s, a in zip(street, creator, strict=True)]),
        sequences=texts([f"d{d}" if s else "" for s, d in zip(street, drive, strict=True)]),
        hashes=texts([""] * count),
        faces=texts([""] * count),
        panoramas=texts([""] * count),
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
    )
