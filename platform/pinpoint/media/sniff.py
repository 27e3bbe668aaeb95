"""Detects the format of a file by its first bytes, never by its name."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 256
"""Number of bytes that `sniff_format` needs."""

FORMATS: Final[tuple[str, ...]] = ("avif", "heic", "jpeg", "png", "tiff", "webp")
"""Supported formats; all others are `unsupported_format`."""

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_HEIF_PROFILES: Final = frozenset({b"miaf", b"mif2", b"mif3", b"MiHB", b"MiHE", b"MiHA", b"heif"})
"""Structure and profiles of still images: such files contain an image of any codec."""
_OTHER_FORMATS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"8BPS", "PSD"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"%PDF", "PDF"),
    (b"IIRO", "ORF"),
    (b"IIU\x00", "RW2"),
    (b"FUJIFILM", "RAF"),
    (b"<?xml", "XML"),
    (b"PK\x03\x04", "ZIP"),
)


def sniff_format(head: bytes) -> str | None:
    """Format of a file from its first `HEAD_BYTES` bytes; None if it is not supported."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        # Raw files of Canon are TIFFs with a mark after the header.
        return None if head[8:10] == b"CR" else "tiff"
    if head[4:8] == b"ftyp":
        return _sniff_isobmff(head)
    return None


def _sniff_isobmff(head: bytes) -> str | None:
    """AVIF or HEIC, by the major and compatible brands."""
    brands = _list_brands(head)
    if _AVIF_BRANDS.intersection(brands):
        return "avif"
    return "heic" if (_HEIF_BRANDS | _HEIF_PROFILES).intersection(brands) else None


def _list_brands(head: bytes) -> list[bytes]:
    """The major brand, then the compatible ones."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]


def with_known_brand(data: bytes, kind: str) -> bytes:
    """The same HEIC or AVIF file with a major brand that its decoder supports.

    Decoders check only the major brand. Writers may put the relevant brand among the compatible
    ones.

    Args:
        data: The file.
        kind: `heic` or `avif`, as returned by `sniff_format`.
    """
    known_brands = _AVIF_BRANDS if kind == "avif" else _HEIF_BRANDS
    brands = _list_brands(data[:HEAD_BYTES])
    if brands[0] in known_brands:
        return data
    brand = next((brand for brand in brands if brand in known_brands), min(known_brands))
    return data[:8] + brand + data[12:]


def guess_format(head: bytes) -> str:
    """Probable format of an unsupported file, for messages."""
    for mark, name in _OTHER_FORMATS:
        if head.startswith(mark):
            return name
    if head[4:8] == b"ftyp":
        return f"a video or raw file (brand {head[8:12].decode('ascii', 'replace').strip()!r})"
    return "not an image we know"


def read_webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP from its header, before its decoder allocates a canvas."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        width = int.from_bytes(head[24:27], "little") + 1
        return width, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) >= 30:
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        return width, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None
