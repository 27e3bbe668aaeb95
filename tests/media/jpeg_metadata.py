"""JPEG files with given metadata, and the metadata that Pinpoint reads from them."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime

from PIL import Image

from media.containers import tags
from media.pictures import PARIS, exif, noise, saved, xmp
from pinpoint.media.metadata.file_metadata import read_raw_metadata
from pinpoint.media.metadata.raw_metadata import RawMetadata

TAKEN = "2015:06:01 10:00:00"
EVENING = "2022:10:30 20:30:00"
ORIGINAL, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132
OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
SUBSEC, SUBSEC_ORIGINAL = 0x9290, 0x9291


def read_tags(
    base: dict | None = None, detail: dict | None = None, gps: dict | None = None, **props: str
) -> RawMetadata:
    """Metadata that is read from a JPEG with these tags and XMP properties."""
    more = {"xmp": xmp(**props)} if props else {}
    data = saved(noise(), exif=exif(base=base, detail=detail, gps={**PARIS, **(gps or {})}), **more)
    return read_raw_metadata(Image.open(io.BytesIO(data)))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def gps_clock(date: str, hour: float, minute: float = 0.0, second: float = 0.0) -> dict:
    """GPS tags of a satellite clock."""
    return {29: date, 7: (hour, minute, second)}


def iptc(**records: str) -> bytes:
    """A segment of Photoshop with IPTC records: `d55="20150601"`."""
    body = b"".join(
        struct.pack(">BBBH", 0x1C, 2, int(key[1:]), len(text)) + text.encode()
        for key, text in records.items()
    )
    resource = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(body)) + body + bytes(len(body) % 2)
    return b"Photoshop 3.0\x00" + resource


def read_jpeg(data: bytes) -> RawMetadata:
    """Metadata that is read from a file, without the decoding child."""
    return read_raw_metadata(Image.open(io.BytesIO(data)))


def sign_rationals(block: bytes, *negative: tuple[int, int]) -> bytes:
    """An EXIF block whose coordinates are SRATIONAL; `negative` names (tag, number) pairs."""
    tiff = bytearray(block[6:])
    for tag, entry in tags(bytes(tiff)).items():
        if tag not in (2, 4):
            continue
        struct.pack_into(entry.order + "H", tiff, entry.at + 2, 10)
        _, _, count, at = struct.unpack_from(entry.order + "HHII", tiff, entry.at)
        for number in range(count):
            (top,) = struct.unpack_from(entry.order + "i", tiff, at + 8 * number)
            if (tag, number) in negative:
                struct.pack_into(entry.order + "i", tiff, at + 8 * number, -top)
    return block[:6] + bytes(tiff)
