"""Filters, payload indexes and limits in Qdrant Edge's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from pinpoint.store.vectors_filter import Boxes, Condition, Disc, Period, Plan, Ring, Terms
from pinpoint.store.vectors_plan import GRAPH_EF, Way


def payload_indexes() -> dict[str, Any]:
    """Payload indexes by field, none with links of its own in the graph.

    Such links double what a graph costs, and a narrow question takes ACORN, which looks past what
    the filter forbids. At 100,000 clustered images of 384 values a graph with links of 16 took 154
    CPU seconds, and one of 24 without them 81; ACORN held 0.999 and 0.990-0.994 of the best 48, in
    28-33 and 19-25 ms. With links for organisation, source and kind alone: 0.98-0.99, 117 s.
    """
    # Read where they lie, for to load them stops every question when one build follows another:
    # questions seldom name them, and ten writes into 30,000 images take 1.2 ms either way.
    seldom = {"on_disk": True}
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "organization": (edge.UuidIndexParams, {"is_tenant": True}),
        "shelf": (edge.KeywordIndexParams, {"is_tenant": True}),
        "source": (edge.UuidIndexParams, {}),
        "location": (edge.GeoIndexParams, {}),
        "captured_at": (edge.DatetimeIndexParams, {}),
        "cell": (edge.IntegerIndexParams, {"lookup": True, "range": False, **seldom}),
        "version": (edge.IntegerIndexParams, {"lookup": False, "range": True, **seldom}),
        "group": (edge.KeywordIndexParams, seldom),
        "deleted": (edge.IntegerIndexParams, {"lookup": True, "range": False}),
    }
    return {name: make(**given, enable_hnsw=False) for name, (make, given) in made.items()}


def shard_config(dims: Mapping[str, int]) -> edge.EdgeConfig:
    """Named vectors by cosine, full precision; one big segment after `optimize()`."""
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(width, edge.Distance.Cosine) for name, width in dims.items()
        },
        hnsw_config=edge.HnswIndexConfig(m=24, ef_construct=128, full_scan_threshold=10_000),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
    )


def search_params(way: Way, limit: int) -> edge.SearchParams:
    """The chosen way; `limit` hits must fit into what the graph keeps in sight."""
    if way == "exact":
        return edge.SearchParams(exact=True)
    # A share of 1: the engine must not weigh again what `vectors_plan` has chosen.
    acorn = edge.AcornSearchParams(enable=True, max_selectivity=1.0) if way == "acorn" else None
    return edge.SearchParams(hnsw_ef=max(GRAPH_EF, limit), acorn=acorn)


def may_replace(version: int, *, tombstone: bool) -> edge.Filter:
    """Which stored points a write of `version` may replace: older ones, and equal live ones.

    A tombstone also replaces an equal tombstone; a live point never does.
    """
    older = edge.FieldCondition("version", range=edge.RangeFloat(lte=float(version)))
    if tombstone:
        return edge.Filter(must=[older])
    buried = edge.Filter(
        must=[
            edge.FieldCondition("deleted", match=edge.MatchValue(1)),
            edge.FieldCondition("version", range=edge.RangeFloat(gte=float(version))),
        ]
    )
    return edge.Filter(must=[older], must_not=[buried])


def without_shelf() -> edge.Filter:
    """Live points that an earlier version wrote: they lack the field `shelf`."""
    none, dead = (
        edge.FieldCondition("shelf", is_empty=True),
        edge.FieldCondition("deleted", match=edge.MatchValue(1)),
    )
    return edge.Filter(must=[none], must_not=[dead])


def filter_of(plan: Plan) -> edge.Filter:
    """A plan as the engine's filter."""
    must_not: list[Any] = []
    if plan.not_ids:
        must_not.append(edge.HasIdCondition(set(plan.not_ids)))
    if plan.not_groups:
        must_not.append(edge.FieldCondition("group", match=edge.MatchAny(list(plan.not_groups))))
    return edge.Filter(must=[_condition(each) for each in plan.must], must_not=must_not)


def _condition(condition: Condition) -> edge.FieldCondition | edge.Filter:
    match condition:
        case Terms(key, (value,)):
            return edge.FieldCondition(key, match=edge.MatchValue(value))
        case Terms(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(list(values)))
        case Boxes(boxes):
            parts = [
                edge.FieldCondition(
                    "location",
                    geo_bounding_box=edge.GeoBoundingBox(
                        _corner(box.north, box.west), _corner(box.south, box.east)
                    ),
                )
                for box in boxes
            ]
            return parts[0] if len(parts) == 1 else edge.Filter(should=list(parts))
        case Disc(lat, lon, radius_m):
            circle = edge.GeoRadius(_corner(lat, lon), radius_m)
            return edge.FieldCondition("location", geo_radius=circle)
        case Ring(points):
            ring = edge.GeoPolygon([_corner(lat, lon) for lat, lon in points])
            return edge.FieldCondition("location", geo_polygon=ring)
        case Period(since, until):
            period = edge.RangeDateTime(gte=since, lt=until)
            return edge.FieldCondition("captured_at", range=period)


def _corner(lat: float, lon: float) -> edge.GeoPoint:
    return edge.GeoPoint(lon, lat)
