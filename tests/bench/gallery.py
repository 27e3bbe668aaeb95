"""A gallery of rows without image files: real positions if available, and clustered vectors.

Images are scattered around places (80 m), and places share themes: a query finds its own place
first, then similar ones elsewhere. Letters: N images, P places, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import numpy as np
import psycopg
import pytest

from pinpoint.geo.cells import cell_ids
from pinpoint.records import SOURCE_KINDS
from pinpoint.store.db.rows import pack_vector
from shared_data import shared_data

ORGANIZATIONS = tuple(UUID(int=(n + 1) << 100) for n in range(3))
SHARES = (0.79, 0.20, 0.01)
DENSE = UUID(int=9 << 100)
"""Organization with all images of one kind in one crowded square."""
DENSE_AT = (48.8584, 2.2945)
_THEMES = 400
_PER_PLACE = 6
_TELL = 100_000
_SPREAD_M = 80.0
_METRES_PER_DEGREE = 111_195.0
_START = datetime(2019, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "id, organization_id, source_id, source_kind, external_id, sequence, geog, captured_at,"
    " position_source, sha256, size_bytes, format, width_px, height_px, uri,"
    " cell_r5, cell_r7, cell_r9, state, version"
)


@dataclass(frozen=True)
class Gallery:
    """Columns of the rows, one entry for each image."""

    ids: list[UUID]
    organization: np.ndarray
    kind: np.ndarray
    place: np.ndarray
    positions: np.ndarray
    captured_at: list[datetime]
    vectors: np.ndarray
    positions_from: str

    def queries(self, count: int, organization: int = 0, seed: int = 7) -> np.ndarray:
        """Unseen views of places that an organization has images of, `[count, D]`."""
        rng = np.random.default_rng(seed)
        rows = rng.choice(np.flatnonzero(self.organization == organization), count)
        width = self.vectors.shape[1]
        noise = rng.normal(scale=0.6 / np.sqrt(width), size=(count, width))
        return _to_unit(self.vectors[rows].astype(np.float32) + noise)


def make(n: int, width: int, dense: int = 0, seed: int = 1) -> Gallery:
    """`n` images of three organizations, and `dense` more of a fourth within 900 m.

    Memory is close to that of the vectors in fp16, so that a million images fit.
    """
    rng = np.random.default_rng(seed)
    places = max(1, n // _PER_PLACE)
    centers, origin = _place_centers(rng, places)
    weight = rng.lognormal(sigma=0.9, size=places)
    place = rng.choice(places, n, p=weight / weight.sum())
    themes = _random_normal(rng, _THEMES, width)
    looks = _random_normal(rng, places, width) + themes[np.arange(places) % _THEMES]
    vectors = np.empty((n + dense, width), dtype=np.float16)
    for start in range(0, n, 10_000):
        part = place[start : start + 10_000]
        noise = 0.8 * _random_normal(rng, len(part), width)
        vectors[start : start + len(part)] = _to_unit(looks[part] + noise)
    # One square of similar images, so that it contains every candidate of its owner.
    vectors[n:] = _to_unit(themes[0] + 0.8 * _random_normal(rng, dense, width))
    near = _move_by_meters(rng, centers[place], rng.normal(scale=_SPREAD_M, size=(n, 2)))
    angle, reach = rng.uniform(0, 2 * np.pi, dense), 450.0 * np.sqrt(rng.uniform(size=dense))
    disc = np.column_stack([reach * np.sin(angle), reach * np.cos(angle)])
    square = _move_by_meters(rng, np.tile(DENSE_AT, (dense, 1)), disc)
    return Gallery(
        ids=[UUID(bytes=rng.bytes(16), version=4) for _ in range(n + dense)],
        organization=np.concatenate([rng.choice(3, n, p=SHARES), np.full(dense, 3)]),
        kind=np.concatenate([rng.choice(2, n), np.zeros(dense, dtype=int)]),
        place=np.concatenate([place, np.full(dense, places)]),
        positions=np.concatenate([near, square]),
        captured_at=[_START + timedelta(minutes=17 * i) for i in range(n + dense)],
        vectors=vectors,
        positions_from=origin,
    )


def _random_normal(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return rng.standard_normal((rows, width), dtype=np.float32) / np.float32(np.sqrt(width))


def _to_unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype("f4")


def _place_centers(rng: np.random.Generator, places: int) -> tuple[np.ndarray, str]:
    try:
        path = shared_data() / "gps" / "coordinates_100K.csv"
        real = np.loadtxt(path, delimiter=",", skiprows=1)
        return real[rng.choice(len(real), places, replace=places > len(real))], path.name
    except (pytest.skip.Exception, OSError):
        cities = np.column_stack(
            [np.degrees(np.arcsin(rng.uniform(-0.8, 0.9, 600))), rng.uniform(-179, 179, 600)]
        )
        spread = rng.normal(scale=4_000.0, size=(places, 2))
        return _move_by_meters(rng, cities[rng.choice(600, places)], spread), "seeded clusters"


def _move_by_meters(
    rng: np.random.Generator, positions: np.ndarray, meters: np.ndarray
) -> np.ndarray:
    """Positions moved by `(north, east)` meters, kept off the poles and the antimeridian."""
    lat = np.clip(positions[:, 0] + meters[:, 0] / _METRES_PER_DEGREE, -89.0, 89.0)
    shrink = np.maximum(np.cos(np.radians(lat)), 0.02)
    lon = positions[:, 1] + meters[:, 1] / _METRES_PER_DEGREE / shrink
    return np.column_stack([lat, np.clip(lon, -179.999, 179.999)]).round(7)


def source_id(organization: int, kind: int) -> UUID:
    """Id of the only source of a kind in an organization."""
    return UUID(int=((organization + 1) << 100) + kind + 1)


def fill(
    gallery: Gallery,
    database_url: str,
    contract: str,
    say=lambda _: None,
    gps: np.ndarray | None = None,
) -> None:
    """Write all rows with COPY, triggers included, and update the planner's statistics.

    Args:
        gallery: The rows.
        database_url: The owner's.
        contract: Contract digest of the vectors.
        say: Receives progress messages.
        gps: Vectors of the positions `[N, D]` if the contract has that channel.
    """
    owners = (*ORGANIZATIONS, DENSE)
    cells = cell_ids(gallery.positions)
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute("SET search_path = pinpoint, public")
        for number, owner in enumerate(owners):
            connection.execute(
                "INSERT INTO organizations (id, name) VALUES (%s, %s)", (owner, f"org-{number}")
            )
            for kind, name in enumerate(SOURCE_KINDS):
                connection.execute(
                    "INSERT INTO sources (id, organization_id, name, kind, license, originals)"
                    " VALUES (%s, %s, %s, %s, 'CC-BY-4.0', 'reference')",
                    (source_id(number, kind), owner, name, name),
                )
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY images ({_COLUMNS}) FROM STDIN") as copy:
                for i in range(len(gallery.ids)):
                    copy.write_row(_row(gallery, cells, i, owners))
                    if i and i % _TELL == 0:
                        say(f"postgresql: {i} rows")
            with cursor.copy(
                "COPY embeddings (image_id, contract, channel, organization_id, vector) FROM STDIN"
            ) as copy:
                for i, image in enumerate(gallery.ids):
                    if i and i % _TELL == 0:
                        say(f"postgresql: {i} vectors")
                    owner = owners[gallery.organization[i]]
                    copy.write_row(
                        (image, contract, "image", owner, pack_vector(gallery.vectors[i]))
                    )
                    if gps is not None:
                        copy.write_row((image, contract, "gps", owner, pack_vector(gps[i])))
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


def _row(gallery: Gallery, cells: np.ndarray, i: int, owners: tuple[UUID, ...]) -> tuple:
    organization, kind = int(gallery.organization[i]), int(gallery.kind[i])
    lat, lon = (float(degree) for degree in gallery.positions[i])
    # Street views of a place are one sequence; photos have none.
    sequence = f"drive-{gallery.place[i]}" if SOURCE_KINDS[kind] == "street" else None
    return (
        gallery.ids[i],
        owners[organization],
        source_id(organization, kind),
        SOURCE_KINDS[kind],
        f"{i:07d}.jpg",
        sequence,
        f"SRID=4326;POINT({lon!r} {lat!r})",
        gallery.captured_at[i],
        "manifest",
        sha256(i.to_bytes(8, "big")).digest(),
        50_000,
        "jpeg",
        640,
        480,
        f"file:///gallery/{i:07d}.jpg",
        *(int(cell) for cell in cells[i]),
        "indexed",
        1,
    )
