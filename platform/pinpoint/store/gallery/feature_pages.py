"""Pages of the layers whose features are rows: images and kept queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Table, false, func, select

from pinpoint.records import (
    Box,
    Feature,
    FeatureLayer,
    FeaturePage,
    FeatureQuery,
    LayerExtent,
)
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.views import layer_images
from pinpoint.store.gallery.cql2_conditions import build_condition
from pinpoint.store.gallery.image_conditions import in_box

LAYER_TABLES: Final[Mapping[str, Table]] = {"images": layer_images}


def read_features(
    connection: Connection, layer: FeatureLayer, query: FeatureQuery
) -> FeaturePage:
    """Read one page of features, ordered by id.

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
    features = tuple(_to_feature(names, row) for row in rows[: query.limit])
    return FeaturePage(features=features, has_more=len(rows) > query.limit)


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
    """Bounds of all features of a layer."""
    columns = LAYER_TABLES[layer.name].c
    times = [columns.captured_at] if layer.name == "images" else [columns.created_at]
    row = connection.execute(
        select(
            func.min(columns.lon),
            func.min(columns.lat),
            func.max(columns.lon),
            func.max(columns.lat),
            func.min(times[0]),
            func.max(times[0]),
        )
    ).one()
    west, south, east, north, start, end = row
    box = None if west is None else Box(south=south, west=west, north=north, east=east)
    return LayerExtent(box=box, start=start, end=end)
