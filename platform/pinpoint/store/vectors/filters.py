"""Engine-neutral filter expressions for both Qdrant engines.

The engines exclude the edges of a box. Pinpoint includes them, so boxes are widened by 1e-8° (1
mm). 180 and -180 are one meridian. Circles are great-circle distances on a sphere of 6,371,008.8 m,
which differ from the ellipsoid by up to 0.56 %. Polygons are planar in degrees. Every corner is
kept inside the limits of a geohash (see `payload`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from pinpoint.errors import InvalidRequestError
from pinpoint.records import Box, Circle, IndexFilter, Polygon, Ring
from pinpoint.store.vectors.payload import clamp_limit, partition_key, to_iso

_BOX_MARGIN_DEG: Final = 1e-8
_CORNER_MARGIN_DEG: Final = 1e-9
_RADIUS_MARGIN_M: Final = 1e-3


@dataclass(frozen=True, slots=True)
class MatchAny:
    """The payload value under `key` is one of `values`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoxCondition:
    """Inside any of these boxes; no box crosses the antimeridian."""

    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class CircleCondition:
    """Within `radius_m` of a position."""

    lat: float
    lon: float
    radius_m: float


LatLonRing = tuple[tuple[float, float], ...]
"""A closed ring of `(lat, lon)`."""


@dataclass(frozen=True, slots=True)
class PolygonRings:
    """Inside the exterior and outside of all interiors."""

    exterior: LatLonRing
    interiors: tuple[LatLonRing, ...]


@dataclass(frozen=True, slots=True)
class PolygonCondition:
    """Inside any of these polygons."""

    polygons: tuple[PolygonRings, ...]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Captured at or after `captured_after` and before `captured_before` (RFC 3339, UTC)."""

    captured_after: str | None
    captured_before: str | None


Condition = MatchAny | BoxCondition | CircleCondition | PolygonCondition | TimeRange


@dataclass(frozen=True, slots=True)
class FilterExpr:
    """Conjunction of `must` that excludes ids, groups and the inside of a circle."""

    must: tuple[Condition, ...]
    not_ids: tuple[UUID, ...]
    not_groups: tuple[str, ...]
    not_circle: CircleCondition | None


def build_filter(where: IndexFilter) -> FilterExpr:
    """Translate a filter. Tombstones never match because they have no organization.

    Args:
        where: Filter of the query.

    Raises:
        InvalidRequestError: A shape or time is invalid; the message names it.
    """
    owner = where.organization_id
    must: list[Condition] = []
    if where.source_kinds:
        must.append(
            MatchAny(
                "partition_key", tuple(partition_key(owner, kind) for kind in where.source_kinds)
            )
        )
    else:
        must.append(MatchAny("organization", (str(owner),)))
    if where.source_ids:
        must.append(MatchAny("source", tuple(str(source_id) for source_id in where.source_ids)))
    if where.circle is not None:
        must.append(_to_circle(where.circle))
    if where.box is not None:
        must.append(_to_boxes(where.box))
    if where.polygons:
        must.append(PolygonCondition(tuple(map(_to_rings, where.polygons))))
    if where.country_polygons:
        must.append(PolygonCondition(tuple(map(_to_rings, where.country_polygons))))
    if where.captured_after is not None or where.captured_before is not None:
        must.append(TimeRange(to_iso(where.captured_after), to_iso(where.captured_before)))
    return FilterExpr(
        must=tuple(must),
        not_ids=tuple(where.exclude_ids),
        not_groups=tuple(where.exclude_groups),
        not_circle=None if where.exclude_circle is None else _to_circle(where.exclude_circle),
    )


def split_by_partition(where: IndexFilter) -> tuple[tuple[IndexFilter, ...], bool]:
    """Split a filter into index partitions, and tell whether they match it exactly.

    The partitions contain all matches; the second value is true if they contain nothing else. The
    engines know the size of a partition without reading its points. Exclusions by id or group
    concern few images and are ignored here; an excluded circle may contain most of them.
    """
    owner = IndexFilter(organization_id=where.organization_id)
    other_conditions = (
        where.source_ids,
        where.circle,
        where.box,
        where.polygons,
        where.country_polygons,
        where.captured_after,
        where.captured_before,
        where.exclude_circle,
    )
    complete = not any(other_conditions)
    if not where.source_kinds:
        return (owner,), complete
    return tuple(
        replace(owner, source_kinds=(kind,)) for kind in dict.fromkeys(where.source_kinds)
    ), complete


def _to_circle(circle: Circle) -> CircleCondition:
    if not math.isfinite(circle.radius_m) or circle.radius_m < 0:
        raise InvalidRequestError(f"a circle's radius must be 0 m or more, not {circle.radius_m}")
    lat = clamp_limit(circle.center.lat, 90.0, _CORNER_MARGIN_DEG)
    lon = clamp_limit(circle.center.lon, 180.0, _CORNER_MARGIN_DEG)
    return CircleCondition(lat, lon, circle.radius_m + _RADIUS_MARGIN_M)


def _to_boxes(box: Box) -> BoxCondition:
    edges = (box.south, box.west, box.north, box.east)
    if not all(math.isfinite(edge) for edge in edges):
        raise InvalidRequestError(f"a box needs four finite edges, not {edges}")
    if box.south > box.north or box.south < -90 or box.north > 90:
        raise InvalidRequestError(
            f"box latitudes {box.south} to {box.north} are not -90 <= south <= north"
        )
    if abs(box.west) > 180 or abs(box.east) > 180:
        raise InvalidRequestError(
            f"box longitudes {box.west} to {box.east} are outside -180 to 180"
        )
    if box.west > box.east:
        spans = [(box.west, 180.0), (-180.0, box.east)]
    else:
        spans = [(box.west, box.east)]
        if box.east == 180.0 and box.west > -180.0:
            spans.append((-180.0, -180.0))
        if box.west == -180.0 and box.east < 180.0:
            spans.append((180.0, 180.0))
    south = clamp_limit(box.south - _BOX_MARGIN_DEG, 90.0, _CORNER_MARGIN_DEG)
    north = clamp_limit(box.north + _BOX_MARGIN_DEG, 90.0, _CORNER_MARGIN_DEG)
    return BoxCondition(
        tuple(
            Box(
                south=south,
                west=clamp_limit(west - _BOX_MARGIN_DEG, 180.0, _CORNER_MARGIN_DEG),
                north=north,
                east=clamp_limit(east + _BOX_MARGIN_DEG, 180.0, _CORNER_MARGIN_DEG),
            )
            for west, east in spans
        )
    )


def _to_rings(polygon: Polygon) -> PolygonRings:
    return PolygonRings(
        exterior=_to_ring(polygon.exterior), interiors=tuple(map(_to_ring, polygon.holes))
    )


def _to_ring(ring: Ring) -> LatLonRing:
    points = tuple(
        (
            clamp_limit(corner.lat, 90.0, _CORNER_MARGIN_DEG),
            clamp_limit(corner.lon, 180.0, _CORNER_MARGIN_DEG),
        )
        for corner in ring
    )
    if len(set(points)) < 3 or points[0] != points[-1]:
        raise InvalidRequestError(
            "a polygon needs closed rings with at least three different corners each"
        )
    return points
