"""What a point carries in the index, and what a filter means, for both Qdrant engines.

The engines file positions under geohashes, and a geohash cannot hold latitude 90 or longitude 180:
points and box edges exactly there are lost (seen in 0.9.0 and in the server's source). So positions
are stored, and shapes asked for, a hair inside the limits (2e-9°, 0.2 mm), and read back snapped.
Boxes exclude their edges in the engine; ours include them, so boxes are widened by 1e-8° (1 mm).
180 and -180 are one meridian. Circles are great-circle distances on a sphere of 6,371,008.8 m,
which differ from the ellipsoid by up to 0.56 %. Polygons are planar in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np

from pinpoint.errors import BadBundle, BadRequest
from pinpoint.records import Box, Circle, Hit, IndexFilter, IndexPoint, IndexQuery, Point

UPSERT_SLICE: Final = 128
"""Points in one engine call: longer calls would keep searches waiting."""
MAX_LIMIT: Final = 10_000
MAX_VERSION: Final = 2**53
"""The engines compare versions as 64-bit floats."""

_EDGE_DEG: Final = 1e-8
_STORED_DEG: Final = 2e-9
_SHAPE_DEG: Final = 1e-9
_EDGE_M: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Terms:
    """The payload value under `key` is one of `values`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Inside any of these boxes; none crosses the antimeridian."""

    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Disc:
    """Within `radius_m` of a place."""

    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Ring:
    """Inside a closed ring of `(lat, lon)`."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Period:
    """Taken at or after `since` and before `until` (RFC 3339, UTC)."""

    since: str | None
    until: str | None


Condition = Terms | Boxes | Disc | Ring | Period


@dataclass(frozen=True, slots=True)
class Plan:
    """A filter in words both engines have: all of `must`, no id and no group of the rest."""

    must: tuple[Condition, ...]
    not_ids: tuple[UUID, ...]
    not_groups: tuple[str, ...]


def plan(where: IndexFilter) -> Plan:
    """Translate a filter; tombstones never match, they have no organisation.

    Raises:
        BadRequest: A shape or time is unusable; the message says which.
    """
    must: list[Condition] = [Terms("organization", (str(where.organization_id),))]
    if where.kinds:
        must.append(Terms("kind", tuple(where.kinds)))
    if where.source_ids:
        must.append(Terms("source", tuple(str(each) for each in where.source_ids)))
    if where.circle is not None:
        must.append(_disc(where.circle))
    if where.box is not None:
        must.append(_boxes(where.box))
    if where.polygon:
        must.append(_ring(where.polygon))
    if where.since is not None or where.until is not None:
        must.append(Period(_moment(where.since), _moment(where.until)))
    return Plan(tuple(must), tuple(where.exclude_ids), tuple(where.exclude_groups))


def _inside(value_deg: float, limit_deg: float, margin_deg: float) -> float:
    return min(max(value_deg, margin_deg - limit_deg), limit_deg - margin_deg)


def _disc(circle: Circle) -> Disc:
    if not math.isfinite(circle.radius_m) or circle.radius_m < 0:
        raise BadRequest(f"a circle's radius must be 0 m or more, not {circle.radius_m}")
    lat = _inside(circle.center.lat, 90.0, _SHAPE_DEG)
    lon = _inside(circle.center.lon, 180.0, _SHAPE_DEG)
    return Disc(lat, lon, circle.radius_m + _EDGE_M)


def _boxes(box: Box) -> Boxes:
    edges = (box.south, box.west, box.north, box.east)
    if not all(math.isfinite(edge) for edge in edges):
        raise BadRequest(f"a box needs four finite edges, not {edges}")
    if box.south > box.north or box.south < -90 or box.north > 90:
        raise BadRequest(f"box latitudes {box.south} to {box.north} are not -90 <= south <= north")
    if abs(box.west) > 180 or abs(box.east) > 180:
        raise BadRequest(f"box longitudes {box.west} to {box.east} are outside -180 to 180")
    if box.west > box.east:
        spans = [(box.west, 180.0), (-180.0, box.east)]
    else:
        spans = [(box.west, box.east)]
        if box.east == 180.0 and box.west > -180.0:
            spans.append((-180.0, -180.0))
        if box.west == -180.0 and box.east < 180.0:
            spans.append((180.0, 180.0))
    south = _inside(box.south - _EDGE_DEG, 90.0, _SHAPE_DEG)
    north = _inside(box.north + _EDGE_DEG, 90.0, _SHAPE_DEG)
    return Boxes(
        tuple(
            Box(
                south=south,
                west=_inside(west - _EDGE_DEG, 180.0, _SHAPE_DEG),
                north=north,
                east=_inside(east + _EDGE_DEG, 180.0, _SHAPE_DEG),
            )
            for west, east in spans
        )
    )


def _ring(polygon: Sequence[Point]) -> Ring:
    points = tuple(
        (_inside(each.lat, 90.0, _SHAPE_DEG), _inside(each.lon, 180.0, _SHAPE_DEG))
        for each in polygon
    )
    if points[0] != points[-1]:
        points = (*points, points[0])
    if len(set(points)) < 3:
        raise BadRequest("a polygon needs at least three different corners")
    return Ring(points)


def _moment(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise BadRequest(f"the time {value.isoformat()} has no zone; give an aware time")
    return value.astimezone(UTC).isoformat()


def payload(point: IndexPoint) -> dict[str, Any]:
    """What is stored with a live point."""
    fields: dict[str, Any] = {
        "organization": str(point.organization_id),
        "source": str(point.source_id),
        "kind": point.kind,
        "location": {
            "lat": _inside(point.point.lat, 90.0, _STORED_DEG),
            "lon": _inside(point.point.lon, 180.0, _STORED_DEG),
        },
        "cell": point.cell,
        "version": point.version,
        "group": point.group,
    }
    if point.captured_at is not None:
        fields["captured_at"] = _moment(point.captured_at)
    return fields


def tombstone(version: int) -> dict[str, Any]:
    """What is stored in place of a deleted point: no organisation, so no filter finds it."""
    # A number, because the embedded engine's filters take True for 1 and then match no bool.
    return {"version": version, "deleted": 1}


def is_alive(fields: Mapping[str, Any]) -> bool:
    """Whether a payload is a live point's."""
    return "deleted" not in fields


def _snap(value_deg: float, limit_deg: float) -> float:
    if abs(value_deg) >= limit_deg - 1.5 * _STORED_DEG:
        return math.copysign(limit_deg, value_deg)
    return value_deg


def _place(fields: Mapping[str, Any]) -> Point:
    where = fields["location"]
    return Point(_snap(float(where["lat"]), 90.0), _snap(float(where["lon"]), 180.0))


def _captured(fields: Mapping[str, Any]) -> datetime | None:
    value = fields.get("captured_at")
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def hit(point_id: UUID, score: float, fields: Mapping[str, Any]) -> Hit:
    """A search result from its payload."""
    return Hit(
        id=point_id,
        score=score,
        version=int(fields["version"]),
        source_id=UUID(fields["source"]),
        kind=fields["kind"],
        point=_place(fields),
        captured_at=_captured(fields),
        group=fields["group"],
    )


def stored_point(
    point_id: UUID, fields: Mapping[str, Any], vectors: Mapping[str, Sequence[float]]
) -> IndexPoint:
    """A live point from its payload and vectors."""
    return IndexPoint(
        id=point_id,
        version=int(fields["version"]),
        organization_id=UUID(fields["organization"]),
        source_id=UUID(fields["source"]),
        kind=fields["kind"],
        point=_place(fields),
        captured_at=_captured(fields),
        cell=int(fields["cell"]),
        group=fields["group"],
        vectors={name: np.asarray(each, dtype=np.float32) for name, each in vectors.items()},
    )


def check_vector(channel: str, vector: np.ndarray[Any, Any], dims: Mapping[str, int]) -> None:
    """Refuse a vector the index was not made for.

    Raises:
        BadBundle: Unknown channel or wrong width.
        BadRequest: A value is not finite.
    """
    if channel not in dims:
        raise BadBundle(f"the index has no channel {channel!r}, only {sorted(dims)}")
    if vector.shape != (dims[channel],):
        raise BadBundle(
            f"channel {channel!r} holds vectors of width {dims[channel]}, not {vector.shape}; "
            "run `pinpoint index rebuild` if the bundle changed"
        )
    if not np.isfinite(vector).all():
        raise BadRequest(f"a vector of channel {channel!r} has values that are not finite")


def check_version(version: int) -> None:
    """Raise `BadRequest` for a version the engines cannot compare."""
    if not 0 <= version < MAX_VERSION:
        raise BadRequest(f"version {version} is outside 0 to {MAX_VERSION - 1}")


def check_query(query: IndexQuery, dims: Mapping[str, int]) -> None:
    """Raise `BadRequest` or `BadBundle` for a question that cannot be asked."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadRequest(f"limit {query.limit} is outside 1 to {MAX_LIMIT}")
    check_vector(query.channel, query.vector, dims)


def newest(points: Sequence[IndexPoint]) -> dict[int, list[IndexPoint]]:
    """Group points by version, one per id: of several under one id the newest, then the last."""
    kept: dict[UUID, IndexPoint] = {}
    for point in points:
        check_version(point.version)
        known = kept.get(point.id)
        if known is None or known.version <= point.version:
            kept[point.id] = point
    groups: dict[int, list[IndexPoint]] = {}
    for point in kept.values():
        groups.setdefault(point.version, []).append(point)
    return groups


def best_first(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """Sort by score, ties by id, and cut."""
    return sorted(hits, key=lambda each: (-each.score, each.id))[:limit]


def cut_through_tie(hits: Sequence[Hit], limit: int, asked: int) -> bool:
    """Whether an engine that returned `asked` hits may have hidden equals of the last one kept."""
    if len(hits) < asked or len(hits) <= limit:
        return False
    scores = sorted((each.score for each in hits), reverse=True)
    return scores[limit - 1] == scores[-1]
