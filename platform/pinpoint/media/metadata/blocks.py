"""Collects the metadata blocks of an opened image: EXIF, XMP and IPTC, anywhere in its container.

Pillow returns one EXIF block and one XMP packet. Files have more: a second EXIF segment of another
program, an XMP packet that continues in extension segments, raw profiles in PNG text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image

from pinpoint.media.metadata.exif import DAMAGE

MAX_EXTENDED_BYTES: Final = 4_000_000
"""Maximum size of XMP extensions; larger ones contain images and are not read."""
MAX_BLOCKS: Final = 8
"""Maximum number of EXIF blocks and of XMP packets that are read from one file."""

_EXIF: Final = b"Exif\x00\x00"
_TIFF: Final = (b"II*\x00", b"MM\x00*")
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_XMP_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\x00"
_ORIENTATION: Final = 0x0112
_IPTC_RESOURCE: Final = 0x0404
_IPTC_TAG: Final = 33723
_REQUIRED_PROPERTIES: Final = re.compile(rb"GPS|Gps|Latitude|Date|GPano|Yaw")
"""Required properties; an extension without any of them is not parsed."""

Packet = tuple[bytes | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """All metadata blocks of a file, in their order."""

    exif: tuple[Image.Exif, ...]
    damaged: str | None
    """Why a block of EXIF cannot be read."""
    xmp: tuple[Packet, ...]
    """Packets, each with its extension if it has one."""
    iptc: bytes | None


def collect_blocks(image: Image.Image) -> Blocks:
    """Collect the blocks of an opened image.

    For PNG files, `image.info["exif"]` is filled from a raw profile. If only a later EXIF block has
    an orientation, it is copied into the first block, so that the image is rotated by it.
    """
    profiles = _read_profiles(image) if image.format == "PNG" else []
    packets = [packet for packet in _list_packets(image) if packet[0]]
    for kind, data in profiles:
        if kind == "exif" and "exif" not in image.info:
            image.info["exif"] = _EXIF + data
        if kind == "xmp":
            packets.append((data,))
    blocks: list[Image.Exif] = []
    damaged = None
    try:
        blocks.append(image.getexif())
        for data in _list_later_exif(image):
            later = Image.Exif()
            later.load(data)
            if _ORIENTATION in later and _ORIENTATION not in blocks[0]:
                blocks[0][_ORIENTATION] = later[_ORIENTATION]
            blocks.append(later)
    except DAMAGE:
        damaged = "an EXIF block cannot be read"
    return Blocks(
        exif=tuple(blocks), damaged=damaged, xmp=tuple(packets[:MAX_BLOCKS]), iptc=_find_iptc(image)
    )


def _list_later_exif(image: Image.Image) -> list[bytes]:
    """EXIF blocks of a JPEG after its first; a segment without a header continues a block."""
    later_blocks: list[bytes] = []
    for name, segment in _list_segments(image):
        if name == "APP1" and segment.startswith(_EXIF):
            body = segment[len(_EXIF) :]
            if later_blocks and not body.startswith(_TIFF):
                later_blocks[-1] += body
            else:
                later_blocks.append(segment)
    return later_blocks[1:MAX_BLOCKS]


def _list_segments(image: Image.Image) -> list[tuple[str, bytes]]:
    """Application segments of a JPEG as stored by Pillow; none in other formats."""
    segments: list[tuple[str, bytes]] = getattr(image, "applist", [])
    return segments


def _list_packets(image: Image.Image) -> Iterator[Packet]:
    """XMP packets; a packet of a JPEG has the extension that it names by checksum."""
    plain = [s[len(_XMP) :] for n, s in _list_segments(image) if n == "APP1" and s.startswith(_XMP)]
    if not plain:
        # A PNG may have its packet in a text chunk of an older kind.
        yield (image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b"",)
        return
    extensions = _read_extensions(image)
    for packet in plain:
        parts = [data for guid, data in extensions.items() if guid in packet]
        yield (packet, *parts[:1])


def _read_extensions(image: Image.Image) -> dict[bytes, bytes]:
    """Assembled extended XMP (XMP part 3, 1.1.3.1) by checksum, without incomplete extensions."""
    pieces: dict[bytes, dict[int, bytes]] = {}
    lengths: dict[bytes, int] = {}
    head = len(_XMP_EXTENSION)
    for name, segment in _list_segments(image):
        if name != "APP1" or not segment.startswith(_XMP_EXTENSION) or len(segment) < head + 40:
            continue
        guid = segment[head : head + 32]
        lengths[guid] = int.from_bytes(segment[head + 32 : head + 36], "big")
        start = int.from_bytes(segment[head + 36 : head + 40], "big")
        pieces.setdefault(guid, {})[start] = segment[head + 40 :]
    extensions: dict[bytes, bytes] = {}
    for guid, parts in pieces.items():
        if lengths[guid] > MAX_EXTENDED_BYTES or len(extensions) >= MAX_BLOCKS:
            continue
        data = b"".join(parts[start] for start in sorted(parts))
        if len(data) == lengths[guid] and _REQUIRED_PROPERTIES.search(data):
            extensions[guid] = data
    return extensions


def _read_profiles(image: Image.Image) -> list[tuple[str, bytes]]:
    """(`exif` or `xmp`, bytes) of a PNG's raw profiles, as ImageMagick and others write them."""
    profiles: list[tuple[str, bytes]] = []
    for key, value in list(image.info.items()):
        if not isinstance(key, str) or not key.lower().startswith("raw profile type "):
            continue
        lines = value.split() if isinstance(value, str) else []
        # The second line has the number of bytes; bytes after them are not part of the profile.
        digits = "".join(lines[2:])
        if len(lines) > 1 and lines[1].isdecimal() and len(lines[1]) < 12:
            digits = digits[: 2 * int(lines[1])]
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            data = b""
        if data.startswith(_XMP):
            profiles.append(("xmp", data[len(_XMP) :]))
        elif data.startswith(_EXIF):
            profiles.append(("exif", data[len(_EXIF) :]))
        elif data.startswith(_TIFF):
            profiles.append(("exif", data))
        elif key.lower().endswith("xmp"):
            profiles.append(("xmp", data))
    return profiles


def _find_iptc(image: Image.Image) -> bytes | None:
    """IPTC records: in Photoshop's segment of a JPEG, in a tag of a TIFF."""
    resources = image.info.get("photoshop")
    data = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    if data is None:
        data = getattr(image, "tag_v2", {}).get(_IPTC_TAG)
    return data if isinstance(data, bytes) else None
