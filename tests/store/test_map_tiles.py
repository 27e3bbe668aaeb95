"""Vector tiles of 5,000 images equal slow loops, at the poles, at ±180° and at equal positions."""

from __future__ import annotations

import dataclasses
import math
import random
import uuid
from collections import defaultdict
from datetime import timedelta
from types import SimpleNamespace

import h3
import numpy as np
import pytest
import shapely
from sqlalchemy import text

from pinpoint.errors import NotFoundError
from pinpoint.geo.cell_outlines import outline_cells
from pinpoint.geo.map_tiles import MapTile, to_web_mercator
from pinpoint.records import ImageFilter, Point
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.gallery import cell_tiles, image_tiles, panoramax_tiles, tile_encoding
from store.spatial_gallery import START, add_organization, draw_rows, insert_rows
from vector_tiles import (
    buffer_box,
    places_in_tile,
    project_outline,
    read_tile,
    tile_of,
)

COUNT = 4_700
WALKS = (("paris", 48.85, 2.35, 20.0), ("fiji", -17.0, 179.995, 20.0), ("far", 0.0, 0.0, 400.0))
"""Name, start, and mean step in meters of the walks; the second one crosses the meridian 180."""
TILES_PER_ZOOM = 5


@pytest.fixture(scope="module")
def gallery(postgres, server_paths):
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


@pytest.mark.parametrize("zoom", [11, 16, 22])
def test_image_tile_at_high_zoom_has_exactly_its_images(gallery, zoom):
    by_id = {str(row.id): row for row in gallery.rows}
    for tile in choose_tiles(gallery.rows, zoom):
        features = gallery.build(image_tiles.build_image_tile, *tile, ImageFilter()).get(
            "images", []
        )
        check_points(features, gallery.rows, tile)
        for feature in features:
            row = by_id[feature.attributes["id"]]
            heading = {} if row.heading_deg is None else {"heading_deg": row.heading_deg}
            time = {} if row.captured_at is None else {"captured_at": format_time(row.captured_at)}
            assert feature.attributes == {
                "id": str(row.id),
                "source": row.source,
                "source_kind": row.source_kind,
                "license": row.license,
                **heading,
                **time,
            }


def format_time(time):
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def group_cells(rows, resolution):
    """Images by parent of their cell of resolution 7."""
    cells = defaultdict(list)
    for row in rows:
        cells[h3.cell_to_parent(h3.int_to_str(row.cell_r7), resolution)].append(row)
    return cells


def reach_tile(cell, tile, margin):
    """Whether a cell is in a tile with its buffer, larger by a margin."""
    outline = np.array(h3.cell_to_boundary(cell))
    outline[:, 1] = np.unwrap(outline[:, 1], period=360.0)
    area = buffer_box(margin)
    return any(
        shapely.intersects(project_outline(outline, tile, turn), area) for turn in (-1, 0, 1)
    )


def check_cells(features, cells, tile, describe):
    """A layer has the cells of a tile and its buffer; `describe` gives the expected attributes."""
    actual = {feature.attributes["cell"]: feature for feature in features}
    assert len(actual) == len(features)
    assert set(actual) <= set(cells)
    for cell, members in cells.items():
        if reach_tile(cell, tile, -2.0):
            assert cell in actual, cell
        if cell in actual:
            assert reach_tile(cell, tile, 2.0), cell
            assert actual[cell].attributes == {"cell": cell, **describe(members)}


def describe_cell(members):
    """Attributes of a cell with these images."""
    times = sorted(row.captured_at for row in members if row.captured_at is not None)
    first_and_last = {}
    if times:
        first_and_last = {
            "first_captured_at": format_time(times[0]),
            "last_captured_at": format_time(times[-1]),
        }
    licenses = "; ".join(sorted({row.license for row in members}))
    return {"images": len(members), "license": licenses, **first_and_last}


@pytest.mark.parametrize("zoom", [0, 1, 5, 10])
def test_image_tile_at_low_zoom_counts_the_images_of_its_cells(gallery, zoom):
    resolution = cell_tiles.cell_resolution(zoom)
    photos = [row for row in gallery.rows if row.source_kind == "photo"]
    early = [row for row in gallery.rows if row.captured_at and row.captured_at < LIMIT]
    galleries = (
        (ImageFilter(), gallery.rows),
        (ImageFilter(source_kinds=("photo",)), photos),
        (ImageFilter(captured_before=LIMIT), early),
    )
    for tile in choose_tiles(gallery.rows, zoom, 2):
        for image_filter, rows in galleries:
            layers = gallery.build(image_tiles.build_image_tile, *tile, image_filter)
            cells = group_cells(rows, resolution)
            check_cells(layers.get("images", []), cells, tile, describe_cell)


LIMIT = START + timedelta(days=700)


@pytest.mark.parametrize("zoom", [0, 4, 14])
def test_coverage_tile_has_the_cells_of_each_kind_and_of_gaps(gallery, zoom):
    resolution = cell_tiles.cell_resolution(zoom)
    cells = group_cells(gallery.rows, resolution)
    gaps = {
        cell: members
        for cell, members in cells.items()
        if len({row.source_kind for row in members}) == 1
    }
    for tile in choose_tiles(gallery.rows, zoom, 2):
        layers = gallery.build(cell_tiles.build_coverage_tile, "gaps", *tile)
        check_cells(
            layers.get("gaps", []),
            gaps,
            tile,
            lambda members: {
                "source_kind": members[0].source_kind,
                **describe_cell(members),
            },
        )
        features = gallery.build(cell_tiles.build_coverage_tile, "coverage", *tile).get(
            "coverage", []
        )
        for kind in ("photo", "street"):
            of_kind = group_cells([r for r in gallery.rows if r.source_kind == kind], resolution)
            check_cells(
                [f for f in features if f.attributes["source_kind"] == kind],
                of_kind,
                tile,
                lambda members: {
                    "source_kind": members[0].source_kind,
                    **describe_cell(members),
                },
            )


def find_pictures(rows):
    """Images without the faces of panoramas but the first one of each."""
    faces, pictures = defaultdict(list), []
    for row in rows:
        if row.cubemap_face is None:
            pictures.append(row)
        else:
            faces[row.source_id, row.external_id].append(row)
    for panorama in faces.values():
        pictures.append(min(panorama, key=lambda r: (r.cubemap_face != "front", r.cubemap_face)))
    return pictures


def in_capture_order(pictures):
    return sorted(
        pictures,
        key=lambda r: (r.captured_at is None, r.captured_at, r.external_id.encode(), r.id),
    )


@pytest.mark.parametrize("zoom", [15, 18])
def test_map_tile_has_the_pictures_of_its_area(gallery, zoom):
    pictures = find_pictures(gallery.rows)
    assert len(pictures) < len(gallery.rows) - 100
    by_id = {str(row.id): row for row in pictures}
    types = set()
    for tile in choose_tiles(pictures, zoom):
        features = gallery.build(panoramax_tiles.build_map_tile, *tile).get("pictures", [])
        check_points(features, pictures, tile)
        for feature in features:
            row = by_id[feature.attributes["id"]]
            collection = str(row.collection_id)
            assert feature.attributes["account_id"] == str(row.source_id)
            assert feature.attributes["first_sequence"] == collection
            assert feature.attributes["sequences"] == f'["{collection}"]'
            assert feature.attributes["license"] == row.license
            types.add((row.cubemap_face is not None, feature.attributes["type"]))
    assert types == {(True, "equirectangular"), (False, "flat")}


def distance_m(a, b):
    """Great-circle distance, meters."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    dlon = math.radians(b.lon - a.lon)
    h = math.sin((lat_b - lat_a) / 2) ** 2
    h += math.cos(lat_a) * math.cos(lat_b) * math.sin(dlon / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(h))


def draw_lines(pictures, tile):
    """The lines of one collection in a tile: all its pictures, apart where a step is too long."""
    ordered = in_capture_order(pictures)
    places, _ = places_in_tile(np.array([(row.lat, row.lon) for row in ordered]), tile)
    parts = []
    for number, place in enumerate(places.tolist()):
        step_m = distance_m(ordered[number - 1], ordered[number]) if number else math.inf
        if ordered[number].sequence is None or step_m > panoramax_tiles.MAX_STEP_M:
            parts.append([])
        parts[-1].append(place)
    # Each line ends with a step of one unit.
    lines = [shapely.LineString([*part, (part[-1][0] + 1.0, part[-1][1])]) for part in parts]
    return shapely.MultiLineString(lines)


@pytest.mark.parametrize("zoom", [6, 14, 17])
def test_map_tile_has_the_sequences_of_its_area(gallery, zoom):
    collections = defaultdict(list)
    for picture in find_pictures(gallery.rows):
        collections[str(picture.collection_id)].append(picture)
    walks = in_capture_order([row for row in gallery.rows if row.sequence])
    pictures = find_pictures(gallery.rows)
    ids = [str(picture.collection_id) for picture in pictures]
    positions = np.array([(picture.lat, picture.lon) for picture in pictures])
    lengths = defaultdict(float)
    for x, y in sorted({tile_of(row.lat, row.lon, zoom) for row in walks[::25]}):
        tile = (zoom, x, y)
        features = gallery.build(panoramax_tiles.build_map_tile, *tile).get("sequences", [])
        actual = {feature.attributes["id"]: feature.geometry for feature in features}
        assert len(actual) == len(features)
        assert set(actual) <= set(collections)
        # Far more than the longest step.
        _, outside = places_in_tile(positions, tile)
        near = {ids[number] for number in np.flatnonzero(outside < 20_000.0)}
        assert set(actual) <= near
        for collection in near:
            pictures = collections[collection]
            expected = draw_lines(pictures, tile)
            inner = shapely.intersection(expected, buffer_box(-3.0))
            assert inner.is_empty or collection in actual
            if collection in actual:
                assert shapely.within(actual[collection], expected.buffer(2.5))
                assert inner.is_empty or shapely.within(inner, actual[collection].buffer(2.5))
                lengths[pictures[0].sequence] += actual[collection].length
    assert lengths["paris"] > 1.0
    assert lengths["fiji"] > 1.0


def test_map_tile_grid_counts_pictures(gallery):
    pictures = find_pictures(gallery.rows)
    panoramas = sum(picture.cubemap_face == "front" for picture in pictures)
    faces = sum(row.cubemap_face is not None for row in gallery.rows)
    for zoom in (0, 3):
        layers = [
            gallery.build(panoramax_tiles.build_map_tile, zoom, x, y).get("grid", [])
            for x, y in {tile_of(row.lat, row.lon, zoom) for row in gallery.rows} - {None}
        ]
        cells = {f.attributes["id"]: f.attributes for features in layers for f in features}
        # Cells beyond 85.05 degrees are in no tile.
        polar = group_cells(
            [row for row in gallery.rows if abs(row.lat) > 84.0], cell_tiles.cell_resolution(zoom)
        )
        near_poles = sum(len(members) for members in polar.values())
        total = sum(cell["nb_360_pictures"] for cell in cells.values())
        assert panoramas - near_poles <= total <= panoramas
        flat = sum(cell["nb_flat_pictures"] for cell in cells.values())
        assert len(gallery.rows) - faces - near_poles <= flat <= len(gallery.rows) - faces
        for cell in cells.values():
            assert cell["nb_pictures"] == cell["nb_360_pictures"] + cell["nb_flat_pictures"]
            assert cell["coef"] == pytest.approx(min(1, math.log10(1 + cell["nb_pictures"]) / 5))


def test_image_tile_with_too_many_images_has_those_with_the_lowest_ids(gallery, monkeypatch):
    tile = (11, *tile_of(48.85, 2.35, 11))
    build = (image_tiles.build_image_tile, *tile, ImageFilter())
    complete = sorted(f.attributes["id"] for f in gallery.build(*build)["images"])
    assert len(complete) > 100
    monkeypatch.setattr(image_tiles, "MAX_POINTS", 50)
    features = gallery.build(*build)["images"]
    assert sorted(f.attributes["id"] for f in features) == complete[:50]
    left_out = {f.attributes["images_left_out"] for f in features}
    assert left_out == {len(complete) - 50}
    monkeypatch.setattr(tile_encoding, "MAX_TILE_BYTES", 2_000)
    few = gallery.build(*build)["images"]
    assert 0 < len(few) < 50
    assert sorted(f.attributes["id"] for f in few) == complete[: len(few)]
    assert {f.attributes["images_left_out"] for f in few} == {len(complete) - len(few)}


def test_cell_tile_of_too_many_bytes_has_coarser_cells(gallery, monkeypatch):
    fine = gallery.build(image_tiles.build_image_tile, 3, 4, 2, ImageFilter())["images"]
    monkeypatch.setattr(cell_tiles, "MAX_TILE_BYTES", 600)
    coarse = gallery.build(image_tiles.build_image_tile, 3, 4, 2, ImageFilter())["images"]
    assert 0 < len(coarse) < len(fine)
    resolutions = {h3.get_resolution(f.attributes["cell"]) for f in coarse}
    assert max(resolutions) < cell_tiles.cell_resolution(3)


def test_outline_of_pole_cell_reaches_the_edge_of_the_map():
    for resolution in (0, 1):
        for lat in (89.89, -89.89):
            cell = h3.str_to_int(h3.latlng_to_cell(math.copysign(90.0, lat), 0.0, resolution))
            (outline,) = outline_cells([cell], MapTile(0, 0, 0))
            for lon in (-179.0, -60.0, 60.0, 179.0):
                (x_y,) = to_web_mercator(np.array([[lat, lon]]))
                assert shapely.contains_xy(outline, *x_y)


@pytest.mark.parametrize("tile", [(-1, 0, 0), (0, 1, 0), (3, 8, 0), (3, 0, -1), (23, 0, 0)])
def test_tile_outside_the_map_is_not_found(gallery, tile):
    for build in (
        lambda: gallery.build(image_tiles.build_image_tile, *tile, ImageFilter()),
        lambda: gallery.build(cell_tiles.build_coverage_tile, "gaps", *tile),
        lambda: gallery.build(panoramax_tiles.build_map_tile, *tile),
    ):
        with pytest.raises(NotFoundError, match="there is no tile"):
            build()
