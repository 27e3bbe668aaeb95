"""Messages between parent and decoding child: a length, a msgpack header, raw bytes; no pickle.

Header sizes are checked before headers are read; msgpack returns only plain values.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Iterable
from typing import BinaryIO, Final

import msgpack

MAX_HEADER_BYTES: Final = 256_000
_LENGTH: Final = struct.Struct("<I")
_CHUNK_BYTES: Final = 1 << 20

Header = dict[str, object]


class PipeBrokenError(Exception):
    """The other side closed the pipe, or sent an invalid message."""


class PipeTimeoutError(Exception):
    """The deadline passed."""


def pack_header(header: Header) -> bytes:
    """Serialize a header."""
    body: bytes = msgpack.packb(header, use_bin_type=True)
    return _LENGTH.pack(len(body)) + body


def unpack_header(body: bytes | bytearray) -> Header:
    """Deserialize a header.

    Raises:
        PipeBrokenError: It is not a map of plain values.
    """
    try:
        header = msgpack.unpackb(body, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise PipeBrokenError(f"unreadable header: {error}") from error
    if not isinstance(header, dict):
        raise PipeBrokenError("the header is no map")
    return header


def write_all(stream: BinaryIO, header: Header, chunks: Iterable[bytes | memoryview]) -> None:
    """Write one message; blocking, used by the child."""
    stream.write(pack_header(header))
    for chunk in chunks:
        stream.write(chunk)
    stream.flush()


def read_header(stream: BinaryIO) -> Header | None:
    """Read the next header, or None after the parent closed; blocking, used by the child."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    return unpack_header(stream.read(_LENGTH.unpack(length)[0]))


class TimedPipes:
    """The parent's ends of the pipes: non-blocking, every wait has a deadline.

    Args:
        read_fd: End of the pipe that the child writes.
        write_fd: End of the pipe that the child reads.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def quiet(self) -> bool:
        """Whether nothing can be read: the child runs and has sent no unexpected message."""
        return not self._poll_fd(self._read_fd, select.POLLIN, 0.0)

    def send(self, header: Header, body: bytes | memoryview, deadline: float) -> None:
        """Write one message.

        Raises:
            PipeBrokenError: The child closed the pipe.
            PipeTimeoutError: `deadline` (of `time.monotonic`) passed.
        """
        for part in (pack_header(header), body):
            rest = memoryview(part)
            while rest:
                self._wait_ready(self._write_fd, select.POLLOUT, deadline)
                try:
                    rest = rest[os.write(self._write_fd, rest[:_CHUNK_BYTES]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise PipeBrokenError("the decoding child is gone") from error

    def header(self, deadline: float) -> Header:
        """Read the next header.

        Raises:
            PipeBrokenError: The child closed the pipe, or the header is oversized or unreadable.
            PipeTimeoutError: `deadline` passed.
        """
        (length,) = _LENGTH.unpack(self.body(_LENGTH.size, deadline))
        if length > MAX_HEADER_BYTES:
            raise PipeBrokenError(f"a header of {length} bytes")
        return unpack_header(self.body(length, deadline))

    def body(self, size: int, deadline: float) -> bytearray:
        """Read exactly `size` raw bytes; raises the same errors as `header`."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._wait_ready(self._read_fd, select.POLLIN, deadline)
            try:
                count = os.readv(self._read_fd, [rest[:_CHUNK_BYTES]])
            except BlockingIOError:
                continue
            if count == 0:
                raise PipeBrokenError("the decoding child is gone")
            rest = rest[count:]
        return data

    def _wait_ready(self, fd: int, event: int, deadline: float) -> None:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not self._poll_fd(fd, event, remaining_s):
            raise PipeTimeoutError("the deadline passed")

    @staticmethod
    def _poll_fd(fd: int, event: int, seconds: float) -> bool:
        poller = select.poll()
        poller.register(fd, event)
        return bool(poller.poll(seconds * 1000.0))
