"""Payload of index points and their validation, for both Qdrant engines.

The engines index positions by geohash, and a geohash cannot hold latitude 90 or longitude 180.
Points and box edges exactly at these values are lost (seen with qdrant-edge 0.9.0). Therefore
stored positions and query shapes are kept 2e-9° (0.2 mm) inside the limits, and stored positions
are snapped back when read.

The field `partition_key` is the tenant key (Qdrant's `is_tenant`): organization and source kind.
The
engines keep points with the same tenant key together.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np

from pinpoint.errors import BadBundleError, BadRequestError, ConfigurationError, ModelMismatchError
from pinpoint.records import Hit, IndexInfo, IndexPoint, IndexQuery, IndexSpec, Point, limits

UPSERT_SLICE: Final = 128
"""Points in one engine call; longer calls would delay searches."""
OTHER_INSTALLATION: Final = "other_installation"
"""Reason of an error about an index of another installation."""
MAX_LIMIT: Final = 10_000
MAX_TIE: Final = 40_000
"""Maximum number of hits that are read to complete a group of equal scores."""
LAST_ID: Final = UUID(int=2**128 - 1)
MAX_VERSION: Final = 2**53
"""The engines compare versions as 64-bit floats."""

_POSITION_MARGIN_DEG: Final = 2e-9
_DECIMALS: Final = 9
"""Decimals of a degree (0.1 mm); the engines lose the last bit of a float."""


def clamp_limit(value_deg: float, limit_deg: float, margin_deg: float) -> float:
    """Keep a coordinate at least `margin_deg` away from `±limit_deg`."""
    return min(max(value_deg, margin_deg - limit_deg), limit_deg - margin_deg)


def to_iso(value: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC, with microseconds.

    Raises:
        BadRequestError: The time has no zone, or is out of range in UTC.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        raise BadRequestError(f"the time {value.isoformat()} has no zone; give an aware time")
    try:
        return limits.to_utc("the time", value).isoformat()
    except limits.UnstorableError as error:
        raise BadRequestError(error.detail, reason=error.reason) from error


def partition_key(organization_id: UUID, kind: str) -> str:
    """Partition key of an organization's images of one kind, as one value of one field.

    Nearly every query uses one of these values. Two conditions, on organization and kind, are
    evaluated for each image. For one value the engine has a list, and stores the vectors of a list
    side by side.
    """
    return f"{organization_id.hex}/{kind}"


def to_payload(point: IndexPoint) -> dict[str, Any]:
    """Payload of a live point."""
    fields: dict[str, Any] = {
        "organization": str(point.organization_id),
        "partition_key": partition_key(point.organization_id, point.kind),
        "source": str(point.source_id),
        "source_kind": point.kind,
        "location": {
            "lat": round(clamp_limit(point.point.lat, 90.0, _POSITION_MARGIN_DEG), _DECIMALS),
            "lon": round(clamp_limit(point.point.lon, 180.0, _POSITION_MARGIN_DEG), _DECIMALS),
        },
        "cell": point.cell,
        "version": point.version,
        "dedup_group": point.group,
    }
    if point.content_key:
        fields["content_key"] = point.content_key
    if point.captured_at is not None:
        fields["captured_at"] = to_iso(point.captured_at)
    return fields


def tombstone(version: int) -> dict[str, Any]:
    """Payload of a tombstone: it has no organization, so no filter matches it."""
    # A number: the embedded engine's filters convert True to 1 and then match no bool.
    return {"version": version, "deleted": 1}


def is_live_payload(fields: Mapping[str, Any]) -> bool:
    """Whether a payload belongs to a live point."""
    return "deleted" not in fields


def _snap_to_limit(value_deg: float, limit_deg: float) -> float:
    if abs(value_deg) >= limit_deg - 1.5 * _POSITION_MARGIN_DEG:
        return math.copysign(limit_deg, value_deg)
    return round(value_deg, _DECIMALS)


def _read_position(fields: Mapping[str, Any]) -> Point:
    location = fields["location"]
    return Point(
        _snap_to_limit(float(location["lat"]), 90.0), _snap_to_limit(float(location["lon"]), 180.0)
    )


def _read_captured_at(fields: Mapping[str, Any]) -> datetime | None:
    value = fields.get("captured_at")
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def hit(point_id: UUID, score: float, fields: Mapping[str, Any]) -> Hit:
    """Convert a payload to a search hit."""
    return Hit(
        id=point_id,
        score=score,
        version=int(fields["version"]),
        source_id=UUID(fields["source"]),
        kind=fields["source_kind"],
        point=_read_position(fields),
        captured_at=_read_captured_at(fields),
        group=fields["dedup_group"],
        content_key=fields.get("content_key", ""),
    )


def stored_point(point_id: UUID, fields: Mapping[str, Any], vectors: object) -> IndexPoint:
    """Convert a payload and named vectors to a live point; `vectors` is None if not requested."""
    named: dict[str, Any] = vectors if isinstance(vectors, dict) else {}
    return IndexPoint(
        id=point_id,
        version=int(fields["version"]),
        organization_id=UUID(fields["organization"]),
        source_id=UUID(fields["source"]),
        kind=fields["source_kind"],
        point=_read_position(fields),
        captured_at=_read_captured_at(fields),
        cell=int(fields["cell"]),
        group=fields["dedup_group"],
        content_key=fields.get("content_key", ""),
        vectors={name: np.asarray(vector, dtype=np.float32) for name, vector in named.items()},
    )


def check_vector(channel: str, vector: np.ndarray[Any, Any], dims: Mapping[str, int]) -> None:
    """Reject a vector that does not fit the index.

    Raises:
        BadBundleError: Unknown channel or wrong width.
        BadRequestError: A value is not finite.
    """
    if channel not in dims:
        raise BadBundleError(f"the index has no channel {channel!r}, only {sorted(dims)}")
    if vector.shape != (dims[channel],):
        raise BadBundleError(
            f"channel {channel!r} holds vectors of width {dims[channel]}, not {vector.shape}; "
            "run `pinpoint index rebuild` if the bundle changed"
        )
    if not np.isfinite(vector).all():
        raise BadRequestError(f"a vector of channel {channel!r} has values that are not finite")


def check_contract(stored: str, *contracts: str | None) -> None:
    """Reject data of another contract; None marks data that came from the index itself.

    Raises:
        ModelMismatchError: One of the contracts differs.
    """
    for contract in contracts:
        if contract not in (None, stored):
            raise ModelMismatchError(
                f"the index holds vectors of contract {stored}, these are of {contract}; "
                "`pinpoint bundles activate` changes what the index holds"
            )


def check_installation(stored: str | None, expected: str | None) -> None:
    """Reject an index that belongs to another installation.

    Args:
        stored: Installation id in the index; None if it names none.
        expected: Id of the calling installation; None disables the check.

    Raises:
        ConfigurationError: The ids differ (`other_installation`).
    """
    if expected is None or stored == expected:
        return
    mismatch = (
        "names no installation that it belongs to"
        if stored is None
        else f"belongs to another installation of Pinpoint ({stored[:8]}…, not {expected[:8]}…)"
    )
    raise ConfigurationError(
        f"the index {mismatch}, so it is neither read nor changed: set PINPOINT_QDRANT_ALIAS to "
        "a name of your own on a shared Qdrant server, or, if nobody else uses this index, run "
        "`pinpoint index rebuild --take-over`",
        reason=OTHER_INSTALLATION,
    )


def check_spec(stored_contract: str, dims: Mapping[str, int], spec: IndexSpec) -> None:
    """Reject a spec that differs from that of the index.

    Raises:
        ModelMismatchError: The index was created for another contract.
    """
    if (stored_contract, dict(dims)) != (spec.contract, dict(spec.dims)):
        raise ModelMismatchError(
            f"the index holds vectors of contract {stored_contract} {dict(dims)}, the bundle gives "
            f"{spec.contract} {dict(spec.dims)}; `pinpoint bundles activate` changes what it holds"
        )


def check_version(version: int) -> None:
    """Raise `BadRequestError` for a version that the engines cannot compare."""
    if not 0 <= version < MAX_VERSION:
        raise BadRequestError(f"version {version} is outside 0 to {MAX_VERSION - 1}")


def check_limit(query: IndexQuery) -> None:
    """Raise `BadRequestError` for a limit out of range."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadRequestError(f"limit {query.limit} is outside 1 to {MAX_LIMIT}")


def latest_per_version(points: Sequence[IndexPoint]) -> dict[int, list[IndexPoint]]:
    """Group points by version. Keep the newest of several points with one id, then the last."""
    latest: dict[UUID, IndexPoint] = {}
    for point in points:
        check_version(point.version)
        previous = latest.get(point.id)
        if previous is None or previous.version <= point.version:
            latest[point.id] = point
    groups: dict[int, list[IndexPoint]] = {}
    for point in latest.values():
        groups.setdefault(point.version, []).append(point)
    return groups


def group_by_version(versions: Mapping[UUID, int]) -> dict[int, list[UUID]]:
    """Group ids by version."""
    groups: dict[int, list[UUID]] = {}
    for point_id, version in versions.items():
        check_version(version)
        groups.setdefault(version, []).append(point_id)
    return groups


def extend_ties(
    queries: Sequence[IndexQuery],
    run_queries: Callable[[Sequence[tuple[IndexQuery, int]]], list[list[Hit]]],
) -> list[list[Hit]]:
    """Run queries so that the limit never cuts a group of equal scores arbitrarily.

    Args:
        queries: The queries.
        run_queries: Runs `(query, limit)` pairs in one request.

    Returns:
        For each query up to its limit of hits, best first, ties by `Hit.tie_key`.
    """
    limits_now = [query.limit + 1 for query in queries]
    results: list[list[Hit]] = [[] for _ in queries]
    waiting = list(range(len(queries)))
    while waiting:
        pages = run_queries([(queries[i], limits_now[i]) for i in waiting])
        for i, hits in zip(waiting, pages, strict=True):
            results[i] = sorted(hits, key=lambda hit: (-hit.score, hit.tie_key))
        waiting = [
            i
            for i in waiting
            if _ends_in_tie(results[i], queries[i].limit, limits_now[i]) and limits_now[i] < MAX_TIE
        ]
        for i in waiting:
            limits_now[i] *= 4
    return [hits[: query.limit] for hits, query in zip(results, queries, strict=True)]


def _ends_in_tie(hits: Sequence[Hit], limit: int, limit_now: int) -> bool:
    return len(hits) == limit_now and hits[limit - 1].score == hits[-1].score


def cut_scroll_page(point_id: UUID, fields: Mapping[str, Any]) -> tuple[UUID, int, bool]:
    """Convert a payload to a row of `scroll`."""
    return point_id, int(fields["version"]), is_live_payload(fields)


def new_build() -> str:
    """Create a build name: UTC in milliseconds and four hex digits, so that names sort by age."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1_000:03d}Z-{secrets.token_hex(2)}"


def no_index(engine: Literal["qdrant-edge", "qdrant"], why: str) -> IndexInfo:
    """Status of an index that does not exist."""
    return IndexInfo(
        engine=engine,
        ready=False,
        contract=None,
        build=None,
        points=0,
        indexed_vectors=0,
        loading=why,
    )
