"""Tiles of the Panoramax map equal slow loops over 5,000 images."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import shapely

from pinpoint.store.gallery import cell_tiles, panoramax_tiles
from store.tile_gallery import check_points, choose_tiles, group_cells
from vector_tiles import buffer_box, places_in_tile, tile_of


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
def test_map_tile_has_the_pictures_of_its_area(tile_gallery, zoom):
    pictures = find_pictures(tile_gallery.rows)
    assert len(pictures) < len(tile_gallery.rows) - 100
    by_id = {str(row.id): row for row in pictures}
    types = set()
    for tile in choose_tiles(pictures, zoom):
        features = tile_gallery.build(panoramax_tiles.build_map_tile, *tile).get("pictures", [])
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
def test_map_tile_has_the_sequences_of_its_area(tile_gallery, zoom):
    collections = defaultdict(list)
    for picture in find_pictures(tile_gallery.rows):
        collections[str(picture.collection_id)].append(picture)
    walks = in_capture_order([row for row in tile_gallery.rows if row.sequence])
    pictures = find_pictures(tile_gallery.rows)
    ids = [str(picture.collection_id) for picture in pictures]
    positions = np.array([(picture.lat, picture.lon) for picture in pictures])
    lengths = defaultdict(float)
    for x, y in sorted({tile_of(row.lat, row.lon, zoom) for row in walks[::25]}):
        tile = (zoom, x, y)
        features = tile_gallery.build(panoramax_tiles.build_map_tile, *tile).get("sequences", [])
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


def test_map_tile_grid_counts_pictures(tile_gallery):
    pictures = find_pictures(tile_gallery.rows)
    panoramas = sum(picture.cubemap_face == "front" for picture in pictures)
    faces = sum(row.cubemap_face is not None for row in tile_gallery.rows)
    for zoom in (0, 3):
        layers = [
            tile_gallery.build(panoramax_tiles.build_map_tile, zoom, x, y).get("grid", [])
            for x, y in {tile_of(row.lat, row.lon, zoom) for row in tile_gallery.rows} - {None}
        ]
        cells = {f.attributes["id"]: f.attributes for features in layers for f in features}
        # Cells beyond 85.05 degrees are in no tile.
        polar = group_cells(
            [row for row in tile_gallery.rows if abs(row.lat) > 84.0],
            cell_tiles.cell_resolution(zoom),
        )
        near_poles = sum(len(members) for members in polar.values())
        total = sum(cell["nb_360_pictures"] for cell in cells.values())
        assert panoramas - near_poles <= total <= panoramas
        flat = sum(cell["nb_flat_pictures"] for cell in cells.values())
        assert len(tile_gallery.rows) - faces - near_poles <= flat <= len(tile_gallery.rows) - faces
        for cell in cells.values():
            assert cell["nb_pictures"] == cell["nb_360_pictures"] + cell["nb_flat_pictures"]
            assert cell["coef"] == pytest.approx(min(1, math.log10(1 + cell["nb_pictures"]) / 5))
