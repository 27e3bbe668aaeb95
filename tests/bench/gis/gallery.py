"""A gallery of image rows without files for the GIS measurements.

Real positions times a jitter. Half of the images are photos, scattered around a position; the other
half are street views, ten pictures along a line. One image of twenty belongs to another
organization, at the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

import numpy as np
import psycopg

from bench.stack import Say
from pinpoint.geo.cells import cell_ids
from shared_data import shared_data

OTHER_ORGANIZATION = UUID(int=7 << 100)
OTHER_SHARE = 20
PER_POSITION = 10
"""Images of one position, which are one sequence if they are street views."""
_SCATTER_M, _STEP_M = 500.0, 15.0
_METERS_PER_DEGREE = 111_195.0
_SOURCES = (
    ("photos a", "photo", "CC-BY-4.0", "Contributors of photos a"),
    ("photos b", "photo", "CC0-1.0", ""),
    ("street a", "street", "Etalab-2.0", "Contributors of street a"),
    ("street b", "street", "CC-BY-SA-4.0", "Contributors of street b"),
)
_CREATORS, _CAMERAS = 5_000, 50


@dataclass(frozen=True)
class Rows:
    """Columns of the rows, one entry for each image."""

    positions: np.ndarray
    """`[N, 2]` latitude and longitude, degrees."""
    heading: np.ndarray
    """`[N]` degrees; NaN for photos."""
    source: np.ndarray
    """`[N]` index in the sources of the organization."""
    is_other: np.ndarray
    """`[N]` whether the other organization owns the image."""


def make_rows(num_rows: int, seed: int = 1) -> Rows:
    """Draw the rows; the positions of the file are repeated in order."""
    rng = np.random.default_rng(seed)
    path = shared_data() / "gps" / "coordinates_100K.csv"
    real = np.loadtxt(path, delimiter=",", skiprows=1)
    group = np.arange(num_rows) // PER_POSITION
    step = np.arange(num_rows) % PER_POSITION
    centers = real[group % len(real)]
    source = rng.integers(0, len(_SOURCES), group[-1] + 1)[group]
    is_street = source >= 2
    heading = rng.uniform(0.0, 360.0, group[-1] + 1)[group]
    along = (step * _STEP_M)[:, None] * np.column_stack(
        [np.cos(np.radians(heading)), np.sin(np.radians(heading))]
    )
    scatter = rng.normal(scale=_SCATTER_M, size=(num_rows, 2))
    meters = np.where(is_street[:, None], along, scatter)
    lat = np.clip(centers[:, 0] + meters[:, 0] / _METERS_PER_DEGREE, -90.0, 90.0)
    shrink = np.maximum(np.cos(np.radians(lat)), 1e-3)
    lon = centers[:, 1] + meters[:, 1] / _METERS_PER_DEGREE / shrink
    return Rows(
        positions=np.column_stack([lat, (lon + 180.0) % 360.0 - 180.0]).round(7),
        heading=np.where(is_street, heading, np.nan),
        source=source,
        is_other=rng.integers(0, OTHER_SHARE, group[-1] + 1)[group] == 0,
    )


def load_rows(database_url: str, organization_id: UUID, rows: Rows, say: Say) -> None:
    """Write the rows with COPY, without triggers, and compute the counters once."""
    begun = perf_counter()
    cells = cell_ids(rows.positions)
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute("SET search_path = pinpoint, public")
        connection.execute(
            "INSERT INTO organizations (id, name) VALUES (%s, 'other')", (OTHER_ORGANIZATION,)
        )
        for organization in (organization_id, OTHER_ORGANIZATION):
            for name, kind, license_id, attribution in _SOURCES:
                connection.execute(
                    "INSERT INTO sources (id, organization_id, name, kind, license, attribution,"
                    " originals) VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, 'reference')",
                    (organization, name, kind, license_id, attribution),
                )
        connection.execute(_STAGING)
        with connection.cursor() as cursor, cursor.copy("COPY staging FROM STDIN") as copy:
            for number, (position, heading, source, is_other, cell) in enumerate(
                zip(
                    rows.positions.tolist(),
                    rows.heading.tolist(),
                    rows.source.tolist(),
                    rows.is_other.tolist(),
                    cells.tolist(),
                    strict=True,
                )
            ):
                owner = OTHER_ORGANIZATION if is_other else organization_id
                direction = None if np.isnan(heading) else heading
                name = _SOURCES[source][0]
                copy.write_row((number, owner, name, *position, direction, *cell))
        say(f"positions copied after {perf_counter() - begun:.0f} s")
        connection.execute("ALTER TABLE images DISABLE TRIGGER USER")
        connection.execute(_INSERT, (_CREATORS, _CAMERAS))
        connection.execute("ALTER TABLE images ENABLE TRIGGER USER")
        say(f"rows inserted after {perf_counter() - begun:.0f} s")
        connection.execute(_COUNT)
        connection.commit()
        say(f"counters computed after {perf_counter() - begun:.0f} s")
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
    say(f"gallery ready after {perf_counter() - begun:.0f} s")


_STAGING = """
CREATE TEMP TABLE staging (number integer, organization_id uuid, source text, lat float8,
    lon float8, heading_deg float8, cell_r5 bigint, cell_r7 bigint, cell_r9 bigint) ON COMMIT DROP
"""
# Ids are random as those of the ingest, and the same in each run.
_INSERT = """
INSERT INTO images (id, organization_id, source_id, source_kind, external_id, geog, captured_at,
    heading_deg, field_of_view_deg, camera, creator, sequence, position_source, time_source, sha256,
    size_bytes, format, width_px, height_px, uri, cell_r5, cell_r7, cell_r9, attributes, state,
    version)
SELECT md5('image ' || t.number)::uuid, t.organization_id, s.id, s.kind,
       to_char(t.number / 1000, 'FM0000') || '/' || to_char(t.number, 'FM0000000') || '.jpg',
       ST_SetSRID(ST_MakePoint(t.lon, t.lat), 4326)::geography,
       timestamptz '2015-01-01' + make_interval(secs => t.number * 300.0), t.heading_deg,
       CASE WHEN s.kind = 'street' THEN 90.0 END,
       'Camera ' || t.number / 10 %% %s, 'creator ' || t.number / 7 %% %s,
       CASE WHEN s.kind = 'street' THEN 'drive-' || t.number / 10 END,
       'manifest', 'manifest', decode(md5(t.number::text), 'hex'), 50000 + t.number %% 100000,
       'jpeg', 1920, 1080, 'file:///gallery/' || t.number || '.jpg', t.cell_r5, t.cell_r7,
       t.cell_r9, jsonb_build_object('weather', (ARRAY['dry', 'wet', 'snow'])[1 + t.number %% 3]),
       'indexed', 1
  FROM staging t
  JOIN sources s ON s.organization_id = t.organization_id AND s.name = t.source
"""
_COUNT = """
SELECT recount(array_agg(cell_r7), array_agg(source_id), array_agg(organization_id))
  FROM (SELECT DISTINCT cell_r7, source_id, organization_id FROM images) t
"""
