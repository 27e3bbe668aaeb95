"""Counts of images by H3 cell, from counters that every insert, move and delete updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely
from sqlalchemy import ARRAY, ColumnElement, Connection, Row, Select, Text, cast, func, or_, select

from pinpoint.geo.cells import cell_diameter_deg, cell_polygons, parse_cell
from pinpoint.geo.points import from_xyz
from pinpoint.records import SOURCE_KINDS, Box, CellCount, CellFilter, CoverageCell, Point
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.views import cell_counts
from pinpoint.store.gallery.image_conditions import in_box, lon_ranges, to_multipolygon

_SPARE_ROWS: Final = 100
"""Rows read beyond a page, because some do not reach into the area."""


def read_coverage_cells(
    connection: Connection, cell_filter: CellFilter, *, limit: int, after_cell: str | None = None
) -> list[CoverageCell]:
    """Read a page of cells with images, ordered by id.

    Args:
        connection: Connection with the role `pinpoint_reader`, in one organization.
        cell_filter: Conditions; those on the area compare the boundary of the cell.
        limit: Maximum number of cells.
        after_cell: Last id of the previous page, in hex digits.

    Raises:
        ValueError: `after_cell` is no id of a cell.
    """
    areas = _build_areas(cell_filter)
    statement = _select_cells(cell_filter, areas)
    after = 0 if after_cell is None else parse_cell(after_cell)
    cells: list[CoverageCell] = []
    while len(cells) < limit:
        num_rows = limit - len(cells) + (_SPARE_ROWS if areas else 0)
        rows = connection.execute(
            statement.where(cell_counts.c.cell_id > after).limit(num_rows)
        ).all()
        page = _to_cells(rows, cell_filter.resolution)
        cells += [cell for cell in page if _intersects_all(cell, areas)] if areas else page
        if len(rows) < num_rows:
            break
        after = rows[-1].cell_id
    return cells[:limit]


def _build_areas(cell_filter: CellFilter) -> list[Any]:
    """Areas of a filter as planar shapes in degrees."""
    areas = []
    if cell_filter.box is not None:
        box = cell_filter.box
        # An envelope may be a line or a point, in contrast to `shapely.box`.
        parts = [
            shapely.envelope(shapely.MultiPoint([(west, box.south), (east, box.north)]))
            for west, east in lon_ranges(box)
        ]
        areas.append(shapely.union_all(parts))
    if cell_filter.polygons:
        areas.append(to_multipolygon(cell_filter.polygons))
    for area in areas:
        shapely.prepare(area)
    return areas


def _intersects_all(cell: CoverageCell, areas: Sequence[Any]) -> bool:
    shape = to_multipolygon(cell_polygons(cell.cell))
    return all(bool(shapely.intersects(area, shape)) for area in areas)


def _select_cells(cell_filter: CellFilter, areas: Sequence[Any]) -> Select[Any]:
    """One row for each cell, with the counts of each source kind side by side."""
    columns = cell_counts.c
    per_kind: list[ColumnElement[Any]] = []
    for kind in SOURCE_KINDS:
        is_kind = columns.source_kind == kind
        per_kind += [
            func.sum(columns.images).filter(is_kind),
            func.min(columns.first_captured_at).filter(is_kind),
            func.max(columns.last_captured_at).filter(is_kind),
        ]
    statement = (
        select(
            columns.cell_id,
            func.sum(columns.x_sum),
            func.sum(columns.y_sum),
            func.sum(columns.z_sum),
            _join_texts(columns.license),
            _join_texts(columns.attribution),
            *per_kind,
        )
        .where(columns.resolution == cell_filter.resolution)
        .group_by(columns.cell_id)
        .order_by(columns.cell_id)
    )
    if cell_filter.source_ids:
        statement = statement.where(is_any_of(columns.source_id, cell_filter.source_ids))
    if cell_filter.source_kinds:
        kinds = cast(list(cell_filter.source_kinds), ARRAY(Text))
        statement = statement.where(columns.source_kind == func.any(kinds))
    for area in areas:
        margin_deg = cell_diameter_deg(cell_filter.resolution)
        statement = statement.where(
            or_(*(in_box(columns, box) for box in _expand_bounds(area, margin_deg)))
        )
    if cell_filter.only_gaps:
        kinds_present = func.count(columns.source_kind.distinct())
        statement = statement.having(kinds_present == 1)
    if cell_filter.missing_kind is not None:
        statement = statement.having(func.bool_and(columns.source_kind != cell_filter.missing_kind))
    if cell_filter.min_images > 1:
        statement = statement.having(func.sum(columns.images) >= cell_filter.min_images)
    return statement


def _join_texts(column: ColumnElement[str]) -> ColumnElement[str]:
    """The distinct texts of a group in one text; null without any."""
    return func.string_agg(func.nullif(column, "").distinct(), "; ")


def _expand_bounds(area: Any, margin_deg: float) -> list[Box]:
    """Boxes that contain each image of the cells that intersect an area.

    Args:
        area: A planar shape in degrees.
        margin_deg: Diameter of a cell, degrees of arc.
    """
    boxes = []
    for part in shapely.get_parts(area):
        west, south, east, north = shapely.bounds(part).tolist()
        south, north = south - margin_deg, north + margin_deg
        highest_lat = max(abs(south), abs(north))
        margin_lon_deg = 180.0
        if highest_lat < 90.0:
            # Source: the widest longitude of a circle on the sphere, asin(sin r / cos lat).
            ratio = np.sin(np.radians(margin_deg)) / np.cos(np.radians(highest_lat))
            margin_lon_deg = float(np.degrees(np.arcsin(min(1.0, ratio))))
        west, east = west - margin_lon_deg, east + margin_lon_deg
        if margin_lon_deg >= 90.0 or east - west >= 360.0:
            west, east = -180.0, 180.0
        boxes.append(
            Box(
                south=max(-90.0, south),
                north=min(90.0, north),
                west=west + 360.0 if west < -180.0 else west,
                east=east - 360.0 if east > 180.0 else east,
            )
        )
    return boxes


def _to_cells(rows: Sequence[Row[Any]], resolution: int) -> list[CoverageCell]:
    if not rows:
        return []
    centers = from_xyz(np.array([row[1:4] for row in rows], dtype=np.float64)).tolist()
    cells = []
    for (lat, lon), row in zip(centers, rows, strict=True):
        cell_id, _, _, _, license_text, attribution, *per_kind = tuple(row)
        counts = tuple(
            CellCount(
                source_kind=kind,
                images=int(per_kind[3 * index]),
                first_captured_at=per_kind[3 * index + 1],
                last_captured_at=per_kind[3 * index + 2],
            )
            for index, kind in enumerate(SOURCE_KINDS)
            if per_kind[3 * index] is not None
        )
        cells.append(
            CoverageCell(
                cell=f"{cell_id:x}",
                resolution=resolution,
                center=Point(lat, lon),
                counts=counts,
                license=license_text,
                attribution=attribution,
            )
        )
    return cells
