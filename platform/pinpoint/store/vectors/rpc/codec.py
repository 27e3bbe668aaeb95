"""Codec of the frames between the index owner and its clients: data, never code.

A frame is four bytes (length of the header, big endian), a msgpack header and raw arrays of float32
or float16. The header's `arrays` lists `[dtype, shape]`; every byte must be accounted for. Nothing
is unpickled. Arrays are sent as float16 only if that is lossless.

Records are maps of their fields, and `convert` checks them against the types of the records.
Vectors are nil in the header; they follow as arrays.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinpoint import errors
from pinpoint.records import IndexFilter, IndexPoint, IndexQuery, limits

MAX_FRAME: Final = 64 * 2**20
"""Maximum bytes of a request or response frame."""
MAX_ARRAYS: Final = 4_096
UNCHECKED_VERBS: Final = frozenset({"ping", "progress"})
"""Verbs that do not concern points, so the installation is not checked."""
MAX_WIDTH: Final = 65_536

Array = NDArray[np.float32]
Fields = dict[str, Any]

_HEADER_LENGTH: Final = struct.Struct(">I")
_NO_VECTOR: Final = np.zeros(0, dtype=np.float32)
_ERRORS: Final = {
    error.__name__: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.PinpointError)
}


def _encode_vector(value: object) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be sent")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_encode_vector, uuid_format="bytes")
_DECODER: Final = msgspec.msgpack.Decoder(dict[str, Any])


def encode(fields: Mapping[str, Any], arrays: Sequence[Array] = ()) -> bytes:
    """Encode a frame.

    Raises:
        TooLargeError: The frame has more than `MAX_FRAME` bytes.
    """
    packed = [_to_smallest_dtype(array) for array in arrays]
    layout = [[array.dtype.str[1:], list(array.shape)] for array in packed]
    header = _ENCODER.encode({**fields, "arrays": layout})
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
        fields = _DECODER.decode(memoryview(frame)[_HEADER_LENGTH.size : end])
        layout = fields.pop("arrays")
        return fields, _decode_arrays(frame, end, layout) if whole else []
    except (ValueError, TypeError, KeyError, struct.error, RecursionError) as error:
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


def convert(value: Any, schema: Any) -> Any:
    """A decoded value as an instance of a type, e.g. `list[list[Hit]]`; unknown keys are ignored.

    Raises:
        ValueError: The value does not have this type.
    """
    return msgspec.convert(value, schema, dec_hook=_decode_vector)


def _decode_vector(_: type, value: object) -> Array:
    if value is not None:
        raise ValueError("a vector is nil in the header")
    return _NO_VECTOR


def check_aware_time(value: datetime | None) -> None:
    """Check that a time has a zone and is in range in UTC.

    Raises:
        BadRequestError: It has not, or is not.
    """
    if value is None:
        return
    if value.tzinfo is None:
        raise errors.BadRequestError(
            f"the time {value.isoformat()} has no zone; give an aware time"
        )
    try:
        limits.to_utc("the time", value)
    except limits.UnstorableError as error:
        raise errors.BadRequestError(error.detail, reason=error.reason) from error


def check_filter(where: IndexFilter) -> IndexFilter:
    """The filter, after its times are checked."""
    check_aware_time(where.captured_after)
    check_aware_time(where.captured_before)
    return where


def pack_points(points: Sequence[IndexPoint]) -> tuple[Fields, list[Array]]:
    """Fields of points, and one array `[n, D]` per channel with the indexes of its points."""
    channels: dict[tuple[str, int], list[int]] = {}
    for row, point in enumerate(points):
        check_aware_time(point.captured_at)
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
    channel_rows = [(name, rows_of) for (name, _), rows_of in channels.items()]
    return {"points": points, "channels": channel_rows}, arrays


def unpack_points(fields: Fields, arrays: Sequence[Array]) -> list[IndexPoint]:
    """Points of `pack_points`; ValueError or a similar error if they are invalid."""
    points: list[IndexPoint] = convert(fields["points"], list[IndexPoint])
    channels: list[tuple[str, list[int]]] = convert(fields["channels"], list[tuple[str, list[int]]])
    vectors: list[dict[str, Array]] = [{} for _ in points]
    for (name, rows_of), array in zip(channels, arrays, strict=True):
        for row, vector in zip(rows_of, array, strict=True):
            if not 0 <= row < len(points):
                raise ValueError("vector without a point")
            vectors[row][name] = vector
    for point, named in zip(points, vectors, strict=True):
        check_aware_time(point.captured_at)
        if point.vectors.keys() != named.keys():
            raise ValueError("point without its vectors")
    return [replace(point, vectors=named) for point, named in zip(points, vectors, strict=True)]


def pack_queries(queries: Sequence[IndexQuery]) -> tuple[Fields, list[Array]]:
    """Fields of queries, and their vectors."""
    for query in queries:
        check_filter(query.filter)
    return {"queries": queries}, [query.vector for query in queries]


def unpack_queries(fields: Fields, arrays: Sequence[Array]) -> list[IndexQuery]:
    """Queries of `pack_queries`; ValueError or a similar error if they are invalid."""
    queries: list[IndexQuery] = convert(fields["queries"], list[IndexQuery])
    for query in queries:
        check_filter(query.filter)
    return [replace(query, vector=vector) for query, vector in zip(queries, arrays, strict=True)]
