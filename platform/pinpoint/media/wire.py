"""Between parent and decoding child: a length, a msgpack header, then raw bytes. Never pickle.

Header sizes are bounded before they are read; msgpack yields plain values only.
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


class BrokenWire(Exception):
    """The other side closed, or said something that cannot be."""


class LateWire(Exception):
    """The deadline passed."""


def pack(header: Header) -> bytes:
    """A header as it travels."""
    body: bytes = msgpack.packb(header, use_bin_type=True)
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes | bytearray) -> Header:
    """A header as it arrived.

    Raises:
        BrokenWire: It is no map of plain values.
    """
    try:
        header = msgpack.unpackb(body, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise BrokenWire(f"unreadable header: {error}") from error
    if not isinstance(header, dict):
        raise BrokenWire("the header is no map")
    return header


def write_all(stream: BinaryIO, header: Header, chunks: Iterable[bytes | memoryview]) -> None:
    """The child's blocking side: one message."""
    stream.write(pack(header))
    for chunk in chunks:
        stream.write(chunk)
    stream.flush()


def read_header(stream: BinaryIO) -> Header | None:
    """The child's blocking side: the next header, or None once the parent has closed."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    return unpack(stream.read(_LENGTH.unpack(length)[0]))


class TimedPipes:
    """The parent's side: both ends non-blocking, every wait bounded by a deadline.

    Args:
        read_fd: What the child writes.
        write_fd: What the child reads.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def quiet(self) -> bool:
        """Nothing waits to be read: the child is neither gone nor talking out of turn."""
        return not self._poll_fd(self._read_fd, select.POLLIN, 0.0)

    def send(self, header: Header, body: bytes | memoryview, deadline: float) -> None:
        """Write one message.

        Raises:
            BrokenWire: The child is gone.
            LateWire: `deadline` (of `time.monotonic`) passed.
        """
        for part in (pack(header), body):
            rest = memoryview(part)
            while rest:
                self._wait_ready(self._write_fd, select.POLLOUT, deadline)
                try:
                    rest = rest[os.write(self._write_fd, rest[:_CHUNK_BYTES]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise BrokenWire("the decoding child is gone") from error

    def header(self, deadline: float) -> Header:
        """Read the next header.

        Raises:
            BrokenWire: The child is gone, or the header is oversized or unreadable.
            LateWire: `deadline` passed.
        """
        (length,) = _LENGTH.unpack(self.body(_LENGTH.size, deadline))
        if length > MAX_HEADER_BYTES:
            raise BrokenWire(f"a header of {length} bytes")
        return unpack(self.body(length, deadline))

    def body(self, size: int, deadline: float) -> bytearray:
        """Read exactly `size` raw bytes; raises as `header` does."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._wait_ready(self._read_fd, select.POLLIN, deadline)
            try:
                count = os.readv(self._read_fd, [rest[:_CHUNK_BYTES]])
            except BlockingIOError:
                continue
            if count == 0:
                raise BrokenWire("the decoding child is gone")
            rest = rest[count:]
        return data

    def _wait_ready(self, fd: int, event: int, deadline: float) -> None:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not self._poll_fd(fd, event, remaining_s):
            raise LateWire("the deadline passed")

    @staticmethod
    def _poll_fd(fd: int, event: int, seconds: float) -> bool:
        poller = select.poll()
        poller.register(fd, event)
        return bool(poller.poll(seconds * 1000.0))
