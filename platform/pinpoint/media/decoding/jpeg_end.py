"""Completes JPEG files without an end marker, if all their pixels are present.

Cameras and phones sometimes omit the marker, and phones append other data. Such a file is complete
if bytes appended to its scan change no pixel. If they change pixels, the file is truncated and is
not used. Runs in the child.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image

END: Final = b"\xff\xd9"
_START: Final = b"\xff\xd8\xff"
MISSING_END_NOTE: Final = "the JPEG's end marker is missing; all of its pixels are there"
MAX_CHECKED_PIXELS: Final = 16_000_000
"""Larger images are compared only at an eighth of their size, because the time per file is limited.
This comparison misses only detail within the last block."""

_SCAN: Final = 0xDA
_DRI: Final = 0xDD
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BETWEEN_SCANS: Final = frozenset({0xC4, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Markers that may be between scans: tables, restart interval, comments, application data."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_PADDING: Final = b"\x00\r\n \xff"
_MAX_SEGMENTS: Final = 10_000
_STRIP_ROWS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """The scans of a JPEG, up to the first syntax error."""

    start: int
    """Offset of the first start-of-scan marker."""
    end: int
    """End of the last scan: at another marker, or at the end of the file."""
    pixels: int
    restarts: bool
    covered: bool
    """Whether the scans contain every bit of every coefficient of every component."""


def may_lack_end(data: bytes, header_bytes: int) -> bool:
    """Cheap check: no end marker at the file's end, or another JPEG after the header.

    Args:
        data: A JPEG file.
        header_bytes: Minimum number of bytes before the scan data; previews in them are ignored.
    """
    if data.find(_START, header_bytes) >= 0:
        return True
    return data[-2:] != END and data[-4096:].rstrip(b"\x00\r\n ")[-2:] != END


def complete_jpeg(data: bytes) -> tuple[bytes | None, bool]:
    """The same JPEG with an end marker, if only that is missing.

    Args:
        data: A JPEG file with a header that passed all checks.

    Returns:
        The completed file or None, and whether pixels are certainly missing. `(None, False)`
        means that the file has an end marker or another kind of damage.
    """
    scans = _walk_segments(data)
    if scans is None:
        return None, False
    end = min([scans.end, *_find_trailers(data, scans.start)])
    if data.find(END, scans.start, end) >= 0 or data[end : end + 2] == END:
        return None, False
    is_known_end = end == len(data) or end < scans.end or data[end : end + 3] == _START
    if not is_known_end:
        return None, False
    if scans.covered:
        for body in _list_bodies(data[scans.start : end]):
            completed = data[: scans.start] + body
            if _has_all_pixels(completed, scans):
                return completed + END, False
    return None, True


def _list_bodies(body: bytes) -> Iterator[bytes]:
    """The scans without trailing padding; also with it if it is short, as it may be data."""
    plain = body.rstrip(_PADDING)
    if 0 < len(body) - len(plain) <= 2:
        yield body.rstrip(b"\xff")
    yield plain


def _walk_segments(data: bytes) -> Scans | None:
    """The segments of a JPEG from its start to the end of its last scan."""
    at, start, restarts, pixels = 2, -1, False, 0
    open_bits: dict[int, list[int]] = {}
    for _ in range(_MAX_SEGMENTS):
        match = (
            _MARKER.search(data, at) if start >= 0 else _MARKER.match(data, _skip_fill(data, at))
        )
        if match is None:
            if start < 0:
                return None
            return _make_scans(start, len(data), pixels, restarts, open_bits)
        at = match.start()
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        is_known = marker in _FRAMES or marker in _BETWEEN_SCANS or marker == _SCAN
        if not is_known or size < 2 or at + 2 + size > len(data):
            return _make_scans(start, at, pixels, restarts, open_bits) if start >= 0 else None
        if marker in _FRAMES:
            if open_bits or start >= 0:
                return None
            pixels = int.from_bytes(body[1:3], "big") * int.from_bytes(body[3:5], "big")
            open_bits = {body[i]: [99] * 64 for i in range(6, len(body) - 2, 3)}
        elif marker == _DRI:
            restarts = restarts or any(body)
        elif marker == _SCAN:
            start = at if start < 0 else start
            _note_coverage(open_bits, body)
        at += 2 + size
    return None


def _skip_fill(data: bytes, at: int) -> int:
    """Offset after the fill bytes before a marker."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    return at


def _make_scans(
    start: int, end: int, pixels: int, restarts: bool, open_bits: dict[int, list[int]]
) -> Scans:
    covered = bool(open_bits) and not any(any(bits) for bits in open_bits.values())
    return Scans(start=start, end=end, pixels=pixels, restarts=restarts, covered=covered)


def _note_coverage(open_bits: dict[int, list[int]], header: bytes) -> None:
    """Record the coefficients of a scan, and the number of their bits that follow later."""
    if len(header) < 4 or len(header) < 4 + 2 * header[0]:
        return
    first, last, bits = header[-3], header[-2], header[-1] & 0x0F
    for at in range(1, 1 + 2 * header[0], 2):
        for coefficient in range(first, min(last, 63) + 1):
            if header[at] in open_bits:
                open_bits[header[at]][coefficient] = bits


def _find_trailers(data: bytes, start: int) -> list[int]:
    """Offsets of data after an image: a video, Samsung's records, another JPEG."""
    offsets = []
    film = data.find(b"ftyp", start)
    if film >= start + 4 and 8 <= int.from_bytes(data[film - 4 : film], "big") <= 256:
        offsets.append(film - 4)
    if (other := data.find(_START, start)) >= 0:
        offsets.append(other)
    if data.endswith(b"SEFT"):
        head = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        if head > start and data[head : head + 4] == b"SEFH":
            count = min(int.from_bytes(data[head + 8 : head + 12], "little"), 256)
            entries = [data[head + 12 + 12 * i : head + 24 + 12 * i] for i in range(count)]
            back = max((int.from_bytes(e[4:8], "little") for e in entries), default=0)
            if head - back > start:
                offsets.append(head - back)
    return offsets


def _has_all_pixels(completed: bytes, scans: Scans) -> bool:
    """Whether bytes after the scans change no pixel; compared at small size first, for speed."""
    endings = [_make_noise(completed, scans, seed) for seed in (1, 2)]
    for scale in (8, 1) if scans.pixels <= MAX_CHECKED_PIXELS else (8,):
        checksum = _hash_pixels(completed + END, scale)
        if checksum is None:
            return False
        if any(_hash_pixels(completed + ending + END, scale) != checksum for ending in endings):
            return False
    return True


def _make_noise(completed: bytes, scans: Scans, seed: int) -> bytes:
    """Scan data that changes any missing pixels, also after restart markers."""
    generator = random.Random(seed)

    def noise(size: int) -> bytes:
        first = b"\x5a" if seed % 2 else b"\xa5"
        return first + bytes(generator.randrange(0xFF) for _ in range(size))

    if not scans.restarts:
        return noise(2_000)
    last = None
    for match in _RESTART.finditer(completed, scans.start):
        last = match
    following = (last.group()[1] - 0xD0 + 1) % 8 if last else 0
    pieces = [b"\xff" + bytes([0xD0 + (following + i) % 8]) + noise(300) for i in range(8)]
    return noise(300) + b"".join(pieces)


def _hash_pixels(data: bytes, scale: int) -> int | None:
    """Checksum of all pixels; None if they cannot be decoded."""
    try:
        image = Image.open(BytesIO(data), formats=("JPEG",))
        if scale > 1:
            image.draft(image.mode, (image.width // 8, image.height // 8))
        image.load()
    except MemoryError:
        raise
    except Exception:  # decoders raise many types on malformed bytes
        return None
    checksum = 0
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(image.height, top + _STRIP_ROWS)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum
