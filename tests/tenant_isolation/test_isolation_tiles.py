"""Vector tiles show the images of one organization, at the same places as another one's."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from pinpoint.geo.map_tiles import MapTile
from pinpoint.records import ImageFilter
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.gallery.cell_tiles import build_coverage_tile
from pinpoint.store.gallery.image_tiles import build_image_tile
from pinpoint.store.gallery.panoramax_tiles import build_map_tile
from vector_tiles import read_tile, tile_of

ZOOMS = (0, 5, 11, 16)
BUILDERS = {
    "images": lambda connection, zoom, x, y: build_image_tile(
        connection, zoom, x, y, ImageFilter()
    ),
    "images of a time": lambda connection, zoom, x, y: build_image_tile(
        connection, zoom, x, y, ImageFilter(states=("indexed", "pending"))
    ),
    "coverage": lambda connection, *tile: build_coverage_tile(
        connection, "coverage", MapTile(*tile), ImageFilter()
    ),
    "gaps": lambda connection, *tile: build_coverage_tile(
        connection, "gaps", MapTile(*tile), ImageFilter()
    ),
    "coverage of a filter": lambda connection, *tile: build_coverage_tile(
        connection, "coverage", MapTile(*tile), ImageFilter(states=("indexed", "pending"))
    ),
    "map": build_map_tile,
}


@pytest.mark.parametrize("name", ["alder", "birch"])
@pytest.mark.parametrize("builder", BUILDERS)
def test_tiles_show_images_of_their_organization_only(tenant_pair, name, builder):
    tenant, other = tenant_pair.pair(name)
    positions = tenant.column(
        "SELECT ARRAY[ST_Y(geom), ST_X(geom)] FROM images WHERE organization_id = :org"
    )
    num_images = tenant.column(
        "SELECT count(*) FROM images"
        " WHERE organization_id = :org AND state IN ('pending', 'indexed')"
    )[0]
    with tenant.harness.as_api.begin(
        tenant.id, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA
    ) as unit:
        for zoom in ZOOMS:
            tiles = {tile_of(lat, lon, zoom) for lat, lon in positions} - {None}
            assert tiles
            shown = [read_tile(BUILDERS[builder](unit.connection, zoom, *tile)) for tile in tiles]
            features = [
                {"layer": layer, **feature.attributes}
                for tile in shown
                for layer, layer_features in tile.items()
                for feature in layer_features
            ]
            answer = json.dumps(features, default=float)
            assert tenant_pair.leaks(answer, other) == set()
            if builder == "gaps":
                continue
            assert features
            cells = {
                (feature.get("cell"), feature.get("source_kind")): feature["images"]
                for feature in features
                if "images" in feature
            }
            if cells:
                assert sum(cells.values()) == num_images


def test_tiles_without_organization_are_empty(tenant_pair):
    harness = tenant_pair.harness
    with harness.as_api.begin(read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA) as unit:
        assert unit.connection.execute(text("SELECT current_user")).scalar_one() == READER_ROLE
        for build in BUILDERS.values():
            for zoom in ZOOMS:
                assert build(unit.connection, zoom, *tile_of(48.85, 2.3511, zoom)) == b""
