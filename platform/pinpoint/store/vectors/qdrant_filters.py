"""Filters, payload indexes and search parameters of qdrant-client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from qdrant_client import models as m

from pinpoint.records import IndexPoint
from pinpoint.store.vectors.filters import (
    BoxCondition,
    CircleCondition,
    Condition,
    FilterExpr,
    LatLonRing,
    MatchAny,
    PolygonCondition,
    TimeRange,
)
from pinpoint.store.vectors.payload import to_payload
from pinpoint.store.vectors.strategy import GRAPH_EF, SearchStrategy

PAYLOAD_INDEXES: Final[Mapping[str, Any]] = {
    "organization": m.UuidIndexParams(type=m.UuidIndexType.UUID, is_tenant=True),
    "partition_key": m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD, is_tenant=True),
    "source": m.UuidIndexParams(type=m.UuidIndexType.UUID),
    "location": m.GeoIndexParams(type=m.GeoIndexType.GEO),
    "captured_at": m.DatetimeIndexParams(type=m.DatetimeIndexType.DATETIME),
    "cell": m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=True, range=False),
    "version": m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=False, range=True),
    "dedup_group": m.KeywordIndexParams(type=m.KeywordIndexType.KEYWORD),
    "deleted": m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=True, range=False),
}
"""Created before the first point; otherwise HNSW gets no links for these fields."""


def collection_config(dims: Mapping[str, int]) -> dict[str, Any]:
    """Named vectors with cosine distance; int8 copies in memory, rescored with the originals."""
    int8 = m.ScalarQuantizationConfig(type=m.ScalarType.INT8, quantile=0.99, always_ram=True)
    return {
        "vectors_config": {
            name: m.VectorParams(size=width, distance=m.Distance.COSINE)
            for name, width in dims.items()
        },
        "hnsw_config": m.HnswConfigDiff(m=16, ef_construct=128),
        "quantization_config": m.ScalarQuantization(scalar=int8),
    }


def search_params(strategy: SearchStrategy, limit: int) -> m.SearchParams:
    """Parameters of the chosen strategy: exact with full vectors, or the graph with rescoring."""
    if strategy == "exact":
        return m.SearchParams(exact=True, quantization=m.QuantizationSearchParams(ignore=True))
    # Selectivity 1.0: the engine must not override the choice of `strategy`.
    acorn = m.AcornSearchParams(enable=True, max_selectivity=1.0) if strategy == "acorn" else None
    return m.SearchParams(
        hnsw_ef=max(GRAPH_EF, limit),
        acorn=acorn,
        quantization=m.QuantizationSearchParams(rescore=True, oversampling=2.0),
    )


def payload_rows(points: Sequence[IndexPoint]) -> list[m.PointStruct]:
    """Convert live points to the client's type."""
    return [
        m.PointStruct(
            id=str(point.id),
            vector={key: vector.tolist() for key, vector in point.vectors.items()},
            payload=to_payload(point),
        )
        for point in points
    ]


def is_tombstone() -> m.FieldCondition:
    """Condition that matches tombstones."""
    return m.FieldCondition(key="deleted", match=m.MatchValue(value=1))


def may_replace(version: int, *, tombstone: bool) -> m.Filter:
    """Condition for a write of `version`: it replaces older points and equal live points."""
    older = m.FieldCondition(key="version", range=m.Range(lte=float(version)))
    if tombstone:
        return m.Filter(must=[older])
    equal = m.FieldCondition(key="version", range=m.Range(gte=float(version)))
    return m.Filter(must=[older], must_not=[m.Filter(must=[is_tombstone(), equal])])


def to_qdrant_filter(plan: FilterExpr) -> m.Filter:
    """Convert a filter expression to the client's filter."""
    must_not: list[Any] = []
    if plan.not_ids:
        must_not.append(m.HasIdCondition(has_id=[str(condition) for condition in plan.not_ids]))
    if plan.not_groups:
        groups = m.MatchAny(any=list(plan.not_groups))
        must_not.append(m.FieldCondition(key="dedup_group", match=groups))
    if plan.not_circle is not None:
        must_not.append(_to_qdrant_condition(plan.not_circle))
    return m.Filter(
        must=[_to_qdrant_condition(condition) for condition in plan.must], must_not=must_not or None
    )


def _to_qdrant_condition(condition: Condition) -> m.FieldCondition | m.Filter:
    match condition:
        case MatchAny(key, values):
            return m.FieldCondition(key=key, match=m.MatchAny(any=list(values)))
        case BoxCondition(boxes):
            conditions = [
                m.FieldCondition(
                    key="location",
                    geo_bounding_box=m.GeoBoundingBox(
                        top_left=_to_geo_point(box.north, box.west),
                        bottom_right=_to_geo_point(box.south, box.east),
                    ),
                )
                for box in boxes
            ]
            return m.Filter(should=list(conditions))
        case CircleCondition(lat, lon, radius_m):
            circle = m.GeoRadius(center=_to_geo_point(lat, lon), radius=radius_m)
            return m.FieldCondition(key="location", geo_radius=circle)
        case PolygonCondition(polygons):
            conditions = [
                m.FieldCondition(
                    key="location",
                    geo_polygon=m.GeoPolygon(
                        exterior=_to_line(rings.exterior),
                        interiors=[_to_line(interior) for interior in rings.interiors] or None,
                    ),
                )
                for rings in polygons
            ]
            return m.Filter(should=list(conditions))
        case TimeRange(captured_after, captured_before):
            period = m.DatetimeRange.model_validate({"gte": captured_after, "lt": captured_before})
            return m.FieldCondition(key="captured_at", range=period)


def _to_geo_point(lat: float, lon: float) -> m.GeoPoint:
    return m.GeoPoint(lon=lon, lat=lat)


def _to_line(ring: LatLonRing) -> m.GeoLineString:
    return m.GeoLineString(points=[_to_geo_point(lat, lon) for lat, lon in ring])
