"""A gallery of 5,000 images for vector tiles: walks, panoramas, poles, ±180°, equal positions."""

from __future__ import annotations

import dataclasses
import math
import random
import uuid
from collections import defaultdict
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import h3
import numpy as np
from sqlalchemy import text

from pinpoint.records import Point
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from store.spatial_gallery import START, add_organization, draw_rows, insert_rows
from vector_tiles import places_in_tile, read_tile, tile_of

COUNT = 4_700
WALKS = (("paris", 48.85, 2.35, 20.0), ("fiji", -17.0, 179.995, 20.0), ("far", 0.0, 0.0, 400.0))
"""Name, start, and mean step in meters of the walks; the second one crosses the meridian 180."""
TILES_PER_ZOOM = 5


@contextmanager
def open_tile_gallery(postgres, server_paths):
    """One organization with 5,000 images, among them three walks and panoramas."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    owner = Transactions(owner_engine(server_paths.owner_url(name)))
    as_api = Transactions(api_engine(server_paths.api_url(name), own_login=True))
    rng = random.Random(5)
    with owner.begin() as unit:
        org, sources = add_organization(unit.connection, "acme")
        other, other_sources = add_organization(unit.connection, "other")
        insert_rows(unit.connection, org, draw_rows(rng, sources, COUNT))
        insert_rows(unit.connection, other, draw_rows(rng, other_sources, 300))
        for walk in WALKS:
            rows = draw_walk(rng, sources[2], *walk[1:])
            insert_rows(unit.connection, org, rows)
            unit.connection.execute(
                text("UPDATE images SET sequence = :name WHERE id = ANY(:ids)"),
                {"name": walk[0], "ids": [row.id for row in rows]},
            )
        unit.connection.execute(text(_FACES), {"org": org})
        rows = unit.connection.execute(text(_READ), {"org": org}).all()

    def build(function, *arguments):
        with as_api.begin(org, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA) as unit:
            return read_tile(function(unit.connection, *arguments))

    yield SimpleNamespace(rows=rows, build=build, owner=owner, as_api=as_api, org=org)
    owner.close()
    as_api.close()
    postgres.drop(name)


# Each image with these ids becomes a face of a panorama, in addition to the three other faces.
_FACES = """
WITH faces AS (
    SELECT i.*, f.face, f.number FROM images i
      CROSS JOIN (VALUES ('back', 0), ('front', 1), ('left', 2), ('right', 3)) AS f(face, number)
     WHERE i.organization_id = :org AND i.id::text LIKE '0%' AND i.source_kind = 'street')
INSERT INTO images (id, organization_id, source_id, source_kind, external_id, cubemap_face, geog,
    captured_at, sequence, position_source, sha256, size_bytes, format, width_px, height_px,
    cell_r5, cell_r7, cell_r9, state, version)
SELECT md5(id || face)::uuid, organization_id, source_id, source_kind, 'panorama ' || external_id,
       face, geog, captured_at, sequence, 'exif', 'x', 1, 'jpeg', 3600, 1800, cell_r5, cell_r7,
       cell_r9, CASE WHEN face = 'front' AND id::text LIKE '01%' THEN 'deleted' ELSE state END, 1
  FROM faces
"""
_READ = """
SELECT i.id, i.source_id, s.name AS source, i.source_kind, i.external_id, i.cubemap_face,
       i.sequence, i.collection_id, i.captured_at, i.heading_deg, i.cell_r7, s.license,
       ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon
  FROM images i JOIN sources s ON s.id = i.source_id
 WHERE i.organization_id = :org AND i.state IN ('pending', 'indexed')
"""


def draw_walk(rng, source, lat, lon, step_m):
    """100 street views in a random walk, one per second, one position twice."""
    rows = []
    for row in draw_rows(rng, [source], 100):
        rows.append(
            dataclasses.replace(
                row,
                point=Point(lat, (lon + 180.0) % 360.0 - 180.0),
                state="indexed",
                captured_at=START + timedelta(seconds=len(rows)),
            )
        )
        if len(rows) % 50:
            lat += rng.gauss(0.0, step_m) / 111_195.0
            lon += rng.expovariate(1.0) * step_m / 111_195.0
    return rows


def choose_tiles(rows, zoom, count=TILES_PER_ZOOM):
    """Tiles with images and neighbors of such tiles, among them some at the edges of the map."""
    side = 2**zoom
    tiles = {tile_of(row.lat, row.lon, zoom) for row in rows} - {None}
    edges = [tile for tile in tiles if tile[0] in (0, side - 1)]
    rng = random.Random(zoom)
    chosen = set(rng.sample(sorted(tiles), min(count, len(tiles))))
    chosen |= set(rng.sample(sorted(edges), min(count, len(edges))))
    chosen |= {((x + 1) % side, y) for x, y in sorted(chosen)[:2]}
    return [(zoom, x, y) for x, y in sorted(chosen)]


def check_points(features, rows, tile):
    """A layer has exactly the images of a tile and its buffer, at their places."""
    actual = {feature.attributes["id"]: feature.geometry for feature in features}
    assert len(actual) == len(features)
    ids = [str(row.id) for row in rows]
    places, outside = places_in_tile(np.array([(row.lat, row.lon) for row in rows]), tile)
    assert set(actual) >= {ids[n] for n in np.flatnonzero(outside < -1.0)}
    assert set(actual) <= {ids[n] for n in np.flatnonzero(outside < 1.0)}
    for number in np.flatnonzero(outside < -1.0):
        point = actual[ids[number]]
        assert math.dist(places[number], (point.x, point.y)) <= 1.0


def format_time(time):
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def group_cells(rows, resolution):
    """Images by parent of their cell of resolution 7."""
    cells = defaultdict(list)
    for row in rows:
        cells[h3.cell_to_parent(h3.int_to_str(row.cell_r7), resolution)].append(row)
    return cells
