"""Seeded test pictures with given metadata, generated on every call."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

PARIS = {1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 3.0)}
"""GPS directory of 48.856667, 2.350833."""
PARIS_LAT, PARIS_LON = 48.856667, 2.350833


def noise(width: int = 64, height: int = 48, seed: int = 7) -> Image.Image:
    """Smooth colored noise, never symmetrical."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def exif(
    gps: Mapping[int, Any] | None = None,
    detail: Mapping[int, Any] | None = None,
    base: Mapping[int, Any] | None = None,
) -> bytes:
    """An EXIF block with these tags."""
    block = Image.Exif()
    for tag, value in (base or {}).items():
        block[tag] = value
    for pointer, tags in ((0x8825, gps), (0x8769, detail)):
        if tags:
            block.get_ifd(pointer).update(tags)
            block[pointer] = dict(tags)
    return block.tobytes()


def ratio(top: int, bottom: int) -> IFDRational:
    """A rational as it is written, zero denominators too."""
    return IFDRational(top, bottom)


def xmp(**properties: str) -> bytes:
    """An XMP packet; `exif__GPSLatitude="48,51.4N"`."""
    spaces = {
        "exif": "http://ns.adobe.com/exif/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "GPano": "http://ns.google.com/photos/1.0/panorama/",
    }
    names = " ".join(f'xmlns:{prefix}="{url}"' for prefix, url in spaces.items())
    values = " ".join(f'{key.replace("__", ":")}="{value}"' for key, value in properties.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {names} {values}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file."""
    out = BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def photo(**tags: Any) -> bytes:
    """A small JPEG in Paris, with more tags where given."""
    gps = {**PARIS, **tags.pop("gps", {})}
    options = {key: tags.pop(key) for key in ("xmp", "icc_profile") if key in tags}
    return saved(noise(), exif=exif(gps=gps, **tags), **options)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; there is hardly any data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims a size."""
    data = bytearray(photo())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    """An extended WebP whose canvas claims a size."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flat_png(width: int, height: int, mode: str = "L") -> bytes:
    """A large PNG of one color: small as a file, large in memory."""
    return saved(Image.new(mode, (width, height)), "PNG", compress_level=1)


def gpx(*points: tuple[float, float, str], head: str = "") -> bytes:
    """A GPX track of (lat, lon, ISO time)."""
    body = "".join(
        f'<trkpt lat="{lat}" lon="{lon}"><time>{time}</time></trkpt>' for lat, lon, time in points
    )
    return (
        f'<?xml version="1.0"?>{head}<gpx version="1.1" creator="test" '
        f'xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{body}</trkseg></trk></gpx>'
    ).encode()
