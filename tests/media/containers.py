"""Split containers into pieces and join them again, to write a false value at one position."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG_MARK = b"\x89PNG\r\n\x1a\n"
_BOXES_INSIDE = {b"moov", b"trak", b"iprp", b"ipco", b"dinf", b"grpl"}


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """`(marker, payload)` of a JPEG; the last piece has all bytes from the first scan on."""
    pieces, at = [], 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        (size,) = struct.unpack_from(">H", jpeg, at + 2)
        pieces.append((jpeg[at + 1], jpeg[at + 4 : at + 2 + size]))
        at += 2 + size
    return [*pieces, (0xDA, jpeg[at:])]


def jpeg(pieces: list[tuple[int, bytes]], false_sizes: dict[int, int] | None = None) -> bytes:
    """A JPEG of these pieces; `false_sizes` has false lengths by number of the piece."""
    out = [b"\xff\xd8"]
    for number, (marker, payload) in enumerate(pieces):
        if marker == 0xDA:
            out.append(payload)
            continue
        size = (false_sizes or {}).get(number, len(payload) + 2)
        out.append(struct.pack(">BBH", 0xFF, marker, size & 0xFFFF) + payload[:65_533])
    return b"".join(out)


def app1(payload: bytes) -> tuple[int, bytes]:
    """An EXIF or XMP segment's piece."""
    return 0xE1, payload


def with_piece(data: bytes, piece: tuple[int, bytes]) -> bytes:
    """A JPEG with one more segment at its start, its own EXIF dropped if the piece is EXIF."""
    kept = [
        entry
        for entry in segments(data)
        if not (piece[1].startswith(b"Exif") and entry[1].startswith(b"Exif"))
    ]
    return jpeg([piece, *kept])


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """`(name, body)` of a PNG's chunks."""
    pieces, at = [], 8
    while at + 12 <= len(png):
        (size,) = struct.unpack_from(">I", png, at)
        pieces.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return pieces


def png(parts: list[tuple[bytes, bytes]], false_sizes: dict[int, int] | None = None) -> bytes:
    """A PNG of these chunks, every CRC right; `false_sizes` as in `jpeg`."""
    out = [PNG_MARK]
    for number, (name, body) in enumerate(parts):
        size = (false_sizes or {}).get(number, len(body))
        crc = zlib.crc32(name + body)
        out.append(struct.pack(">I", size & 0xFFFFFFFF) + name + body + struct.pack(">I", crc))
    return b"".join(out)


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    head, *rest = chunks(data)
    return png([head, (name, body), *rest])


@dataclass(frozen=True, slots=True)
class Entry:
    """A position in a TIFF that can have a false value."""

    at: int
    """Offset of the twelve bytes of an entry, or of the four of a pointer to the next directory."""
    order: str
    pointer: bool


def entries(tiff: bytes) -> list[Entry]:
    """Entries and next-pointers of every directory of a TIFF, sub-directories too."""
    order = "<" if tiff[:2] == b"II" else ">"
    pieces: list[Entry] = []
    if len(tiff) < 8:
        return pieces
    pending, seen = [struct.unpack_from(order + "I", tiff, 4)[0]], set()
    while pending:
        start = pending.pop()
        if start in seen or not 0 < start <= len(tiff) - 6:
            continue
        seen.add(start)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        end = start + 2 + 12 * count
        if end + 4 > len(tiff):
            continue
        for at in range(start + 2, end, 12):
            pieces.append(Entry(at, order, False))
            tag, _, _, value = struct.unpack_from(order + "HHII", tiff, at)
            if tag in (0x8825, 0x8769, 330):
                pending.append(value)
        pieces.append(Entry(end, order, True))
        pending.append(struct.unpack_from(order + "I", tiff, end)[0])
    return pieces


def tags(tiff: bytes) -> dict[int, Entry]:
    """Entry by tag; the last entry of a repeated tag."""
    return {
        struct.unpack_from(entry.order + "H", tiff, entry.at)[0]: entry
        for entry in entries(tiff)
        if not entry.pointer
    }


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes, int]]:
    """`(offset, type, size)` of every box of an ISO-BMFF file, nested ones too."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        size = size or end - start
        if size < 8 or start + size > end:
            return
        yield start, kind, size
        if kind in _BOXES_INSIDE:
            yield from boxes(data, start + 8, start + size)
        elif kind == b"meta":
            yield from boxes(data, start + 12, start + size)
        start += size


def riff(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """`(offset, name, size)` of a WebP's chunks."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield at, name, size
        at += 8 + size + size % 2
