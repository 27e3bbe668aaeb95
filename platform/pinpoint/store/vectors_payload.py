"""What a point carries in the index and how it is read back, for both Qdrant engines.

The engines file positions under geohashes, and a geohash cannot hold latitude 90 or longitude 180:
points and box edges exactly there are lost (seen with qdrant-edge 0.9.0). So positions are stored,
and shapes asked for, a hair inside the limits (2e-9°, 0.2 mm), and read back snapped.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import numpy as np

from pinpoint.errors import BadBundle, BadRequest, Misconfigured, OtherContract
from pinpoint.records import Hit, IndexInfo, IndexPoint, IndexQuery, IndexSpec, Point, limits

Item = TypeVar("Item")

UPSERT_SLICE: Final = 128
"""Points in one engine call: longer calls would keep searches waiting."""
OTHER_INSTALLATION: Final = "other_installation"
"""Reason of an index that belongs to somebody else."""
MAX_LIMIT: Final = 10_000
MAX_TIE: Final = 40_000
"""Equal scores looked through at most."""
LAST_ID: Final = UUID(int=2**128 - 1)
MAX_VERSION: Final = 2**53
"""The engines compare versions as 64-bit floats."""

_STORED_DEG: Final = 2e-9
_PLACES: Final = 9
"""Decimals of a degree (0.1 mm); the engines lose the last bit of a float."""


def inside(value_deg: float, limit_deg: float, margin_deg: float) -> float:
    """Keep a coordinate at least `margin_deg` away from `±limit_deg`."""
    return min(max(value_deg, margin_deg - limit_deg), limit_deg - margin_deg)


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, microseconds kept.

    Raises:
        BadRequest: The time has no zone, or UTC cannot say it.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        raise BadRequest(f"the time {value.isoformat()} has no zone; give an aware time")
    try:
        return limits.to_utc("the time", value).isoformat()
    except limits.Unstorable as error:
        raise BadRequest(error.detail, reason=error.reason) from error


def shelf(organization_id: UUID, kind: str) -> str:
    """Name of an organisation's images of one kind, as one value of one field.

    Nearly every question is for one of these. Two conditions, on organisation and kind, are looked
    up for each image; of one the engine has the list, and lays the vectors of a list side by side.
    """
    return f"{organization_id.hex}/{kind}"


def payload(point: IndexPoint) -> dict[str, Any]:
    """What is stored with a live point."""
    fields: dict[str, Any] = {
        "organization": str(point.organization_id),
        "shelf": shelf(point.organization_id, point.kind),
        "source": str(point.source_id),
        "kind": point.kind,
        "location": {
            "lat": round(inside(point.point.lat, 90.0, _STORED_DEG), _PLACES),
            "lon": round(inside(point.point.lon, 180.0, _STORED_DEG), _PLACES),
        },
        "cell": point.cell,
        "version": point.version,
        "group": point.group,
    }
    if point.content_key:
        fields["content"] = point.content_key
    if point.captured_at is not None:
        fields["captured_at"] = moment(point.captured_at)
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
    return round(value_deg, _PLACES)


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
        content_key=fields.get("content", ""),
    )


def stored_point(point_id: UUID, fields: Mapping[str, Any], vectors: object) -> IndexPoint:
    """A live point from its payload and named vectors (None where they were not asked for)."""
    named: dict[str, Any] = vectors if isinstance(vectors, dict) else {}
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
        content_key=fields.get("content", ""),
        vectors={name: np.asarray(each, dtype=np.float32) for name, each in named.items()},
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


def check_contract(held: str, *given: str | None) -> None:
    """Refuse what was made under another contract; None is for what came from the index.

    Raises:
        OtherContract: It was.
    """
    for contract in given:
        if contract not in (None, held):
            raise OtherContract(
                f"the index holds vectors of contract {held}, these are of {contract}; "
                "`pinpoint bundles use` changes what the index holds"
            )


def check_installation(held: str | None, asked: str | None) -> None:
    """Refuse an index that belongs to another installation.

    Args:
        held: Id that the index carries; None where it was made by a version that knew none.
        asked: Id of the installation that asks; None is checked by nobody.

    Raises:
        Misconfigured: It is another one (`other_installation`).
    """
    if asked is None or held == asked:
        return
    whose = (
        "names no installation that it belongs to"
        if held is None
        else f"belongs to another installation of Pinpoint ({held[:8]}…, this one is {asked[:8]}…)"
    )
    raise Misconfigured(
        f"the index {whose}, so nothing in it is read or changed: set PINPOINT_QDRANT_ALIAS to a "
        "name of your own on a shared Qdrant server, or, if nobody else uses this index, run "
        "`pinpoint index rebuild --take-over`",
        reason=OTHER_INSTALLATION,
    )


def check_spec(held: str, dims: Mapping[str, int], spec: IndexSpec) -> None:
    """Refuse a spec that an index was not made for.

    Raises:
        OtherContract: It was made for another contract.
    """
    if (held, dict(dims)) != (spec.contract, dict(spec.dims)):
        raise OtherContract(
            f"the index holds vectors of contract {held} {dict(dims)}, the bundle gives "
            f"{spec.contract} {dict(spec.dims)}; `pinpoint bundles use` changes what it holds"
        )


def check_version(version: int) -> None:
    """Raise `BadRequest` for a version the engines cannot compare."""
    if not 0 <= version < MAX_VERSION:
        raise BadRequest(f"version {version} is outside 0 to {MAX_VERSION - 1}")


def check_limit(query: IndexQuery) -> None:
    """Raise `BadRequest` for a number of hits that cannot be asked for."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadRequest(f"limit {query.limit} is outside 1 to {MAX_LIMIT}")


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


def by_version(versions: Mapping[UUID, int]) -> dict[int, list[UUID]]:
    """Group ids by version."""
    groups: dict[int, list[UUID]] = {}
    for point_id, version in versions.items():
        check_version(version)
        groups.setdefault(version, []).append(point_id)
    return groups


def answer_whole(
    queries: Sequence[IndexQuery],
    ask: Callable[[Sequence[tuple[IndexQuery, int]]], list[list[Hit]]],
) -> list[list[Hit]]:
    """Ask an engine so that equal scores are never cut in an arbitrary place.

    Args:
        queries: The questions.
        ask: Answers `(question, number of hits)` pairs in one request.

    Returns:
        For each question up to its limit of hits, best first, ties by id.
    """
    asked = [query.limit + 1 for query in queries]
    answers: list[list[Hit]] = [[] for _ in queries]
    waiting = list(range(len(queries)))
    while waiting:
        found = ask([(queries[i], asked[i]) for i in waiting])
        for i, hits in zip(waiting, found, strict=True):
            answers[i] = sorted(hits, key=lambda each: (-each.score, each.id))
        waiting = [
            i
            for i in waiting
            if _tied(answers[i], queries[i].limit, asked[i]) and asked[i] < MAX_TIE
        ]
        for i in waiting:
            asked[i] *= 4
    return [hits[: query.limit] for hits, query in zip(answers, queries, strict=True)]


def _tied(hits: Sequence[Hit], limit: int, asked: int) -> bool:
    return len(hits) == asked and hits[limit - 1].score == hits[-1].score


def scrolled(point_id: UUID, fields: Mapping[str, Any]) -> tuple[UUID, int, bool]:
    """A row of `scroll`."""
    return point_id, int(fields["version"]), is_alive(fields)


def new_build() -> str:
    """A build's name: UTC to the millisecond and four hex digits, so that names sort by age."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1_000:03d}Z-{secrets.token_hex(2)}"


def no_index(engine: Literal["qdrant-edge", "qdrant"], why: str) -> IndexInfo:
    """What an index says that is not there."""
    return IndexInfo(
        engine=engine,
        ready=False,
        contract=None,
        build=None,
        points=0,
        indexed_vectors=0,
        loading=why,
    )


def slices(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
