"""Filters, payload indexes and search parameters of Qdrant Edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

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
from pinpoint.store.vectors.strategy import GRAPH_EF, SearchStrategy


def payload_indexes() -> dict[str, Any]:
    """Payload indexes by field, none with its own links in the graph.

    Such links double the cost of a graph, and a narrow query uses ACORN, which traverses excluded
    neighbors. At 100,000 clustered images of 384 values a graph with links of 16 took 154 CPU
    seconds, and one of 24 without them 81. ACORN held 0.999 and 0.990-0.994 of the best 48, in
    28-33 and 19-25 ms. With links for organization, source and kind alone: 0.98-0.99, 117 s.
    """
    # On disk: loading these fields delays all queries when one build follows another. Queries
    # rarely use them, and ten writes into 30,000 images take 1.2 ms either way.
    on_disk = {"on_disk": True}
    definitions: dict[str, tuple[Any, dict[str, Any]]] = {
        "organization": (edge.UuidIndexParams, {"is_tenant": True}),
        "partition_key": (edge.KeywordIndexParams, {"is_tenant": True}),
        "source": (edge.UuidIndexParams, {}),
        "location": (edge.GeoIndexParams, {}),
        "captured_at": (edge.DatetimeIndexParams, {}),
        "cell": (edge.IntegerIndexParams, {"lookup": True, "range": False, **on_disk}),
        "version": (edge.IntegerIndexParams, {"lookup": False, "range": True, **on_disk}),
        "dedup_group": (edge.KeywordIndexParams, on_disk),
        "deleted": (edge.IntegerIndexParams, {"lookup": True, "range": False}),
    }
    return {
        name: params_type(**options, enable_hnsw=False)
        for name, (params_type, options) in definitions.items()
    }


def shard_config(dims: Mapping[str, int]) -> edge.EdgeConfig:
    """Named vectors with cosine distance and full precision; one segment after `optimize()`."""
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(width, edge.Distance.Cosine) for name, width in dims.items()
        },
        hnsw_config=edge.HnswIndexConfig(m=24, ef_construct=128, full_scan_threshold=10_000),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
    )


def search_params(strategy: SearchStrategy, limit: int) -> edge.SearchParams:
    """Parameters of the chosen strategy; `hnsw_ef` is at least `limit`."""
    if strategy == "exact":
        return edge.SearchParams(exact=True)
    # Selectivity 1.0: the engine must not override the choice of `strategy`.
    acorn = (
        edge.AcornSearchParams(enable=True, max_selectivity=1.0) if strategy == "acorn" else None
    )
    return edge.SearchParams(hnsw_ef=max(GRAPH_EF, limit), acorn=acorn)


def may_replace(version: int, *, tombstone: bool) -> edge.Filter:
    """Condition for a write of `version`: it replaces older points and equal live points.

    A tombstone also replaces an equal tombstone; a live point never does.
    """
    older = edge.FieldCondition("version", range=edge.RangeFloat(lte=float(version)))
    if tombstone:
        return edge.Filter(must=[older])
    equal_tombstone = edge.Filter(
        must=[
            edge.FieldCondition("deleted", match=edge.MatchValue(1)),
            edge.FieldCondition("version", range=edge.RangeFloat(gte=float(version))),
        ]
    )
    return edge.Filter(must=[older], must_not=[equal_tombstone])


def to_edge_filter(plan: FilterExpr) -> edge.Filter:
    """Convert a filter expression to the engine's filter."""
    must_not: list[Any] = []
    if plan.not_ids:
        must_not.append(edge.HasIdCondition(set(plan.not_ids)))
    if plan.not_groups:
        must_not.append(
            edge.FieldCondition("dedup_group", match=edge.MatchAny(list(plan.not_groups)))
        )
    if plan.not_circle is not None:
        must_not.append(_to_edge_condition(plan.not_circle))
    return edge.Filter(
        must=[_to_edge_condition(condition) for condition in plan.must], must_not=must_not
    )


def _to_edge_condition(condition: Condition) -> edge.FieldCondition | edge.Filter:
    match condition:
        case MatchAny(key, (value,)):
            return edge.FieldCondition(key, match=edge.MatchValue(value))
        case MatchAny(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(list(values)))
        case BoxCondition(boxes):
            conditions = [
                edge.FieldCondition(
                    "location",
                    geo_bounding_box=edge.GeoBoundingBox(
                        _to_geo_point(box.north, box.west), _to_geo_point(box.south, box.east)
                    ),
                )
                for box in boxes
            ]
            return conditions[0] if len(conditions) == 1 else edge.Filter(should=list(conditions))
        case CircleCondition(lat, lon, radius_m):
            circle = edge.GeoRadius(_to_geo_point(lat, lon), radius_m)
            return edge.FieldCondition("location", geo_radius=circle)
        case PolygonCondition(polygons):
            conditions = [
                edge.FieldCondition(
                    "location",
                    geo_polygon=edge.GeoPolygon(
                        _to_geo_points(rings.exterior),
                        [_to_geo_points(interior) for interior in rings.interiors] or None,
                    ),
                )
                for rings in polygons
            ]
            return conditions[0] if len(conditions) == 1 else edge.Filter(should=list(conditions))
        case TimeRange(captured_after, captured_before):
            period = edge.RangeDateTime(gte=captured_after, lt=captured_before)
            return edge.FieldCondition("captured_at", range=period)


def _to_geo_point(lat: float, lon: float) -> edge.GeoPoint:
    return edge.GeoPoint(lon, lat)


def _to_geo_points(ring: LatLonRing) -> list[edge.GeoPoint]:
    return [_to_geo_point(lat, lon) for lat, lon in ring]
