"""Neighbors of points, and the coverage of the world, over HTTP and in the database."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.gis.gallery import Rows
from bench.gis.measuring import (
    Call,
    Figures,
    Gallery,
    call_bare,
    compare,
    explain_statements,
    get,
)
from pinpoint.records import CellFilter, Point
from pinpoint.store.gallery.coverage_cells import read_coverage_cells
from pinpoint.store.gallery.point_neighbors import read_neighbors

RADIUS_M, PER_KIND = 1_000.0, 5
TARGETS_MS = {64: 15.0, 10_000: 3_000.0}
"""Number of points -> target of p95."""
TARGET_COVERAGE_P95_MS = 300.0
_REPETITIONS = {64: 30, 10_000: 3}
_MAX_CELLS = 100_000


def measure_neighbors(gallery: Gallery, rows: Rows) -> Figures:
    """Points near images drawn at random; `statement` is the product without HTTP."""
    rng = np.random.default_rng(3)
    figures: Figures = {}
    for num_points, target_ms in TARGETS_MS.items():
        batches = []
        for _ in range(_REPETITIONS[num_points]):
            chosen = rows.positions[rng.choice(len(rows.positions), num_points)]
            batches.append(np.clip(chosen + rng.normal(scale=0.002, size=chosen.shape), -89, 89))
        statements = [_read_points(gallery, batch) for batch in batches]
        values = [_bare_values(gallery, batch) for batch in batches]
        figures[str(num_points)] = compare(
            statements
            if gallery.http is None
            else [_post_points(gallery, batch) for batch in batches],
            [call_bare(gallery, _NEAREST, each) for each in values],
            target_ms,
        )
        if gallery.http is not None:
            figures[str(num_points)]["statement"] = compare(statements, statements[:1], target_ms)[
                "product"
            ]
        points = _to_points(batches[0])
        explain_statements(
            gallery,
            f"neighbors of {num_points} points",
            partial(read_neighbors, points=points, radius_m=RADIUS_M, per_kind=PER_KIND),
        )
    return figures


def measure_coverage(gallery: Gallery) -> Figures:
    """All cells of resolution 3."""

    def read() -> int:
        with gallery.read() as connection:
            return len(read_coverage_cells(connection, CellFilter(resolution=3), limit=_MAX_CELLS))

    def request() -> int:
        cells, parameters = 0, {"resolution": 3, "limit": 10_000}
        while True:
            page = get(gallery, "/v1/coverage", **parameters).json()
            cells += len(page["cells"])
            if not page.get("next_cursor"):
                return cells
            parameters["cursor"] = page["next_cursor"]

    values = {"org": gallery.organization_id}
    call = read if gallery.http is None else request
    figures = compare(
        [call] * 10, [call_bare(gallery, _COVERAGE, values)] * 10, TARGET_COVERAGE_P95_MS
    )
    explain_statements(
        gallery,
        "coverage of the world",
        lambda connection: read_coverage_cells(
            connection, CellFilter(resolution=3), limit=_MAX_CELLS
        ),
    )
    return figures


def _to_points(batch: np.ndarray) -> list[Point]:
    return [Point(lat, lon) for lat, lon in batch.tolist()]


def _read_points(gallery: Gallery, batch: np.ndarray) -> Call:
    points = _to_points(batch)

    def call() -> int:
        with gallery.read() as connection:
            near = read_neighbors(connection, points, radius_m=RADIUS_M, per_kind=PER_KIND)
        return sum(len(images) for images in near)

    return call


def _post_points(gallery: Gallery, batch: np.ndarray) -> Call:
    body = {
        "points": [{"lat": lat, "lon": lon} for lat, lon in batch.tolist()],
        "radius_m": RADIUS_M,
        "limit_per_kind": PER_KIND,
    }

    def call() -> int:
        if gallery.http is None:
            raise RuntimeError("this part needs the API")
        answer = gallery.http.post("/v1/neighbors", json=body)
        answer.raise_for_status()
        return len(answer.content)

    return call


def _bare_values(gallery: Gallery, batch: np.ndarray) -> dict[str, object]:
    return {
        "org": gallery.organization_id,
        "lats": batch[:, 0].tolist(),
        "lons": batch[:, 1].tolist(),
        "radius": RADIUS_M,
        "limit": PER_KIND,
    }


_NEAREST = """
SELECT p.n, near.id, near.m
  FROM unnest(%(lats)s::float8[], %(lons)s::float8[]) WITH ORDINALITY AS p(lat, lon, n)
 CROSS JOIN LATERAL (SELECT ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326)::geography AS geog) q
 CROSS JOIN unnest(ARRAY['photo', 'street']) AS k(kind)
 CROSS JOIN LATERAL (
    SELECT i.id, i.geog <-> q.geog AS m FROM images i
     WHERE i.organization_id = %(org)s AND i.state = 'indexed'
       AND ((k.kind = 'photo' AND i.source_kind = 'photo')
            OR (k.kind = 'street' AND i.source_kind = 'street'))
       AND ST_DWithin(i.geog, q.geog, %(radius)s, false)
     ORDER BY i.geog <-> q.geog LIMIT %(limit)s) near
"""
_COVERAGE = """
SELECT cell, sum(images), min(first_captured_at), max(last_captured_at) FROM cell_stats
 WHERE organization_id = %(org)s AND resolution = 3 GROUP BY cell
"""
