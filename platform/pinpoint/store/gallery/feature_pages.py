"""Pages of the layers whose features are rows: images and kept queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Table, false, func, select

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
from pinpoint.store.gallery.image_conditions import in_box

LAYER_TABLES: Final[Mapping[str, Table]] = {"images": layer_images, "queries": layer_queries}
_COUNTED_PROPERTIES: Final = frozenset({"source", "source_id", "source_kind"})


def read_rows(connection: Connection, layer: FeatureLayer, query: FeatureQuery) -> FeaturePage:
    """Read one page of features that are rows, ordered by id.

    Args:
        connection: Connection with the role `pinpoint_reader`, in one organization.
        layer: A layer of `LAYER_TABLES`.
        query: Conditions and position of the page.
    """
    table = LAYER_TABLES[layer.name]
    names = [entry.name for entry in layer.properties]
    statement = (
        select(table.c.id, table.c.lon, table.c.lat, *(table.c[name] for name in names))
        .where(*_build_conditions(table, layer, query))
        .order_by(table.c.id)
        .limit(query.limit + 1)
    )
    rows = connection.execute(statement).all()
    return FeaturePage(
        features=tuple(_to_feature(names, row) for row in rows[: query.limit]),
        has_more=len(rows) > query.limit,
        num_matched=_count_images(connection, query) if layer is IMAGE_LAYER else None,
    )


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
    if query.box is not None:
        conditions.append(in_box(table.c, query.box))
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
        columns = layer_queries.c
        times = (columns.created_at, columns.created_at)
        conditions, margin_deg = [], 0.0
    else:
        columns = cell_counts.c
        times = (columns.first_captured_at, columns.last_captured_at)
        conditions = [columns.resolution == COVERAGE_RESOLUTIONS[-1]]
        # The position of a counter is the center of its images.
        resolution = DEFAULT_RESOLUTION if layer.is_gridded else COVERAGE_RESOLUTIONS[-1]
        margin_deg = cell_diameter_deg(resolution)
    bounds = connection.execute(
        select(
            *(func.min(column) for column in (columns.lat, columns.lon, times[0])),
            *(func.max(column) for column in (columns.lat, columns.lon, times[1])),
        ).where(*conditions)
    ).one()
    south, west, start, north, east, end = bounds
    if south is None:
        return LayerExtent()
    south, north = max(-90.0, south - margin_deg), min(90.0, north + margin_deg)
    highest_lat = max(abs(south), abs(north))
    margin_lon_deg = margin_deg / max(math.cos(math.radians(highest_lat)), 1e-6)
    west, east = max(-180.0, west - margin_lon_deg), min(180.0, east + margin_lon_deg)
    return LayerExtent(
        box=Box(south=south, west=west, north=north, east=east), start=start, end=end
    )
