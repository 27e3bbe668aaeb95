"""Frames between the index owner and its clients: data, never code.

A frame is four bytes (length of the header, big endian), a msgpack header and raw arrays of
float32 or float16. The header's `arrays` lists `[dtype, shape]`; every byte must be accounted for.
Nothing here unpickles. float16 travels only where it says the same as float32.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgpack
import numpy as np
from numpy.typing import NDArray

from pinpoint import errors
from pinpoint.records import (
    Box,
    Circle,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    Point,
    limits,
)

MAX_FRAME: Final = 64 * 2**20
"""Bytes in one frame, either way."""
MAX_ARRAYS: Final = 4_096
OF_THE_OWNER: Final = frozenset({"ping", "progress"})
"""Verbs that say nothing of the points, and so nothing of anybody's installation."""
MAX_WIDTH: Final = 65_536

Array = NDArray[np.float32]
Fields = dict[str, Any]

_LENGTH: Final = struct.Struct(">I")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ERRORS: Final = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.PinpointError)
}


def encode(fields: Mapping[str, Any], arrays: Sequence[Array] = ()) -> bytes:
    """Make a frame.

    Raises:
        TooLarge: Over `MAX_FRAME` bytes.
    """
    packed = [_narrow(each) for each in arrays]
    listed = [[each.dtype.str[1:], list(each.shape)] for each in packed]
    header = msgpack.packb({**fields, "arrays": listed}, use_bin_type=True)
    frame = b"".join([_LENGTH.pack(len(header)), header, *(each.tobytes() for each in packed)])
    if len(frame) > MAX_FRAME:
        raise errors.TooLarge(
            f"an index message of {len(frame)} bytes is over the limit of {MAX_FRAME}; ask for less"
        )
    return frame


def _narrow(array: Array) -> NDArray[Any]:
    half = array.astype("<f2") if np.abs(array).max(initial=0.0) < 60_000 else None
    if half is not None and np.array_equal(half.astype(np.float32), array):
        return half
    return np.ascontiguousarray(array, dtype="<f4")


def decode(frame: bytes, *, whole: bool = True) -> tuple[Fields, list[Array]]:
    """Take a frame apart.

    Args:
        frame: The frame.
        whole: Otherwise the arrays are not looked at, for who only passes the frame on.

    Raises:
        BadRequest: The frame is not one of ours.
    """
    try:
        (size,) = _LENGTH.unpack_from(frame)
        end = _LENGTH.size + size
        if end > len(frame):
            raise ValueError("header is cut off")
        fields = msgpack.unpackb(frame[_LENGTH.size : end], raw=False, strict_map_key=True)
        if not isinstance(fields, dict):
            raise ValueError("header is not a map")
        listed = fields.pop("arrays")
        return fields, _arrays(frame, end, listed) if whole else []
    except (ValueError, TypeError, KeyError, struct.error, msgpack.UnpackException) as error:
        raise errors.BadRequest(f"not an index message: {error}", reason="bad_frame") from error


def _arrays(frame: bytes, offset: int, listed: Any) -> list[Array]:
    if not isinstance(listed, list) or len(listed) > MAX_ARRAYS:
        raise ValueError("array list is malformed")
    arrays: list[Array] = []
    for dtype, shape in listed:
        if dtype not in ("f2", "f4") or not isinstance(shape, list) or len(shape) not in (1, 2):
            raise ValueError("array is neither float16 nor float32 of one or two axes")
        if not all(isinstance(n, int) and 0 <= n <= MAX_FRAME for n in shape):
            raise ValueError("array shape is malformed")
        count = math.prod(shape)
        size = count * (2 if dtype == "f2" else 4)
        if offset + size > len(frame):
            raise ValueError("array is cut off")
        flat = np.frombuffer(frame, dtype=f"<{dtype}", count=count, offset=offset)
        arrays.append(flat.reshape(shape).astype(np.float32))
        offset += size
    if offset != len(frame):
        raise ValueError("bytes left over")
    return arrays


def pack_error(error: errors.PinpointError) -> Fields:
    """An error as `(class, reason, message)`."""
    return {"error": [type(error).__name__, error.reason, error.message]}


def raise_error(listed: Any) -> None:
    """Raise what the owner raised."""
    name, reason, message = (str(each) for each in listed)
    raise _ERRORS.get(name, errors.IndexUnavailable)(message, reason=reason)


def pack_time(value: datetime | None) -> int | None:
    """Microseconds since 1970, UTC.

    Raises:
        BadRequest: The time has no zone, or UTC cannot say it.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        raise errors.BadRequest(f"the time {value.isoformat()} has no zone; give an aware time")
    try:
        return (limits.to_utc("the time", value) - _EPOCH) // timedelta(microseconds=1)
    except limits.Unstorable as error:
        raise errors.BadRequest(error.detail, reason=error.reason) from error


def unpack_time(value: Any) -> datetime | None:
    """The time of `pack_time`; ValueError or OverflowError where it is none."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def pack_points(points: Sequence[IndexPoint]) -> tuple[Fields, list[Array]]:
    """Points as rows, and one array `[n, D]` for each channel with the rows it belongs to."""
    rows = [
        [
            point.id.bytes,
            point.version,
            point.organization_id.bytes,
            point.source_id.bytes,
            point.kind,
            point.point.lat,
            point.point.lon,
            pack_time(point.captured_at),
            point.cell,
            point.group,
            point.content_key,
        ]
        for point in points
    ]
    channels: dict[tuple[str, int], list[int]] = {}
    for row, point in enumerate(points):
        for name, vector in point.vectors.items():
            if vector.ndim != 1:
                raise errors.BadRequest(f"a vector of {name!r} has shape {vector.shape}, not [D]")
            channels.setdefault((name, len(vector)), []).append(row)
    arrays = [
        np.stack([points[row].vectors[name] for row in rows_of])
        for (name, _), rows_of in channels.items()
    ]
    listed = [[name, rows_of] for (name, _), rows_of in channels.items()]
    return {"points": rows, "channels": listed}, arrays


def unpack_points(fields: Fields, arrays: Sequence[Array]) -> list[IndexPoint]:
    """The points of `pack_points`; ValueError and its kin where they are none."""
    rows = fields["points"]
    vectors: list[dict[str, Array]] = [{} for _ in rows]
    for (name, rows_of), array in zip(fields["channels"], arrays, strict=True):
        for row, vector in zip(rows_of, array, strict=True):
            if not 0 <= row < len(rows):
                raise ValueError("vector of no point")
            vectors[row][str(name)] = vector
    return [
        IndexPoint(
            id=UUID(bytes=row[0]),
            version=int(row[1]),
            organization_id=UUID(bytes=row[2]),
            source_id=UUID(bytes=row[3]),
            kind=str(row[4]),
            point=Point(float(row[5]), float(row[6])),
            captured_at=unpack_time(row[7]),
            cell=int(row[8]),
            group=str(row[9]),
            content_key=str(row[10]),
            vectors=named,
        )
        for row, named in zip(rows, vectors, strict=True)
    ]


def pack_filter(where: IndexFilter) -> list[Any]:
    """A filter as a list."""
    circle, box = where.circle, where.box
    return [
        where.organization_id.bytes,
        list(where.kinds),
        [each.bytes for each in where.source_ids],
        None if circle is None else [circle.center.lat, circle.center.lon, circle.radius_m],
        None if box is None else [box.south, box.west, box.north, box.east],
        [[each.lat, each.lon] for each in where.polygon],
        pack_time(where.since),
        pack_time(where.until),
        [each.bytes for each in where.exclude_ids],
        list(where.exclude_groups),
    ]


def unpack_filter(listed: Any) -> IndexFilter:
    """The filter of `pack_filter`."""
    org, kinds, sources, circle, box, polygon, since, until, not_ids, not_groups = listed
    return IndexFilter(
        organization_id=UUID(bytes=org),
        kinds=tuple(str(each) for each in kinds),
        source_ids=tuple(UUID(bytes=each) for each in sources),
        circle=None
        if circle is None
        else Circle(center=Point(float(circle[0]), float(circle[1])), radius_m=float(circle[2])),
        box=None
        if box is None
        else Box(south=float(box[0]), west=float(box[1]), north=float(box[2]), east=float(box[3])),
        polygon=tuple(Point(float(lat), float(lon)) for lat, lon in polygon),
        since=unpack_time(since),
        until=unpack_time(until),
        exclude_ids=tuple(UUID(bytes=each) for each in not_ids),
        exclude_groups=tuple(str(each) for each in not_groups),
    )


def pack_queries(queries: Sequence[IndexQuery]) -> tuple[Fields, list[Array]]:
    """Questions and their vectors."""
    listed = [[q.channel, pack_filter(q.filter), q.limit, q.exact, q.contract] for q in queries]
    return {"queries": listed}, [query.vector for query in queries]


def unpack_queries(fields: Fields, arrays: Sequence[Array]) -> list[IndexQuery]:
    """The questions of `pack_queries`."""
    return [
        IndexQuery(
            channel=str(channel),
            vector=vector,
            filter=unpack_filter(where),
            limit=int(limit),
            exact=bool(exact),
            contract=None if contract is None else str(contract),
        )
        for (channel, where, limit, exact, contract), vector in zip(
            fields["queries"], arrays, strict=True
        )
    ]


def pack_hit(hit: Hit) -> list[Any]:
    """A hit as a list."""
    return [
        hit.id.bytes,
        hit.score,
        hit.version,
        hit.source_id.bytes,
        hit.kind,
        hit.point.lat,
        hit.point.lon,
        pack_time(hit.captured_at),
        hit.group,
        hit.content_key,
    ]


def unpack_hit(row: Any) -> Hit:
    """The hit of `pack_hit`."""
    return Hit(
        id=UUID(bytes=row[0]),
        score=float(row[1]),
        version=int(row[2]),
        source_id=UUID(bytes=row[3]),
        kind=str(row[4]),
        point=Point(float(row[5]), float(row[6])),
        captured_at=unpack_time(row[7]),
        group=str(row[8]),
        content_key=str(row[9]),
    )


def unpack_info(fields: Mapping[str, Any]) -> IndexInfo:
    """What the owner's index says of itself."""
    return IndexInfo(**fields)
