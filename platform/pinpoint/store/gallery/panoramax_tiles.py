"""Vector tiles of the Panoramax map: `grid`, `sequences` and `pictures`.

Layers and attributes are those of the Panoramax API, version 1; `pictures.py` explains pictures and
collections. Account ids are ids of sources. In addition each feature has license and attribution.

- `grid` (zoom 0 to 6): points with the number of pictures around them.
- `sequences` (from zoom 6): the pictures of a sequence in capture order, as lines. A line ends if
  the next picture is more than `MAX_STEP_M` away. A single picture, and each one of a collection
  without a sequence, is a line of one unit.
- `pictures` (from zoom 15): points.

Layers are limited: `sequences` has the collections with the lowest ids, up to `MAX_LINE_PICTURES`
pictures; `pictures` has the pictures with the lowest ids, and the number of the others as
`images_left_out`.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnCollection,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from pinpoint.geo.map_tiles import MapTile
from pinpoint.records import ImageFilter
from pinpoint.store.db.views import cell_counts, layer_images
from pinpoint.store.gallery.cell_tiles import cell_resolution, select_counted_cells
from pinpoint.store.gallery.image_conditions import in_box
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

_Columns = ColumnCollection[str, Any]
GRID_ZOOMS: Final = range(7)
SEQUENCE_ZOOM: Final = 6
PICTURE_ZOOM: Final = 15
MAX_STEP_M: Final = 300.0
"""Longest distance of two pictures that a line connects."""
MAX_LINE_PICTURES: Final = 5_000
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
        layers.append(encode_layer(connection, _select_grid(tile), "grid"))
    if zoom >= SEQUENCE_ZOOM:
        layers.append(
            encode_within_limit(
                connection,
                lambda limit: _select_lines(tile, limit),
                "sequences",
                MAX_LINE_PICTURES,
            )
        )
    if zoom >= PICTURE_ZOOM:
        layers.append(
            encode_within_limit(
                connection, lambda limit: _select_pictures(tile, limit), "pictures", MAX_PICTURES
            )
        )
    # Layers are repeated fields of the message, so tiles can be concatenated.
    return b"".join(layers)


def _select_grid(tile: MapTile) -> Select[Any]:
    """Pictures by H3 cell, each cell as the center of its images."""
    cells = select_counted_cells(tile, ImageFilter(), cell_resolution(tile.zoom))
    columns = cell_counts.c
    cells = cells.add_columns(
        cast(func.sum(columns.panoramas), BigInteger).label("panoramas"),
        cast(func.sum(columns.images - columns.panorama_faces), BigInteger).label("flat"),
        func.sum(columns.x_sum).label("x"),
        func.sum(columns.y_sum).label("y"),
        func.sum(columns.z_sum).label("z"),
    )
    rows = cells.subquery("cells").c
    lon = func.degrees(func.atan2(rows.y, rows.x))
    lat = func.degrees(func.atan2(rows.z, func.sqrt(rows.x * rows.x + rows.y * rows.y)))
    centers = select(
        *rows,
        lon.label("lon"),
        func.ST_SetSRID(func.ST_MakePoint(lon, lat), 4326).label("geom"),
    ).subquery("centers")
    center = centers.c
    pictures = center.panoramas + center.flat
    return select(
        place_in_tile(center, tile, tile.box(MARGIN)).label("geometry"),
        func.to_hex(center.cell_id).label("id"),
        pictures.label("nb_pictures"),
        center.panoramas.label("nb_360_pictures"),
        center.flat.label("nb_flat_pictures"),
        _grid_coefficient(pictures).label("coef"),
        _grid_coefficient(center.panoramas).label("coef_360_pictures"),
        _grid_coefficient(center.flat).label("coef_flat_pictures"),
        center.license,
        center.attribution,
    )


def _grid_coefficient(number: ColumnElement[int]) -> ColumnElement[float]:
    """Number of pictures on a logarithmic scale: 0 for none, 1 for 100,000 or more."""
    return func.least(func.log(1 + number) / 5.0, 1.0)


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
            columns.sequence,
            columns.captured_at,
            columns.external_id,
            columns.id,
            columns.camera,
            columns.is_panorama,
            _pixel_density(columns).label("density"),
            columns.license,
            columns.attribution,
            columns.geog,
            project_near_tile(columns, tile, box).label("point"),
        )
        .where(in_box(columns, box), is_picture(columns))
        .order_by(columns.collection_id, *capture_order(columns))
        .limit(limit)
        .subquery("near")
    )
    previous = func.lag(near.c.geog).over(
        partition_by=near.c.collection_id, order_by=capture_order(near.c)
    )
    step_m = func.ST_Distance(near.c.geog, previous, False)
    steps = select(near, step_m.label("step_m")).subquery("steps")
    continues = and_(steps.c.sequence.is_not(None), steps.c.step_m <= MAX_STEP_M)
    starts = case((continues, 0), else_=1)
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
        _picture_type(func.bool_or(columns.is_panorama)).label("type"),
        func.to_char(func.timezone("UTC", func.min(columns.captured_at)), "YYYY-MM-DD").label(
            "date"
        ),
        func.max(columns.density).label("h_pixel_density"),
        func.string_agg(columns.license.distinct(), "; ").label("license"),
        func.string_agg(columns.attribution.distinct(), "; ").label("attribution"),
    ).group_by(columns.collection_id, columns.source_id)


def _select_pictures(tile: MapTile, limit: int) -> Select[Any]:
    """Pictures of a tile as features, those with the lowest ids first."""
    columns, box = layer_images.c, tile.box(MARGIN)
    rows = (
        select(
            columns.id,
            columns.source_id,
            columns.collection_id,
            columns.captured_at,
            columns.heading_deg,
            columns.camera,
            columns.is_panorama,
            _pixel_density(columns).label("density"),
            columns.license,
            columns.attribution,
            columns.geom,
            columns.lon,
            (func.count().over() - limit).label("left_out"),
        )
        .where(in_box(columns, box), is_picture(columns))
        .order_by(columns.id)
        .limit(limit)
        .subquery("picture")
    )
    collection = cast(rows.c.collection_id, Text)
    return select(
        place_in_tile(rows.c, tile, box).label("geometry"),
        cast(rows.c.id, Text).label("id"),
        cast(rows.c.source_id, Text).label("account_id"),
        format_time(rows.c.captured_at).label("ts"),
        cast(func.mod(cast(func.round(rows.c.heading_deg), Integer), 360), Integer).label(
            "heading"
        ),
        _picture_type(rows.c.is_panorama).label("type"),
        rows.c.camera.label("model"),
        collection.label("first_sequence"),
        # JSON text, because attributes of vector tiles are no lists.
        func.concat('["', collection, '"]').label("sequences"),
        rows.c.density.label("h_pixel_density"),
        rows.c.license,
        rows.c.attribution,
        func.nullif(func.greatest(rows.c.left_out, 0), 0).label("images_left_out"),
    )


def _picture_type(is_panorama: ColumnElement[bool]) -> ColumnElement[str]:
    """Type of a picture or of a collection with such a picture."""
    return case((is_panorama, "equirectangular"), else_="flat")


def _pixel_density(columns: _Columns) -> ColumnElement[int]:
    """Horizontal pixels per degree; null if the field of view is not known."""
    width_deg = case((columns.is_panorama, 360.0), else_=columns.field_of_view_deg)
    return cast(func.round(columns.width_px / width_deg), Integer)
