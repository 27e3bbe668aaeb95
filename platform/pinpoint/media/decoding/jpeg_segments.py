"""Removes metadata from a JPEG without decoding it: the scans are copied byte by byte.

Kept are the segments that pixels depend on (tables, frames, scans), the color profile (ICC), the
color transform (Adobe) and the pixel aspect ratio (JFIF). EXIF is replaced by its orientation
alone. Everything else is removed: EXIF, XMP, IPTC, GPS, comments, previews, notes of the
manufacturer, further images and all bytes after the image. Runs in the child. Markers: ITU-T T.81,
annex B.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_SCAN: Final = 0xDA
_APP0, _APP2, _APP14, _LAST_APP, _COMMENT = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
_IMAGE_MARKERS: Final = frozenset({*range(0xC0, 0xD0)} - {0xC8} | {*range(0xDA, 0xE0)})
"""Tables, frames, scans, line counts and restart intervals; 0xC8 is reserved."""
_SCAN_END: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker within scan data that is not a restart marker."""
_JFIF_BYTES: Final = 14
_MAX_SEGMENTS: Final = 10_000
_ORIENTATION_TAG, _SHORT = 0x0112, 3


def strip_metadata(data: bytes, orientation: int) -> bytes | None:
    """The same JPEG without metadata; None if its segments cannot be walked to its end marker.

    Args:
        data: A JPEG file with an end marker.
        orientation: EXIF orientation 1-8 to keep; 1 needs no segment.
    """
    pieces = [_START]
    if orientation != 1:
        pieces.append(_make_orientation(orientation))
    position = len(_START)
    if not data.startswith(_START):
        return None
    for marker, start, end in _iterate_segments(data, position):
        if marker == _END[1]:
            return b"".join([*pieces, _END])
        pieces.append(_keep_segment(marker, data[start:end]))
    return None


def _iterate_segments(data: bytes, position: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; that of a scan includes its entropy-coded data.

    The walk ends after the end marker, or at a syntax error.
    """
    for _ in range(_MAX_SEGMENTS):
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        head = data[position : position + 4]
        if len(head) < 2 or head[0] != 0xFF:
            return
        marker = head[1]
        if marker == _END[1]:
            yield marker, position, position + 2
            return
        end = position + 2 + int.from_bytes(head[2:4], "big")
        is_known = marker in _IMAGE_MARKERS or marker == _COMMENT or _APP0 <= marker <= _LAST_APP
        if not is_known or len(head) < 4 or end < position + 4 or end > len(data):
            return
        if marker == _SCAN:
            match = _SCAN_END.search(data, end)
            if match is None:
                return
            end = match.start()
        yield marker, position, end
        position = end


def _keep_segment(marker: int, segment: bytes) -> bytes:
    """The segment as it is kept; empty if it is removed."""
    body = segment[4:]
    if marker == _APP0:
        if not body.startswith(b"JFIF\x00") or len(body) < _JFIF_BYTES:
            return b""
        # The last two bytes are the size of a preview, which follows.
        kept = body[: _JFIF_BYTES - 2] + b"\x00\x00"
        return segment[:2] + struct.pack(">H", len(kept) + 2) + kept
    if marker == _APP2:
        return segment if body.startswith(b"ICC_PROFILE\x00") else b""
    if marker == _APP14:
        return segment if body.startswith(b"Adobe") else b""
    return b"" if marker == _COMMENT or _APP0 <= marker <= _LAST_APP else segment


def _make_orientation(orientation: int) -> bytes:
    """An EXIF segment with one tag (EXIF 2.32, section 4.5)."""
    entry = struct.pack(">HHIHH", _ORIENTATION_TAG, _SHORT, 1, orientation, 0)
    block = b"Exif\x00\x00MM\x00\x2a" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
