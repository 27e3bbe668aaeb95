"""Codec of the frames between the index owner and its clients: data, never code.

A frame is four bytes (length of the header, big endian), a msgpack header and raw arrays of float32
or float16. The header's `arrays` lists `[dtype, shape]`; every byte must be accounted for. Nothing
is unpickled. Arrays are sent as float16 only if that is lossless.
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
"""Maximum bytes of a request or response frame."""
MAX_ARRAYS: Final = 4_096
UNCHECKED_VERBS: Final = frozenset({"ping", "progress"})
"""Verbs that do not concern points, so the installation is not checked."""
MAX_WIDTH: Final = 65_536

Array = NDArray[np.float32]
Fields = dict[str, Any]

_HEADER_LENGTH: Final = struct.Struct(">I")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ERRORS: Final = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.PinpointError)
}


def encode(fields: Mapping[str, Any], arrays: Sequence[Array] = ()) -> bytes:
    """Encode a frame.

    Raises:
        TooLargeError: The frame has more than `MAX_FRAME` bytes.
    """
    packed = [_to_smallest_dtype(array) for array in arrays]
    layout = [[array.dtype.str[1:], list(array.shape)] for array in packed]
    header = msgpack.packb({**fields, "arrays": layout}, use_bin_type=True)
    frame = b"".join(
        [_HEADER_LENGTH.pack(len(header)), header, *(array.tobytes() for array in packed)]
    )
    if len(frame) > MAX_FRAME:
        raise errors.TooLargeError(
            f"an index message of {len(frame)} bytes is over the limit of {MAX_FRAME}; request less"
        )
    return frame


def _to_smallest_dtype(array: Array) -> NDArray[Any]:
    half = array.astype("<f2") if np.abs(array).max(initial=0.0) < 60_000 else None
    if half is not None and np.array_equal(half.astype(np.float32), array):
        return half
    return np.ascontiguousarray(array, dtype="<f4")


def decode(frame: bytes, *, whole: bool = True) -> tuple[Fields, list[Array]]:
    """Decode a frame.

    Args:
        frame: The frame.
        whole: False skips the arrays, for a process that only passes the frame on.

    Raises:
        BadRequestError: The frame is malformed.
    """
    try:
        (size,) = _HEADER_LENGTH.unpack_from(frame)
        end = _HEADER_LENGTH.size + size
        if end > len(frame):
            raise ValueError("header is cut off")
        fields = msgpack.unpackb(frame[_HEADER_LENGTH.size : end], raw=False, strict_map_key=True)
        if not isinstance(fields, dict):
            raise ValueError("header is not a map")
        layout = fields.pop("arrays")
        return fields, _decode_arrays(frame, end, layout) if whole else []
    except (ValueError, TypeError, KeyError, struct.error, msgpack.UnpackException) as error:
        raise errors.BadRequestError(
            f"not an index message: {error}", reason="bad_frame"
        ) from error


def _decode_arrays(frame: bytes, offset: int, layout: Any) -> list[Array]:
    if not isinstance(layout, list) or len(layout) > MAX_ARRAYS:
        raise ValueError("array list is malformed")
    arrays: list[Array] = []
    for dtype, shape in layout:
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
    """Encode an error as `(class, reason, message)`."""
    return {"error": [type(error).__name__, error.reason, error.message]}


def raise_error(fields: Any) -> None:
    """Raise the error that the owner encoded."""
    name, reason, message = (str(field) for field in fields)
    raise _ERRORS.get(name, errors.IndexUnavailableError)(message, reason=reason)


def pack_time(value: datetime | None) -> int | None:
    """Encode a time as microseconds since 1970, UTC.

    Raises:
        BadRequestError: The time has no zone, or is out of range in UTC.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        raise errors.BadRequestError(
            f"the time {value.isoformat()} has no zone; give an aware time"
        )
    try:
        return (limits.to_utc("the time", value) - _EPOCH) // timedelta(microseconds=1)
    except limits.UnstorableError as error:
        raise errors.BadRequestError(error.detail, reason=error.reason) from error


def unpack_time(value: Any) -> datetime | None:
    """Decode a time of `pack_time`; ValueError or OverflowError if it is invalid."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def pack_points(points: Sequence[IndexPoint]) -> tuple[Fields, list[Array]]:
    """Encode points as rows, and one array `[n, D]` per channel with the indexes of its rows."""
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
                raise errors.BadRequestError(
                    f"a vector of {name!r} has shape {vector.shape}, not [D]"
                )
            channels.setdefault((name, len(vector)), []).append(row)
    arrays = [
        np.stack([points[row].vectors[name] for row in rows_of])
        for (name, _), rows_of in channels.items()
    ]
    channel_rows = [[name, rows_of] for (name, _), rows_of in channels.items()]
    return {"points": rows, "channels": channel_rows}, arrays


def unpack_points(fields: Fields, arrays: Sequence[Array]) -> list[IndexPoint]:
    """Decode points of `pack_points`; ValueError or a similar error if they are invalid."""
    rows = fields["points"]
    vectors: list[dict[str, Array]] = [{} for _ in rows]
    for (name, rows_of), array in zip(fields["channels"], arrays, strict=True):
        for row, vector in zip(rows_of, array, strict=True):
            if not 0 <= row < len(rows):
                raise ValueError("vector without a point")
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
    """Encode a filter as a list."""
    circle, box = where.circle, where.box
    return [
        where.organization_id.bytes,
        list(where.kinds),
        [source_id.bytes for source_id in where.source_ids],
        None if circle is None else [circle.center.lat, circle.center.lon, circle.radius_m],
        None if box is None else [box.south, box.west, box.north, box.east],
        [[source_id.lat, source_id.lon] for source_id in where.polygon],
        pack_time(where.since),
        pack_time(where.until),
        [source_id.bytes for source_id in where.exclude_ids],
        list(where.exclude_groups),
    ]


def unpack_filter(values: Any) -> IndexFilter:
    """Decode a filter of `pack_filter`."""
    org, kinds, sources, circle, box, polygon, since, until, not_ids, not_groups = values
    return IndexFilter(
        organization_id=UUID(bytes=org),
        kinds=tuple(str(value) for value in kinds),
        source_ids=tuple(UUID(bytes=value) for value in sources),
        circle=None
        if circle is None
        else Circle(center=Point(float(circle[0]), float(circle[1])), radius_m=float(circle[2])),
        box=None
        if box is None
        else Box(south=float(box[0]), west=float(box[1]), north=float(box[2]), east=float(box[3])),
        polygon=tuple(Point(float(lat), float(lon)) for lat, lon in polygon),
        since=unpack_time(since),
        until=unpack_time(until),
        exclude_ids=tuple(UUID(bytes=value) for value in not_ids),
        exclude_groups=tuple(str(value) for value in not_groups),
    )


def pack_queries(queries: Sequence[IndexQuery]) -> tuple[Fields, list[Array]]:
    """Encode queries and their vectors."""
    rows = [
        [query.channel, pack_filter(query.filter), query.limit, query.exact, query.contract]
        for query in queries
    ]
    return {"queries": rows}, [query.vector for query in queries]


def unpack_queries(fields: Fields, arrays: Sequence[Array]) -> list[IndexQuery]:
    """Decode queries of `pack_queries`."""
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
    """Encode a hit as a list."""
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
    """Decode a hit of `pack_hit`."""
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
    """Decode the status of the owner's index."""
    return IndexInfo(**fields)
