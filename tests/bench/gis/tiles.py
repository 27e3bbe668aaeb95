"""Vector tiles at zooms 0 to 16: time and size of each layer, next to bare SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sqlalchemy import Connection

from bench.gis.gallery import Rows
from bench.gis.measuring import (
    Call,
    Figures,
    Gallery,
    explain_statements,
    summarize,
    time_calls,
)
from pinpoint.geo.map_tiles import MapTile
from pinpoint.records import ImageFilter
from pinpoint.store.gallery.cell_tiles import build_coverage_tile, cell_resolution
from pinpoint.store.gallery.image_tiles import MAX_TILE_POINTS, POINT_ZOOM, build_image_tile
from pinpoint.store.gallery.panoramax_tiles import build_map_tile
from vector_tiles import tile_of

TARGET_P95_MS, TARGET_BYTES = 120.0, 500_000
ZOOMS = range(17)
TILES_PER_ZOOM = 10
_EXPLAINED_ZOOMS = (0, 6, 11, 15)

Tile = tuple[int, int, int]
BUILDERS: dict[str, Callable[[Connection, Tile], bytes]] = {
    "images": lambda connection, tile: build_image_tile(connection, *tile, ImageFilter()),
    "coverage": lambda connection, tile: build_coverage_tile(
        connection, "coverage", MapTile(*tile), ImageFilter()
    ),
    "gaps": lambda connection, tile: build_coverage_tile(
        connection, "gaps", MapTile(*tile), ImageFilter()
    ),
    "panoramax map": lambda connection, tile: build_map_tile(connection, *tile),
}


def _bind_tile(
    build: Callable[[Connection, Tile], bytes], tile: Tile
) -> Callable[[Connection], bytes]:
    """Bind the tile of a statement."""
    return lambda connection: build(connection, tile)


def measure(gallery: Gallery, rows: Rows) -> Figures:
    """Tiles around images drawn at random, so that dense ones are frequent."""
    figures: Figures = {}
    for name, build in BUILDERS.items():
        pooled: dict[str, list[tuple[float, int]]] = {"product": [], "bare": []}
        by_zoom = {}
        for zoom in ZOOMS:
            tiles = choose_tiles(rows, zoom)
            samples = {
                "product": time_calls([_make_call(gallery, build, tile) for tile in tiles]),
                "bare": time_calls([_make_bare_call(gallery, name, tile) for tile in tiles]),
            }
            by_zoom[zoom] = {side: summarize(samples[side]) for side in samples}
            for side, values in samples.items():
                pooled[side] += values
            if zoom in _EXPLAINED_ZOOMS:
                explain_statements(
                    gallery,
                    f"tile {name} zoom {zoom}",
                    _bind_tile(build, tiles[0]),
                )
        figures[name] = {
            **{side: summarize(values) for side, values in pooled.items()},
            "target_p95_ms": TARGET_P95_MS,
            "target_largest": TARGET_BYTES,
            "by_zoom": by_zoom,
        }
    return figures


def choose_tiles(rows: Rows, zoom: int, count: int = TILES_PER_ZOOM) -> Sequence[Tile]:
    """Tiles with images."""
    rng = np.random.default_rng(zoom)
    positions = rows.positions[rng.choice(np.flatnonzero(~rows.is_other), count)]
    tiles = [tile_of(lat, lon, zoom) for lat, lon in positions.tolist()]
    return [(zoom, *tile) for tile in tiles if tile is not None]


def _make_call(gallery: Gallery, build: Callable[[Connection, Tile], bytes], tile: Tile) -> Call:
    def call() -> int:
        with gallery.read() as connection:
            return len(build(connection, tile))

    return call


def _make_bare_call(gallery: Gallery, name: str, tile: Tile) -> Call:
    """The least that a tile needs: one statement on the table, without attributes and views."""
    points = tile[0] >= POINT_ZOOM if name == "images" else name == "panoramax map" and tile[0] > 6
    statement = _BARE_POINTS if points else _BARE_CELLS
    values = {
        "org": gallery.organization_id,
        "zoom": tile[0],
        "x": tile[1],
        "y": tile[2],
        "limit": MAX_TILE_POINTS,
        "resolution": max(3, cell_resolution(tile[0])),
    }

    def call() -> int:
        (row,) = gallery.bare.execute(statement, values).fetchall()
        return len(row[0])

    return call


_BARE_POINTS = """
SELECT ST_AsMVT(t, 'images', 4096, 'geometry') FROM (
    SELECT ST_AsMVTGeom(ST_Transform(geom, 3857), ST_TileEnvelope(%(zoom)s, %(x)s, %(y)s))
               AS geometry, id::text AS id
      FROM images
     WHERE organization_id = %(org)s AND state IN ('pending', 'indexed')
       AND geom && ST_Transform(ST_TileEnvelope(%(zoom)s, %(x)s, %(y)s), 4326)
     LIMIT %(limit)s) t
"""
_BARE_CELLS = """
SELECT ST_AsMVT(t, 'cells', 4096, 'geometry') FROM (
    SELECT ST_AsMVTGeom(ST_Transform(geom, 3857), ST_TileEnvelope(%(zoom)s, %(x)s, %(y)s))
               AS geometry, cell, images
      FROM cell_stats
     WHERE organization_id = %(org)s AND resolution = %(resolution)s AND abs(ST_Y(geom)) < 85
       AND geom && ST_Transform(ST_TileEnvelope(%(zoom)s, %(x)s, %(y)s), 4326)) t
"""
