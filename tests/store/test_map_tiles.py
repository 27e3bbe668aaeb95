"""Vector tiles of 5,000 images equal slow loops, at the poles, at ±180° and at equal positions."""

from __future__ import annotations

import math
from datetime import timedelta

import h3
import numpy as np
import pytest
import shapely

from pinpoint.errors import NotFoundError
from pinpoint.geo.cell_outlines import outline_cells
from pinpoint.geo.map_tiles import MapTile, to_web_mercator
from pinpoint.records import ImageFilter, Point, Polygon
from pinpoint.store.gallery import cell_tiles, image_tiles, panoramax_tiles, tile_encoding
from store.spatial_gallery import START
from store.tile_gallery import check_points, choose_tiles, format_time, group_cells
from vector_tiles import buffer_box, project_outline, tile_of


@pytest.mark.parametrize("zoom", [11, 16, 22])
def test_image_tile_at_high_zoom_has_exactly_its_images(tile_gallery, zoom):
    by_id = {str(row.id): row for row in tile_gallery.rows}
    for tile in choose_tiles(tile_gallery.rows, zoom):
        features = tile_gallery.build(image_tiles.build_image_tile, *tile, ImageFilter()).get(
            "images", []
        )
        check_points(features, tile_gallery.rows, tile)
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


LIMIT = START + timedelta(days=700)


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
def test_image_tile_at_low_zoom_counts_the_images_of_its_cells(tile_gallery, zoom):
    resolution = cell_tiles.cell_resolution(zoom)
    photos = [row for row in tile_gallery.rows if row.source_kind == "photo"]
    early = [row for row in tile_gallery.rows if row.captured_at and row.captured_at < LIMIT]
    galleries = (
        (ImageFilter(), tile_gallery.rows),
        (ImageFilter(source_kinds=("photo",)), photos),
        (ImageFilter(captured_before=LIMIT), early),
    )
    for tile in choose_tiles(tile_gallery.rows, zoom, 2):
        for image_filter, rows in galleries:
            layers = tile_gallery.build(image_tiles.build_image_tile, *tile, image_filter)
            cells = group_cells(rows, resolution)
            check_cells(layers.get("images", []), cells, tile, describe_cell)


SQUARE = Polygon(
    exterior=(Point(-60.1, -50.2), Point(-60.1, 70.3), Point(60.2, 70.3), Point(60.2, -50.2))
)


@pytest.mark.parametrize(
    ("zoom", "image_filter", "matches"),
    [
        (0, ImageFilter(), lambda row: True),
        (4, ImageFilter(), lambda row: True),
        (14, ImageFilter(), lambda row: True),
        (
            4,
            ImageFilter(captured_before=LIMIT),
            lambda row: row.captured_at is not None and row.captured_at < LIMIT,
        ),
        (
            1,
            ImageFilter(polygons=(SQUARE,)),
            lambda row: -60.1 < row.lat < 60.2 and -50.2 < row.lon < 70.3,
        ),
    ],
)
def test_coverage_tile_has_the_cells_of_each_kind_and_of_gaps(
    tile_gallery, zoom, image_filter, matches
):
    resolution = cell_tiles.cell_resolution(zoom)
    rows = [row for row in tile_gallery.rows if matches(row)]
    cells = group_cells(rows, resolution)
    gaps = {
        cell: members
        for cell, members in cells.items()
        if len({row.source_kind for row in members}) == 1
    }
    for tile in choose_tiles(tile_gallery.rows, zoom, 2):
        build = (cell_tiles.build_coverage_tile, "gaps", MapTile(*tile), image_filter)
        layers = tile_gallery.build(*build)
        check_cells(
            layers.get("gaps", []),
            gaps,
            tile,
            lambda members: {
                "source_kind": members[0].source_kind,
                **describe_cell(members),
            },
        )
        build = (cell_tiles.build_coverage_tile, "coverage", MapTile(*tile), image_filter)
        features = tile_gallery.build(*build).get("coverage", [])
        for kind in ("photo", "street"):
            of_kind = group_cells([r for r in rows if r.source_kind == kind], resolution)
            check_cells(
                [f for f in features if f.attributes["source_kind"] == kind],
                of_kind,
                tile,
                lambda members: {
                    "source_kind": members[0].source_kind,
                    **describe_cell(members),
                },
            )


def test_image_tile_with_too_many_images_has_those_with_the_lowest_ids(tile_gallery, monkeypatch):
    tile = (11, *tile_of(48.85, 2.35, 11))
    build = (image_tiles.build_image_tile, *tile, ImageFilter())
    complete = sorted(f.attributes["id"] for f in tile_gallery.build(*build)["images"])
    assert len(complete) > 100
    monkeypatch.setattr(image_tiles, "MAX_TILE_POINTS", 50)
    features = tile_gallery.build(*build)["images"]
    assert sorted(f.attributes["id"] for f in features) == complete[:50]
    left_out = {f.attributes["images_left_out"] for f in features}
    assert left_out == {len(complete) - 50}
    monkeypatch.setattr(tile_encoding, "MAX_TILE_BYTES", 2_000)
    few = tile_gallery.build(*build)["images"]
    assert 0 < len(few) < 50
    assert sorted(f.attributes["id"] for f in few) == complete[: len(few)]
    assert {f.attributes["images_left_out"] for f in few} == {len(complete) - len(few)}


def test_cell_tile_of_too_many_bytes_has_coarser_cells(tile_gallery, monkeypatch):
    fine = tile_gallery.build(image_tiles.build_image_tile, 3, 4, 2, ImageFilter())["images"]
    monkeypatch.setattr(cell_tiles, "MAX_TILE_BYTES", 600)
    coarse = tile_gallery.build(image_tiles.build_image_tile, 3, 4, 2, ImageFilter())["images"]
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
def test_tile_outside_the_map_is_not_found(tile_gallery, tile):
    for build in (
        lambda: tile_gallery.build(image_tiles.build_image_tile, *tile, ImageFilter()),
        lambda: tile_gallery.build(panoramax_tiles.build_map_tile, *tile),
    ):
        with pytest.raises(NotFoundError, match="there is no tile"):
            build()
