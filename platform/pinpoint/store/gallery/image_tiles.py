"""Vector tiles of images (Mapbox Vector Tile 2.1): H3 cells at low zoom, points at high zoom.

Below zoom `POINT_ZOOM` a feature is an H3 cell with its number of images. From there on a feature
is an image. A tile has at most `MAX_TILE_POINTS` images, those with the lowest ids; then each of
them has the attribute `images_left_out`, the number of images of the tile and its buffer that are
not in it. Ids are random, so the images of such a tile are a sample of all of them.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, Text, cast, func, select

from pinpoint.geo.map_tiles import MapTile
from pinpoint.records import ImageFilter
from pinpoint.store.db.views import layer_images
from pinpoint.store.gallery.cell_tiles import build_cell_tile
from pinpoint.store.gallery.image_conditions import image_conditions, in_box
from pinpoint.store.gallery.tile_encoding import (
    MARGIN,
    encode_within_limit,
    format_time,
    place_in_tile,
)

IMAGES_LAYER: Final = "images"
POINT_ZOOM: Final = 11
"""Lowest zoom with images as points."""
MAX_TILE_POINTS: Final = 3_000
"""Images of a tile; about 350 kB."""


def build_image_tile(
    connection: Connection, zoom: int, x: int, y: int, image_filter: ImageFilter
) -> bytes:
    """Encode one tile with the layer `images`.

    Args:
        connection: A transaction with the views of one organization.
        zoom: 0 to 22.
        x: Column, from west.
        y: Row, from north.
        image_filter: Images to show.

    Returns:
        The tile, empty without images.

    Raises:
        NotFoundError: The map has no such tile.
    """
    tile = MapTile(zoom, x, y)
    if zoom < POINT_ZOOM:
        return build_cell_tile(connection, tile, IMAGES_LAYER, image_filter)
    return encode_within_limit(
        connection,
        lambda limit: _select_points(tile, image_filter, limit),
        IMAGES_LAYER,
        MAX_TILE_POINTS,
    )


def _select_points(tile: MapTile, image_filter: ImageFilter, limit: int) -> Select[Any]:
    """Images of a tile as features, those with the lowest ids first."""
    columns, box = layer_images.c, tile.box(MARGIN)
    rows = (
        select(
            columns.id,
            columns.source,
            columns.source_kind,
            columns.captured_at,
            columns.heading_deg,
            columns.license,
            columns.attribution,
            columns.geom,
            columns.lon,
            (func.count().over() - limit).label("left_out"),
        )
        .where(in_box(columns, box), *image_conditions(columns, image_filter))
        .order_by(columns.id)
        .limit(limit)
        .subquery("image")
    )
    return select(
        place_in_tile(rows.c, tile, box).label("geometry"),
        cast(rows.c.id, Text).label("id"),
        rows.c.source,
        rows.c.source_kind,
        format_time(rows.c.captured_at).label("captured_at"),
        rows.c.heading_deg,
        rows.c.license,
        rows.c.attribution,
        func.nullif(func.greatest(rows.c.left_out, 0), 0).label("images_left_out"),
    )
