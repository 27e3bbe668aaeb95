"""Pages of the layers whose features are rows: images and kept queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import shapely
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    false,
    func,
    select,
    true,
    union_all,
)

from pinpoint.geo.cells import cell_diameter_deg
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    DEFAULT_RESOLUTION,
    IMAGE_LAYER,
    Box,
    Comparison,
    Feature,
    FeatureLayer,
    FeaturePage,
    FeatureQuery,
    LayerExtent,
    PropertyName,
)
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.views import cell_counts, layer_images, layer_queries
from pinpoint.store.gallery.cql2_conditions import build_condition
from pinpoint.store.gallery.image_conditions import lon_ranges

_Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees."""
LAYER_TABLES: Final[Mapping[str, Table]] = {"images": layer_images, "queries": layer_queries}
_PLANNER_SETTINGS: Final = select(
    # A page reads few rows of an index. Workers take longer to start: 100 ms on a busy machine.
    func.set_config("max_parallel_workers_per_gather", "0", True),
    # The best index depends on the values; a plan for any values sorted all rows of a large box.
    func.set_config("plan_cache_mode", "force_custom_plan", True),
)
_COUNTED_PROPERTIES: Final = frozenset({"source", "source_id", "source_kind"})


def read_rows(connection: Connection, layer: FeatureLayer, query: FeatureQuery) -> FeaturePage:
    """Read one page of features that are rows, ordered by id.

    Args:
        connection: Connection with the role `pinpoint_reader`, in one organization.
        layer: A layer of `LAYER_TABLES`.
        query: Conditions and position of the page.
    """
    connection.execute(_PLANNER_SETTINGS)
    table = LAYER_TABLES[layer.name]
    names = [entry.name for entry in layer.properties]
    columns = [table.c.id, table.c.lon, table.c.lat, *(table.c[name] for name in names)]
    conditions = _build_conditions(table, layer, query)
    areas: list[ColumnElement[bool]] = [true()]
    if query.box is not None:
        areas = [_in_envelope(table.c, *bounds) for bounds in _split_box(query.box)]
    pages = [
        select(*columns).where(*conditions, area).order_by(table.c.id).limit(query.limit + 1)
        for area in areas
    ]
    rows = connection.execute(_merge_pages(pages, query.limit + 1)).all()
    return FeaturePage(
        features=tuple(_to_feature(names, row) for row in rows[: query.limit]),
        has_more=len(rows) > query.limit,
        num_matched=_count_images(connection, query) if layer is IMAGE_LAYER else None,
    )


def _merge_pages(pages: Sequence[Select[Any]], limit: int) -> Select[Any]:
    """The first rows of several ordered pages; each page then uses the best index for its area."""
    if len(pages) == 1:
        return pages[0]
    merged = union_all(*(select(page.subquery()) for page in pages)).subquery()
    return select(merged).order_by(merged.c.id).limit(limit)


def _split_box(box: Box) -> list[_Bounds]:
    """Split a box into parts that do not cross the antimeridian, which is one meridian."""
    if box.west == -180.0 and box.east == 180.0:
        return [(-180.0, box.south, 180.0, box.north)]
    return [(west, box.south, east, box.north) for west, east in lon_ranges(box)]


def _in_envelope(columns: Any, *bounds: float) -> ColumnElement[bool]:
    """Within west, south, east and north, edges included.

    One function, because the planner knows how many rows it selects. Comparisons of longitude and
    latitude are estimated as a few rows, and the first page of a large box then took 2 to 8 s on a
    million images instead of 12 ms: all rows of the box were sorted.
    """
    west, south, east, north = bounds
    # In contrast to a polygon of PostGIS, an envelope without width is a valid line or point.
    envelope = shapely.envelope(shapely.MultiPoint([(west, south), (east, north)]))
    condition: ColumnElement[bool] = func.ST_Intersects(
        columns.geom, func.ST_GeomFromWKB(envelope.wkb, 4326)
    )
    return condition


def _count_images(connection: Connection, query: FeatureQuery) -> int | None:
    """Count the images of all pages, if the counters of cells know it.

    They know conditions on the source. Only the first page is counted, because no client needs the
    number again.
    """
    columns = cell_counts.c
    conditions = [columns.resolution == COVERAGE_RESOLUTIONS[0]]
    for entry in query.filters:
        match entry:
            case Comparison(PropertyName(name, False), "=", value) if name in _COUNTED_PROPERTIES:
                conditions.append(columns[name] == value)
            case _:
                return None
    others = (query.after_id, query.ids, query.box, query.time_start, query.time_before)
    if any(condition is not None for condition in others):
        return None
    total = select(func.coalesce(func.sum(columns.images), 0)).where(*conditions)
    return int(connection.execute(total).scalar_one())


def _build_conditions(
    table: Table, layer: FeatureLayer, query: FeatureQuery
) -> list[ColumnElement[bool]]:
    conditions = [build_condition(table.c, entry) for entry in query.filters]
    if query.ids is not None:
        ids = [parsed for text in query.ids if (parsed := parse_uuid(text)) is not None]
        conditions.append(is_any_of(table.c.id, ids) if ids else false())
    if query.after_id is not None:
        conditions.append(table.c.id > UUID(query.after_id))
    if layer.start_property is not None and layer.end_property is not None:
        if query.time_start is not None:
            conditions.append(table.c[layer.end_property] >= query.time_start)
        if query.time_before is not None:
            conditions.append(table.c[layer.start_property] < query.time_before)
    return conditions


def parse_uuid(text: str) -> UUID | None:
    """Parse an id as it is written in answers; None for other text."""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() else None


def _to_feature(names: Sequence[str], row: Row[Any]) -> Feature:
    feature_id, lon, lat, *values = row
    return Feature(
        id=str(feature_id),
        geometry={"type": "Point", "coordinates": [lon, lat]},
        properties=dict(zip(names, values, strict=True)),
    )


def read_extent(connection: Connection, layer: FeatureLayer) -> LayerExtent:
    """Bounds of all features of a layer; those of images and cells come from the counters."""
    if layer.name == "queries":
        return _read_bounds(
            connection, layer_queries.c, (layer_queries.c.created_at,) * 2, true(), 0.0
        )
    columns = cell_counts.c
    # The position of a counter is the center of its images.
    return _read_bounds(
        connection,
        columns,
        (columns.first_captured_at, columns.last_captured_at),
        columns.resolution == DEFAULT_RESOLUTION,
        cell_diameter_deg(DEFAULT_RESOLUTION),
    )


def _read_bounds(
    connection: Connection,
    columns: Any,
    times: tuple[ColumnElement[Any], ColumnElement[Any]],
    condition: ColumnElement[bool],
    margin_deg: float,
) -> LayerExtent:
    """Bounds of all rows, larger by a margin in degrees of arc."""
    south, west, start, north, east, end = connection.execute(
        select(
            *(func.min(column) for column in (columns.lat, columns.lon, times[0])),
            *(func.max(column) for column in (columns.lat, columns.lon, times[1])),
        ).where(condition)
    ).one()
    if south is None:
        return LayerExtent()
    south, north = max(-90.0, south - margin_deg), min(90.0, north + margin_deg)
    highest_lat = max(abs(south), abs(north))
    margin_lon_deg = margin_deg / max(math.cos(math.radians(highest_lat)), 1e-6)
    west, east = max(-180.0, west - margin_lon_deg), min(180.0, east + margin_lon_deg)
    return LayerExtent(
        box=Box(south=south, west=west, north=north, east=east), start=start, end=end
    )
