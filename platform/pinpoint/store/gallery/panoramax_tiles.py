"""Vector tiles of the Panoramax map: `grid`, `sequences` and `pictures`.

Layers and attributes are those of the Panoramax API, version 1; `pictures.py` explains pictures and
collections. Account ids are ids of sources. In addition each feature has license and attribution.

- `grid` (zoom 0 to 6): points with the number of pictures around them.
- `sequences` (from zoom 6): the pictures of a collection in capture order, as lines. A line ends
  where the next picture is more than `MAX_STEP_M` away; a single picture is a line of one unit.
- `pictures` (from zoom 15): points.

Layers are limited: `sequences` has the collections with the lowest ids, up to `MAX_LINE_PICTURES`
pictures; `pictures` has the pictures with the lowest ids, and the number of the others as
`images_left_out`.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    case,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from pinpoint.geo.map_tiles import MapTile
from pinpoint.store.db.views import layer_images
from pinpoint.store.gallery.image_conditions import Columns, in_box
from pinpoint.store.gallery.pictures import capture_order, is_picture
from pinpoint.store.gallery.tile_encoding import (
    EXTENT,
    MARGIN,
    encode_layer,
    encode_within_limit,
    fit_to_tile,
    format_time,
    place_in_tile,
    project_near_tile,
)

GRID_ZOOMS: Final = range(0, 7)
SEQUENCE_ZOOM: Final = 6
PICTURE_ZOOM: Final = 15
MAX_STEP_M: Final = 300.0
"""Longest distance of two pictures that a line connects."""
MAX_LINE_PICTURES: Final = 10_000
MAX_PICTURES: Final = 3_000


def build_map_tile(connection: Connection, zoom: int, x: int, y: int) -> bytes:
    """Encode one tile of the Panoramax map.

    Args:
        connection: A transaction with the views of one organization.
        zoom: 0 to 22.
        x: Column, from west.
        y: Row, from north.

    Returns:
        The tile with the layers of its zoom; empty without images.

    Raises:
        NotFoundError: The map has no such tile.
    """
    tile = MapTile(zoom, x, y)
    layers = []
    if zoom in GRID_ZOOMS:
        layers.append(_encode_grid(connection, tile))
    if zoom >= SEQUENCE_ZOOM:
        layers.append(
            encode_within_limit(
                lambda limit: connection.execute(
                    encode_layer(_select_lines(tile, limit), "sequences")
                ).scalar_one(),
                MAX_LINE_PICTURES,
            )
        )
    if zoom >= PICTURE_ZOOM:
        layers.append(
            encode_within_limit(
                lambda limit: connection.execute(
                    encode_layer(_select_pictures(tile, limit), "pictures")
                ).scalar_one(),
                MAX_PICTURES,
            )
        )
    # Layers are repeated fields of the message, so tiles can be concatenated.
    return b"".join(layers)


def _select_lines(tile: MapTile, limit: int) -> Select[Any]:
    """Lines of the collections near a tile, at most `limit` pictures."""
    columns = layer_images.c
    # A line that crosses the tile has a picture within one step of it. The second step keeps apart
    # two pictures of a collection that leaves the area between them.
    box = tile.box(MARGIN, 2.0 * MAX_STEP_M)
    near = (
        select(
            columns.collection_id,
            columns.source_id,
            columns.captured_at,
            columns.external_id,
            columns.id,
            columns.camera,
            columns.is_panorama,
            pixel_density(columns).label("density"),
            columns.license,
            columns.attribution,
            columns.geog,
            project_near_tile(columns, tile).label("point"),
        )
        .where(in_box(columns, box), is_picture(columns))
        .order_by(columns.collection_id, *capture_order(columns))
        .limit(limit)
        .subquery("near")
    )
    order = capture_order(near.c)
    in_collection = {"partition_by": near.c.collection_id, "order_by": order}
    step_m = func.ST_Distance(near.c.geog, func.lag(near.c.geog).over(**in_collection), False)
    steps = select(near, step_m.label("step_m")).subquery("steps")
    starts = case((or_(steps.c.step_m.is_(None), steps.c.step_m > MAX_STEP_M), 1), else_=0)
    part = func.sum(starts).over(
        partition_by=steps.c.collection_id, order_by=capture_order(steps.c)
    )
    parts = select(steps, part.label("part")).subquery("parts")
    return _join_parts(_join_pictures(parts, tile), tile)


def _join_pictures(parts: FromClause, tile: MapTile) -> Select[Any]:
    """One line for each part of a collection."""
    columns = parts.c
    line = func.ST_MakeLine(aggregate_order_by(columns.point, *capture_order(columns)))
    return select(
        columns.collection_id,
        columns.source_id,
        # Without a last step of one unit, a line of one picture would vanish.
        func.ST_AddPoint(
            line, func.ST_Translate(func.ST_EndPoint(line), tile.side_m / EXTENT, 0.0)
        ).label("line"),
        func.max(columns.camera).label("model"),
        func.bool_or(columns.is_panorama).label("is_panorama"),
        func.min(columns.captured_at).label("captured_at"),
        func.max(columns.density).label("density"),
        func.max(columns.license).label("license"),
        func.max(columns.attribution).label("attribution"),
    ).group_by(columns.collection_id, columns.source_id, columns.part)


def _join_parts(lines: Select[Any], tile: MapTile) -> Select[Any]:
    """One feature for each collection."""
    columns = lines.subquery("lines").c
    return select(
        fit_to_tile(func.ST_Collect(columns.line), tile).label("geometry"),
        cast(columns.collection_id, Text).label("id"),
        cast(columns.source_id, Text).label("account_id"),
        func.max(columns.model).label("model"),
        picture_type(func.bool_or(columns.is_panorama)).label("type"),
        func.to_char(func.timezone("UTC", func.min(columns.captured_at)), "YYYY-MM-DD").label(
            "date"
        ),
        func.max(columns.density).label("h_pixel_density"),
        func.string_agg(columns.license.distinct(), "; ").label("license"),
        func.string_agg(columns.attribution.distinct(), "; ").label("attribution"),
    ).group_by(columns.collection_id, columns.source_id)


def _select_pictures(tile: MapTile, limit: int) -> Select[Any]:
    """Pictures of a tile as features, those with the lowest ids first."""
    columns = layer_images.c
    rows = (
        select(
            columns.id,
            columns.source_id,
            columns.collection_id,
            columns.captured_at,
            columns.heading_deg,
            columns.camera,
            columns.is_panorama,
            pixel_density(columns).label("density"),
            columns.license,
            columns.attribution,
            columns.geom,
            columns.lon,
            (func.count().over() - limit).label("left_out"),
        )
        .where(in_box(columns, tile.box(MARGIN)), is_picture(columns))
        .order_by(columns.id)
        .limit(limit)
        .subquery("picture")
    )
    collection = cast(rows.c.collection_id, Text)
    return select(
        place_in_tile(rows.c, tile).label("geometry"),
        cast(rows.c.id, Text).label("id"),
        cast(rows.c.source_id, Text).label("account_id"),
        format_time(rows.c.captured_at).label("ts"),
        cast(func.mod(cast(func.round(rows.c.heading_deg), Integer), 360), Integer).label(
            "heading"
        ),
        picture_type(rows.c.is_panorama).label("type"),
        rows.c.camera.label("model"),
        collection.label("first_sequence"),
        # JSON text, because attributes of vector tiles are no lists.
        func.concat('["', collection, '"]').label("sequences"),
        rows.c.density.label("h_pixel_density"),
        rows.c.license,
        rows.c.attribution,
        func.nullif(func.greatest(rows.c.left_out, 0), 0).label("images_left_out"),
    )


def picture_type(is_panorama: ColumnElement[bool]) -> ColumnElement[str]:
    """Type of a picture or of a collection with such a picture."""
    return case((is_panorama, "equirectangular"), else_="flat")


def pixel_density(columns: Columns) -> ColumnElement[int]:
    """Horizontal pixels per degree; null if the field of view is not known."""
    width_deg = case((columns.is_panorama, 360.0), else_=columns.field_of_view_deg)
    return cast(func.round(columns.width_px / width_deg), Integer)
