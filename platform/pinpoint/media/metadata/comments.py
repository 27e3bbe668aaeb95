"""Reads comments of JPEG files, in which older data sets store the metadata of photos.

Walks over the segments before the first scan (ITU-T T.81, B.1.1) without decoding pixels, so that
untrusted bytes do not reach the decoders of this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import read_bytes
from pinpoint.media.metadata.raw_metadata import clean_metadata_text
from pinpoint.media.sniff import HEAD_BYTES, guess_format, sniff_format
from pinpoint.settings import MediaSettings

_COMMENT: Final = 0xFE
_END: Final = frozenset({0xDA, 0xD9})
"""Start of scan and end of image: no metadata follows them."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""
_MAX_LINES: Final = 256


def read_comments(path: Path, settings: MediaSettings) -> tuple[str, ...]:
    """Lines of all comment segments of a JPEG file, in their order.

    Pillow's `info["comment"]` has only the last segment; the photos of IM2GPS have one segment
    per line.

    Args:
        path: A regular file.
        settings: `max_bytes` and `max_metadata_bytes` apply.

    Returns:
        Text without control characters, at most 256 lines; none for a file without a comment.

    Raises:
        RejectedFileError: `missing_file`, `empty_file`, `too_large`, `unsupported_format`,
            `metadata_too_large`, `undecodable`.
    """
    data = read_bytes(path, settings.max_bytes)
    if sniff_format(data[:HEAD_BYTES]) != "jpeg":
        what = guess_format(data[:HEAD_BYTES])
        raise RejectedFileError("unsupported_format", f"{what}; comments are read from JPEG files")
    comments = b"\n".join(_collect_segments(data, settings.max_metadata_bytes))
    lines = comments.decode("utf-8", "replace").splitlines()[:_MAX_LINES]
    return tuple(text for line in lines if (text := clean_metadata_text(line, 1_000)) is not None)


def _collect_segments(data: bytes, max_bytes: int) -> list[bytes]:
    """Comment segments of a JPEG up to its first scan.

    Raises:
        RejectedFileError: `undecodable` if the file ends or is malformed before its image data;
            `metadata_too_large`.
    """
    segments: list[bytes] = []
    size, at = 0, 2
    while True:
        if at + 1 >= len(data) or data[at] != 0xFF:
            raise RejectedFileError("undecodable", "the JPEG's segments are damaged or cut short")
        marker = data[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
            continue
        if marker in _END:
            return segments
        if marker in _ALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            raise RejectedFileError("undecodable", "the JPEG's segments are damaged or cut short")
        if marker == _COMMENT:
            segments.append(data[at + 4 : at + 2 + length].rstrip(b"\x00"))
            size += length
            if size > max_bytes:
                limit = f"{max_bytes} bytes (PINPOINT_MEDIA_MAX_METADATA_BYTES)"
                raise RejectedFileError("metadata_too_large", f"comments of over {limit}")
        at += 2 + length
