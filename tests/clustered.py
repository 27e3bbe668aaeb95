"""A seeded gallery with vectors distributed as those of encoders: wide clusters, heavy tails.

Compact clusters overstate the recall of a graph: after any filter the rest of a cluster is still
linked. Here places have very unequal sizes and belong to cities, scenes recur, source kinds are
separate, the spectrum decays, and organizations share places. A filter therefore cuts through
clusters, and a graph without ACORN splits into islands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

from pinpoint.records import Circle, IndexFilter, IndexPoint, Point

START = datetime(2018, 1, 1, tzinfo=UTC)
DAYS = 2_500
BIG, OTHER, SMALL = (UUID(int=n << 100) for n in (1, 2, 3))
OWNERS, ONE_PERCENT = (BIG, OTHER, SMALL), 0.01
KINDS = ("photo", "street")
_CITIES, _SCENES = 24, 40


@dataclass(frozen=True, slots=True)
class Clustered:
    """`n` images: columns, so that 100,000 of them cost seconds; `vectors` is `[n, D]`, unit."""

    vectors: np.ndarray
    organization: np.ndarray
    kind: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    day: np.ndarray

    def points(self, start: int, stop: int, channel: str) -> list[IndexPoint]:
        """Index points of the rows `start` to `stop`."""
        return [
            IndexPoint(
                id=UUID(int=i + 1),
                version=1,
                organization_id=OWNERS[self.organization[i]],
                source_id=UUID(int=(10 + int(self.organization[i]) * 2 + int(self.kind[i])) << 90),
                kind=KINDS[self.kind[i]],
                point=Point(float(self.lat[i]), float(self.lon[i])),
                captured_at=START + timedelta(days=float(self.day[i])),
                cell=1,
                group=f"group-{i}",
                vectors={channel: self.vectors[i]},
            )
            for i in range(start, stop)
        ]


def _weights(rng: np.random.Generator, n: int, power: float) -> np.ndarray:
    weights = rng.permutation(np.arange(1, n + 1, dtype=np.float64) ** -power)
    return weights / weights.sum()


def _ownership(
    rng: np.random.Generator, place: np.ndarray, places: int, big: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Organization, kind and day of each image; mostly equal at a place, as in a campaign."""
    n = len(place)
    share = rng.beta(3.0 * big, 3.0 * (1.0 - big), places)[place]
    organization = (rng.random(n) > share).astype(np.int64)
    organization[rng.random(n) < ONE_PERCENT] = 2
    kind = (rng.random(n) < rng.beta(0.55, 0.45, places)[place]).astype(np.int64)
    visit = rng.integers(0, DAYS, places)[place] + rng.normal(0, 60, n)
    day = np.where(rng.random(n) < 0.6, visit, rng.integers(0, DAYS, n))
    return organization, kind, np.clip(day, 0, DAYS - 1).astype(np.int64)


def clustered(n: int, width: int, seed: int, big: float = 0.6) -> Clustered:
    """The gallery; BIG owns the share `big`. The same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, width + 1) ** -0.4
    scale = (scale / np.linalg.norm(scale)).astype(np.float32)

    def latent(rows: int) -> np.ndarray:
        return rng.standard_normal((rows, width), dtype=np.float32) * scale

    places = max(n // 30, 1)
    city_of = rng.choice(_CITIES, places, p=_weights(rng, _CITIES, 0.8))
    place = rng.choice(places, n, p=_weights(rng, places, 0.7))
    scene = rng.choice(_SCENES, n, p=_weights(rng, _SCENES, 0.9))
    organization, kind, day = _ownership(rng, place, places, big)
    city = city_of[place]
    tail = np.exp(rng.normal(-0.1, 0.45, n)).astype(np.float32)[:, None]
    vectors = 0.5 * latent(_CITIES)[city] + 0.5 * latent(places)[place]
    vectors += 0.6 * latent(_SCENES)[scene] + 0.35 * latent(2)[kind]
    for start in range(0, n, 10_000):
        rows = slice(start, min(start + 10_000, n))
        vectors[rows] += tail[rows] * latent(rows.stop - rows.start)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Cities are on a parallel, 1.2 degrees apart: a radius contains complete cities.
    lat = 47.0 + rng.normal(0, 0.05, places)[place] + rng.normal(0, 0.002, n)
    lon = 5.0 + 1.2 * city + rng.normal(0, 0.05, places)[place] + rng.normal(0, 0.002, n)
    return Clustered(
        vectors=vectors.astype(np.float16).astype(np.float32),
        organization=organization,
        kind=kind,
        lat=lat,
        lon=lon,
        day=day,
    )


def shapes(gallery: Clustered) -> dict[str, IndexFilter]:
    """Filter shapes that the product uses, by name."""
    since, until = START + timedelta(days=0.3 * DAYS), START + timedelta(days=0.85 * DAYS)
    middle = Point(47.0, float(np.median(gallery.lon[gallery.organization == 0])))
    circle = Circle(center=middle, radius_m=650_000.0)
    street_only = ("street",)
    return {
        "organization": IndexFilter(organization_id=BIG),
        "+ kind": IndexFilter(organization_id=BIG, source_kinds=street_only),
        "+ time range": IndexFilter(
            organization_id=BIG, captured_after=since, captured_before=until
        ),
        "+ radius": IndexFilter(organization_id=BIG, circle=circle),
        "+ kind + time + radius": IndexFilter(
            organization_id=BIG,
            source_kinds=street_only,
            captured_after=since,
            captured_before=until,
            circle=circle,
        ),
        "organization of 1 %": IndexFilter(organization_id=SMALL),
    }


def questions(gallery: Clustered, n: int, seed: int) -> np.ndarray:
    """`[n, D]` unit vectors of other views of gallery places; none equals a gallery vector."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(gallery.vectors), n, replace=False)
    width = gallery.vectors.shape[1]
    noise = rng.standard_normal((n, width), dtype=np.float32) / np.sqrt(width)
    queries = gallery.vectors[rows] + noise
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
