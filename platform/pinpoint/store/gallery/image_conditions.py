"""SQL conditions of an `ImageFilter`, over the columns of `visible_images` or `layer_images`."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import shapely
from sqlalchemy import ARRAY, ColumnCollection, ColumnElement, Text, and_, case, cast, func, or_
from sqlalchemy.dialects.postgresql import JSONB

from pinpoint.geo.cells import child_range, parse_cell
from pinpoint.geo.predicates import circle_bounds
from pinpoint.records import Box, Circle, ImageFilter, Polygon
from pinpoint.store.db.rows import geography, is_any_of
from pinpoint.store.gallery.looks_at import looks_at_point

_Columns = ColumnCollection[str, Any]
_SRID: Final = 4326
_LAST_CHARACTER: Final = "\U0010ffff"
_CELL_RESOLUTION: Final = 7
"""H3 resolution of the column `cell_r7`."""


def image_conditions(columns: _Columns, image_filter: ImageFilter) -> list[ColumnElement[bool]]:
    """Build the conditions of a filter; a row matches if all of them hold.

    Args:
        columns: Columns of `visible_images` or `layer_images`.
        image_filter: The filter.
    """
    return [*_value_conditions(columns, image_filter), *_area_conditions(columns, image_filter)]


def _value_conditions(
    columns: _Columns, image_filter: ImageFilter
) -> Iterator[ColumnElement[bool]]:
    """Conditions on all columns but the position."""
    if image_filter.ids:
        yield is_any_of(columns.id, image_filter.ids)
    if image_filter.id_prefix is not None:
        yield columns.id.between(*id_range(image_filter.id_prefix))
    if image_filter.source_ids:
        yield is_any_of(columns.source_id, image_filter.source_ids)
    for column, values in (
        (columns.source_kind, image_filter.source_kinds),
        (columns.state, image_filter.states),
        (columns.creator, image_filter.creators),
        (columns.sequence, image_filter.sequences),
        (columns.camera, image_filter.cameras),
    ):
        if values:
            yield column == func.any(cast(list(values), ARRAY(Text)))
    if image_filter.file_name is not None:
        yield from _file_name_conditions(columns.file_name, image_filter.file_name)
    if image_filter.captured_after is not None:
        yield columns.captured_at >= image_filter.captured_after
    if image_filter.captured_before is not None:
        yield columns.captured_at < image_filter.captured_before
    for name, value in image_filter.attributes:
        yield or_(
            *(
                columns.attributes.contains(cast({name: spelled}, JSONB))
                for spelled in _value_spellings(value)
            )
        )


def _area_conditions(columns: _Columns, image_filter: ImageFilter) -> Iterator[ColumnElement[bool]]:
    """Conditions on the position."""
    if image_filter.cells:
        yield or_(
            *(
                columns.cell_r7.between(*child_range(parse_cell(cell), _CELL_RESOLUTION))
                for cell in image_filter.cells
            )
        )
    if image_filter.box is not None:
        yield in_box(columns, image_filter.box)
    if image_filter.polygons:
        yield _in_polygons(columns, image_filter.polygons)
    if image_filter.circle is not None:
        yield _in_circle(columns, image_filter.circle)
    if image_filter.looks_at is not None:
        yield looks_at_point(columns, image_filter.looks_at)


def lon_ranges(box: Box) -> list[tuple[float, float]]:
    """Ranges `west <= lon <= east` of a box, degrees; both spellings of the meridian 180."""
    if box.west > box.east:
        return [(box.west, 180.0), (-180.0, box.east)]
    ranges = [(box.west, box.east)]
    if box.east == 180.0:
        ranges.append((-180.0, -180.0))
    if box.west == -180.0:
        ranges.append((180.0, 180.0))
    return ranges


def in_box(columns: _Columns, box: Box) -> ColumnElement[bool]:
    """Within the box, its edges included; 180 and -180 are one meridian."""
    # `&&` uses the index, but compares the index's 32-bit bounds; the numbers are exact.
    exact = or_(
        *(
            and_(columns.lon.between(west, east), columns.lat.between(box.south, box.north))
            for west, east in lon_ranges(box)
        )
    )
    return and_(_envelope_overlaps(columns, box), _without_estimate(exact))


def _envelope_overlaps(columns: _Columns, box: Box) -> ColumnElement[bool]:
    """Within the box or closer to it than the resolution of the index's 32-bit bounds."""
    return or_(
        *(
            columns.geom.op("&&")(func.ST_MakeEnvelope(west, box.south, east, box.north, _SRID))
            for west, east in lon_ranges(box)
        )
    )


def _without_estimate(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same condition, without effect on the planner's estimate of the number of rows.

    PostgreSQL has statistics of positions, but none of their numbers and distances: it would take
    few matches for granted and sort all of them for each page.
    """
    return case((condition, True), else_=False)


def _in_polygons(columns: _Columns, polygons: Sequence[Polygon]) -> ColumnElement[bool]:
    """Inside at least one polygon, edges included; planar, in degrees."""
    shape = to_multipolygon(polygons)
    return func.ST_Intersects(columns.geom, func.ST_GeomFromWKB(shape.wkb, _SRID))


def to_multipolygon(polygons: Sequence[Polygon]) -> shapely.MultiPolygon:
    """Convert polygons to a planar shape, longitude first, in degrees."""
    return shapely.MultiPolygon(
        [
            shapely.Polygon(
                [(point.lon, point.lat) for point in polygon.exterior],
                [[(point.lon, point.lat) for point in hole] for hole in polygon.holes],
            )
            for polygon in polygons
        ]
    )


def _in_circle(columns: _Columns, circle: Circle) -> ColumnElement[bool]:
    """Within the radius on the sphere, which is the distance of the index's circles."""
    center = func.ST_GeogFromText(geography(circle.center))
    exact = func.ST_DWithin(columns.geog, center, circle.radius_m, False)
    return and_(_envelope_overlaps(columns, circle_bounds(circle)), _without_estimate(exact))


def id_range(prefix: str) -> tuple[UUID, UUID]:
    """Compute the lowest and the highest id that begin with these hex digits.

    Raises:
        ValueError: The prefix has other characters than hex digits, or more than 32.
    """
    if not prefix or len(prefix) > 32 or not set(prefix) <= set("0123456789abcdef"):
        raise ValueError(f"{prefix!r} is not the beginning of an id")
    return UUID(hex=prefix.ljust(32, "0")), UUID(hex=prefix.ljust(32, "f"))


def _file_name_conditions(column: Any, pattern: str) -> Iterator[ColumnElement[bool]]:
    """Conditions of a file name with `*` and `?`, with its range in the index."""
    # A name with accents has two spellings: NFC, and NFD on macOS.
    spellings = {unicodedata.normalize(form, pattern) for form in ("NFC", "NFD")} | {pattern}
    yield or_(*(column.like(_to_like_pattern(spelling)) for spelling in sorted(spellings)))
    starts = [re.split(r"[*?]", spelling, maxsplit=1)[0] for spelling in spellings]
    if all(starts):
        # Not left to the planner, which derives no range from a bound parameter.
        yield column >= min(starts)
        yield column < max(starts) + _LAST_CHARACTER


def _to_like_pattern(pattern: str) -> str:
    """Convert `*` and `?` to LIKE wildcards and escape all else."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")


def _value_spellings(text: str) -> list[str | float | bool]:
    """JSON values that equal a text: itself, and the number or Boolean that it spells."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return [text, value]
    return [text]
