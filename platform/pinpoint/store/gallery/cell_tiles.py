"""Vector tiles of H3 cells: images at low zoom, coverage, and gaps.

Cells are about as large as 2 % of a tile: `CELL_RESOLUTIONS`. If a tile would exceed the limit of
its size, its cells are coarser.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import shapely
from geoalchemy2 import Geometry
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnCollection,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    cast,
    column,
    func,
    select,
    true,
)

from pinpoint.geo.cell_outlines import outline_cells
from pinpoint.geo.cells import cell_diameter_deg
from pinpoint.geo.map_tiles import MapTile
from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import COVERAGE_RESOLUTIONS, ImageFilter
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.views import cell_counts, layer_images
from pinpoint.store.gallery.image_conditions import image_conditions, in_box
from pinpoint.store.gallery.tile_encoding import (
    MARGIN,
    MAX_TILE_BYTES,
    encode_layer,
    fit_to_tile,
    format_time,
)

_Columns = ColumnCollection[str, Any]
CellCollection = Literal["coverage", "gaps"]
CELL_RESOLUTIONS: Final = (2, 2, 3, 3, 4, 5, 5, 6, 7)
"""H3 resolution of the cells of a tile at zoom 0, 1, …; the last one is that of higher zooms."""
_ATTRIBUTE_TYPES: Final = {"images": BigInteger()}
"""Types of attributes that are no texts."""


def build_coverage_tile(
    connection: Connection, collection: CellCollection, tile: MapTile, image_filter: ImageFilter
) -> bytes:
    """Encode one tile of cells with images by source kind.

    The numbers come from the counters or from the images, as in `build_cell_tile`.

    Args:
        connection: A transaction with the views of one organization.
        collection: `coverage`: all cells. `gaps`: cells with images of one kind only.
        tile: The tile.
        image_filter: Images to count.

    Returns:
        The tile, with a layer named as the collection; empty without cells.
    """
    is_counted = _is_counted(image_filter)
    kind = (cell_counts if is_counted else layer_images).c.source_kind
    by_kind = kind if collection == "coverage" else func.min(kind)
    select_all = select_counted_cells if is_counted else _count_images

    def select_cells(resolution: int) -> Select[Any]:
        statement = select_all(tile, image_filter, resolution)
        statement = statement.add_columns(by_kind.label("source_kind"))
        if collection == "coverage":
            return statement.group_by(kind)
        return statement.having(func.min(kind) == func.max(kind))

    return _encode_cells(connection, tile, collection, select_cells)


def build_cell_tile(
    connection: Connection, tile: MapTile, layer: str, image_filter: ImageFilter
) -> bytes:
    """Encode one tile of cells with images.

    Without a filter, or with one on sources only, the numbers come from the counters; else the
    images of the tile are counted.

    Args:
        connection: A transaction with the views of one organization.
        tile: The tile.
        layer: Name of the layer.
        image_filter: Images to count.
    """
    select_cells = select_counted_cells if _is_counted(image_filter) else _count_images
    return _encode_cells(
        connection, tile, layer, lambda resolution: select_cells(tile, image_filter, resolution)
    )


def _is_counted(image_filter: ImageFilter) -> bool:
    """Whether the counters of cells know the number of images that match a filter."""
    return dataclasses.replace(image_filter, source_ids=(), source_kinds=()) == ImageFilter()


def select_counted_cells(tile: MapTile, image_filter: ImageFilter, resolution: int) -> Select[Any]:
    """Cells of a tile from the counters, one row for each."""
    columns = cell_counts.c
    counted_resolution = max(resolution, COVERAGE_RESOLUTIONS[0])
    cell: ColumnElement[int] = columns.cell_id
    if resolution < counted_resolution:
        cell = _find_parent(cell, resolution)
    return (
        select(
            cell.label("cell_id"),
            cast(func.sum(columns.images), BigInteger).label("images"),
            format_time(func.min(columns.first_captured_at)).label("first_captured_at"),
            format_time(func.max(columns.last_captured_at)).label("last_captured_at"),
            *_join_credits(columns),
        )
        .where(
            columns.resolution == counted_resolution,
            _near_tile(columns, tile, resolution),
            *_source_conditions(columns, image_filter),
        )
        .group_by(cell)
    )


def _count_images(tile: MapTile, image_filter: ImageFilter, resolution: int) -> Select[Any]:
    """Cells of a tile with the number of images that match a filter, one row for each."""
    columns = layer_images.c
    cell = _find_parent(columns.cell_r7, resolution)
    return (
        select(
            cell.label("cell_id"),
            func.count().label("images"),
            format_time(func.min(columns.captured_at)).label("first_captured_at"),
            format_time(func.max(columns.captured_at)).label("last_captured_at"),
            *_join_credits(columns),
        )
        .where(
            _near_tile(columns, tile, resolution),
            *image_conditions(columns, image_filter),
        )
        .group_by(cell)
    )


def _source_conditions(columns: _Columns, image_filter: ImageFilter) -> list[ColumnElement[bool]]:
    """Conditions of a filter that `_is_counted`."""
    conditions: list[ColumnElement[bool]] = []
    if image_filter.source_ids:
        conditions.append(is_any_of(columns.source_id, image_filter.source_ids))
    if image_filter.source_kinds:
        kinds = cast(list(image_filter.source_kinds), ARRAY(Text))
        conditions.append(columns.source_kind == func.any(kinds))
    return conditions


def _join_credits(columns: _Columns) -> list[ColumnElement[Any]]:
    """The distinct licenses and attributions of a cell, each in one text."""
    return [
        func.string_agg(func.nullif(column, "").distinct(), "; ").label(column.name)
        for column in (columns.license, columns.attribution)
    ]


def _near_tile(columns: _Columns, tile: MapTile, resolution: int) -> ColumnElement[bool]:
    """Rows whose cell may intersect a tile: the position is up to a diameter away from it."""
    if tile.zoom == 0:
        return true()
    margin_m = math.radians(cell_diameter_deg(resolution)) * EARTH_RADIUS_M
    return in_box(columns, tile.box(MARGIN, margin_m))


def _find_parent(cell: ColumnElement[int], resolution: int) -> ColumnElement[int]:
    """Id of the cell of a coarser resolution with an H3 cell.

    The resolution is in bits 52 to 55; the digit of resolution r is in three bits from bit
    3 * (15 - r), and unused digits are 7. Source: H3 documentation, "H3 Index Inspection".
    """
    unused_digits = (1 << 3 * (15 - resolution)) - 1
    cleared = cell.op("&", return_type=BigInteger())(~(15 << 52))
    return cleared.op("|", return_type=BigInteger())((resolution << 52) | unused_digits)


def cell_resolution(zoom: int) -> int:
    """H3 resolution of the cells of a tile."""
    return CELL_RESOLUTIONS[min(zoom, len(CELL_RESOLUTIONS) - 1)]


def _encode_cells(
    connection: Connection,
    tile: MapTile,
    layer: str,
    select_cells: Callable[[int], Select[Any]],
) -> bytes:
    """Encode the cells of a statement, coarser ones until the tile has at most its limit."""
    for resolution in range(cell_resolution(tile.zoom), -1, -1):
        rows = connection.execute(select_cells(resolution)).all()
        if not rows:
            return b""
        encoded = encode_layer(connection, _place_rows(rows, tile), layer)
        if len(encoded) <= MAX_TILE_BYTES:
            break
    return encoded


def _place_rows(rows: Sequence[Row[Any]], tile: MapTile) -> Select[Any]:
    """Cells as features of a tile; the attribute `cell` is the id in hex digits."""
    outlines = shapely.to_wkb(outline_cells([row.cell_id for row in rows], tile), hex=True)
    names = rows[0]._fields[1:]
    # One JSON text: the driver takes 30 ms for 1,000 outlines in an array.
    records = [
        {"outline": outline, "cell": f"{row[0]:x}", **dict(zip(names, row[1:], strict=True))}
        for outline, row in zip(outlines, rows, strict=True)
    ]
    cells = (
        func.json_to_recordset(cast(records, JSON))
        .table_valued(
            column("outline", Text()),
            column("cell", Text()),
            *(column(name, _ATTRIBUTE_TYPES.get(name, Text())) for name in names),
            name="cells",
        )
        .render_derived(with_types=True)
    )
    outline = func.ST_SetSRID(cast(cells.c.outline, Geometry), 3857)
    return select(
        fit_to_tile(outline, tile).label("geometry"),
        cells.c.cell,
        *(cells.c[name] for name in names),
    )
