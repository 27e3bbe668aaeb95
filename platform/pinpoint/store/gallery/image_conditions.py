"""SQL conditions of an `ImageFilter`, over the columns of `visible_images` or `layer_images`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import shapely
from sqlalchemy import ARRAY, ColumnCollection, ColumnElement, Text, and_, cast, func, or_

from pinpoint.records import Box, Circle, ImageFilter, Polygon
from pinpoint.store.db.rows import geography, is_any_of

Columns = ColumnCollection[str, Any]
_SRID = 4326


def image_conditions(columns: Columns, image_filter: ImageFilter) -> list[ColumnElement[bool]]:
    """Build the conditions of a filter; a row matches if all of them hold.

    Args:
        columns: Columns of `visible_images` or `layer_images`.
        image_filter: The filter.
    """
    return [*_value_conditions(columns, image_filter), *_area_conditions(columns, image_filter)]


def _value_conditions(columns: Columns, image_filter: ImageFilter) -> Iterator[ColumnElement[bool]]:
    """Conditions on all columns but the position."""
    if image_filter.ids:
        yield is_any_of(columns.id, image_filter.ids)
    if image_filter.id_prefix is not None:
        low = UUID(hex=image_filter.id_prefix.ljust(32, "0"))
        high = UUID(hex=image_filter.id_prefix.ljust(32, "f"))
        yield columns.id.between(low, high)
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
        spellings = map(to_like_pattern, name_spellings(image_filter.file_name))
        yield or_(*(columns.file_name.like(pattern) for pattern in spellings))
    if image_filter.captured_after is not None:
        yield columns.captured_at >= image_filter.captured_after
    if image_filter.captured_before is not None:
        yield columns.captured_at < image_filter.captured_before
    for name, value in image_filter.attributes:
        yield columns.attributes[name].astext == value


def _area_conditions(columns: Columns, image_filter: ImageFilter) -> Iterator[ColumnElement[bool]]:
    """Conditions on the position."""
    if image_filter.box is not None:
        yield in_box(columns, image_filter.box)
    if image_filter.polygons:
        yield in_polygons(columns, image_filter.polygons)
    if image_filter.circle is not None:
        yield in_circle(columns, image_filter.circle)


def _lon_ranges(box: Box) -> list[tuple[float, float]]:
    """Ranges `west <= lon <= east` of a box, degrees; both spellings of the meridian 180."""
    if box.west > box.east:
        return [(box.west, 180.0), (-180.0, box.east)]
    ranges = [(box.west, box.east)]
    if box.east == 180.0:
        ranges.append((-180.0, -180.0))
    if box.west == -180.0:
        ranges.append((180.0, 180.0))
    return ranges


def in_box(columns: Columns, box: Box) -> ColumnElement[bool]:
    """Within the box, its edges included; 180 and -180 are one meridian."""
    parts = []
    for west, east in _lon_ranges(box):
        # `&&` uses the index, but compares the index's 32-bit bounds; the numbers are exact.
        envelope = func.ST_MakeEnvelope(west, box.south, east, box.north, _SRID)
        parts.append(
            and_(
                columns.geom.op("&&")(envelope),
                columns.lon.between(west, east),
                columns.lat.between(box.south, box.north),
            )
        )
    return or_(*parts)


def in_polygons(columns: Columns, polygons: Sequence[Polygon]) -> ColumnElement[bool]:
    """Inside at least one polygon, edges included; planar, in degrees."""
    shape = shapely.MultiPolygon(
        [
            shapely.Polygon(
                [(point.lon, point.lat) for point in polygon.exterior],
                [[(point.lon, point.lat) for point in hole] for hole in polygon.holes],
            )
            for polygon in polygons
        ]
    )
    return func.ST_Intersects(columns.geom, func.ST_GeomFromWKB(shape.wkb, _SRID))


def in_circle(columns: Columns, circle: Circle) -> ColumnElement[bool]:
    """Within the radius on the sphere, which is the distance of the index's circles."""
    center = func.ST_GeogFromText(geography(circle.center))
    return func.ST_DWithin(columns.geog, center, circle.radius_m, False)


def name_spellings(pattern: str) -> list[str]:
    """The spellings of a file name: one with accents has two, NFC, and NFD on macOS."""
    return sorted({unicodedata.normalize(form, pattern) for form in ("NFC", "NFD")} | {pattern})


def to_like_pattern(pattern: str) -> str:
    """Convert `*` and `?` to LIKE wildcards and escape all else."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")
