"""Bombs: generated files that attack their reader. Each maker takes a random generator."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from media.containers import app1, chunks, entries, png, riff, tags, with_chunk, with_piece
from media.pictures import (
    PARIS,
    exif,
    flat_png,
    jpeg_claiming,
    noise,
    photo,
    png_claiming,
    ratio,
    saved,
    webp_claiming,
    xmp,
)

Maker = Callable[[random.Random], bytes]


def _png_xmp(packet: bytes, times: int = 1) -> bytes:
    """A PNG in Paris with a compressed XMP packet of any size."""
    head = b"XML:com.adobe.xmp\x00\x01\x00\x00\x00"
    return with_chunk(_paris_png(), b"iTXt", head + _packed(packet, times))


@cache
def _packed(content: bytes, times: int) -> bytes:
    return zlib.compress(content * times, 9)


@cache
def _paris_png() -> bytes:
    return saved(noise(), "PNG", exif=exif(gps=PARIS))


def laughs(rng: random.Random) -> bytes:
    """Entities that expand to billions of characters, in XMP."""
    levels = rng.randint(8, 20)
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{lines}]>'
    return photo(xmp=(head + f"<x>&l{levels - 1};</x>").encode())


def stranger(rng: random.Random) -> bytes:
    """XMP that asks for a file or an address of this machine."""
    where = rng.choice(("file:///etc/passwd", "http://127.0.0.1:9/x", "file:///dev/zero"))
    head = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{where}">]>'
    return photo(xmp=head.encode() + xmp(exif__GPSLatitude="&e;"))


def deep_xml(rng: random.Random) -> bytes:
    """XMP nested a hundred thousand deep: small when packed."""
    return _png_xmp(b"<a>", rng.choice((5_000, 100_000, 900_000)))


def wide_xml(rng: random.Random) -> bytes:
    """XMP with very many properties, or one very long one."""
    if rng.random() < 0.5:
        return _png_xmp(xmp(**{f"exif__P{n}": "1" for n in range(20_000)}))
    return _png_xmp(xmp(exif__GPSLatitude="9" * rng.choice((10_000, 3_000_000))))


def odd_xml(rng: random.Random) -> bytes:
    """XMP in an odd encoding, truncated, or with invalid characters."""
    whole = xmp(exif__GPSLatitude="48,51.4N", exif__GPSLongitude="2,21,3E")
    choice = (whole.decode().encode("utf-16"), whole[:-30], b"\x00" * 500, whole + b"\xff\xfe")
    return photo(xmp=rng.choice((*choice, b'<?xml version="1.0" encoding="utf-7"?>' + whole)))


def zipped_text(rng: random.Random) -> bytes:
    """PNG text that unpacks to hundreds of megabytes."""
    packed = _packed(bytes(1_000), rng.choice((5_000, 200_000)))
    name = rng.choice((b"zTXt", b"iCCP"))
    return with_chunk(_paris_png(), name, b"bomb\x00\x00" + packed)


def much_text(rng: random.Random) -> bytes:
    """Thousands of text chunks, each within the limit."""
    data = _paris_png()
    body = b"k\x00" + b"x" * 1_000
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body
    chunk += struct.pack(">I", zlib.crc32(b"tEXt" + body))
    return data[:33] + chunk * rng.choice((100, 5_000)) + data[33:]


def big_exif(rng: random.Random) -> bytes:
    """An EXIF block of megabytes in a PNG, or sixty of them in a JPEG."""
    block = exif(gps=PARIS)
    if rng.random() < 0.5:
        return with_chunk(saved(noise(), "PNG"), b"eXIf", block[6:] + bytes(5_000_000))
    piece = app1(block + bytes(65_000 - len(block)))
    data = saved(noise())
    for _ in range(60):
        data = data[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(piece[1]) + 2) + piece[1] + data[2:]
    return data


def loops(rng: random.Random) -> bytes:
    """EXIF whose directories lead back to themselves."""
    block = exif(gps=PARIS, detail={0x9003: "2020:02:03 12:00:00"})
    inner = bytearray(block[6:])
    entries_by_tag = tags(bytes(inner))
    for tag in (0x8825, 0x8769):
        if tag in entries_by_tag and rng.random() < 0.8:
            struct.pack_into(entries_by_tag[tag].order + "I", inner, entries_by_tag[tag].at + 8, 8)
    return with_piece(saved(noise()), app1(block[:6] + bytes(inner)))


def counts(rng: random.Random) -> bytes:
    """EXIF tags that claim billions of values."""
    block = exif(gps=PARIS, base={0x010F: "Make", 0x0110: "Model"})
    inner = bytearray(block[6:])
    for entry in tags(bytes(inner)).values():
        if rng.random() < 0.5:
            struct.pack_into(entry.order + "I", inner, entry.at + 4, rng.choice((2**31, 2**32 - 1)))
    return with_piece(saved(noise()), app1(block[:6] + bytes(inner)))


def numbers(rng: random.Random) -> bytes:
    """Positions that are no numbers, or no places."""
    zero, huge = ratio(1, 0), ratio(2**32 - 1, 1)
    odd = rng.choice((zero, huge, ratio(0, 0), 1e9, 90.0, 180.0))
    gps = {2: (odd, rng.choice((0.0, odd)), 0.0), 4: (rng.choice((2.0, odd)), 0.0, odd)}
    return photo(gps={**gps, 6: odd, 7: (odd, 0.0, 0.0), 17: odd, 29: "2020:02:03"})


def words(rng: random.Random) -> bytes:
    """Text with zero bytes, halves of characters and control codes, or very much of it."""
    odd = rng.choice(("a\x00b", "\x1b[2J", "\u202egpj.exe", "x" * 20_000, "\ufffe", "' OR 1=1"))
    refs = {1: rng.choice(("N", "\x00", "n", "North", "")), 3: "E"}
    return photo(gps=refs, base={0x010F: odd, 0x0110: odd, 0x013B: odd, 0x9C9D: b"\x00\xd8" * 9})


def times(rng: random.Random) -> bytes:
    """Times at the ends of the calendar and beyond."""
    when = rng.choice(
        ("0001:01:01 00:00:00", "9999:12:31 23:59:59", "0000:00:00 00:00:00", "2020:02:30 99:99:99")
    )
    return photo(detail={0x9003: when, 0x9011: rng.choice(("+14:00", "-14:00", "+99:99", "\x00"))})


def frames(rng: random.Random) -> bytes:
    """More frames than are allowed, or a directory of a TIFF that follows itself."""
    kind = rng.choice(("PNG", "WEBP", "TIFF", "loop"))
    if kind == "loop":
        data = bytearray(saved(noise(), "TIFF", exif=exif(gps=PARIS)))
        (first,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, first)
        struct.pack_into("<I", data, first + 2 + 12 * count, first)
        return bytes(data)
    return _many_frames(kind)


@cache
def _many_frames(kind: str) -> bytes:
    """Over 2,000 frames: a repeated directory or frame, or a false count."""
    data = saved(noise(), kind, save_all=True, append_images=[noise(seed=1)])
    if kind == "PNG":
        parts = [entry for entry in chunks(data) if entry[0] != b"acTL"]
        return png([parts[0], (b"acTL", struct.pack(">II", 2_100, 0)), *parts[1:]])
    if kind == "WEBP":
        at, _, size = list(riff(data))[-1]
        data += data[at : at + 8 + size] * 2_100
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    first = entries(data)[0].at - 2
    end = next(entry.at for entry in entries(data) if entry.pointer)
    data += bytes(len(data) % 2)
    start, directory = len(data), data[first:end]
    size = len(directory) + 4
    chain = [directory + struct.pack("<I", start + size * n) for n in range(1, 2_100)]
    return data[:4] + struct.pack("<I", start) + data[8:] + b"".join(chain) + directory + bytes(4)


def giants(rng: random.Random) -> bytes:
    """Headers that claim pictures larger than any memory, with almost no data."""
    wide, high = rng.choice(((60_000, 60_000), (16_384, 16_384), (65_535, 65_535)))
    maker = rng.choice((png_claiming, jpeg_claiming, webp_claiming))
    return (
        maker(min(wide, 16_384), min(high, 16_384))
        if maker is webp_claiming
        else maker(min(wide, 65_500), min(high, 65_500))
    )


def claims(rng: random.Random) -> bytes:
    """Pictures just below the pixel limit, with almost no data."""
    return rng.choice((png_claiming, jpeg_claiming))(14_000, 14_000)


def flat(rng: random.Random) -> bytes:
    """A picture of one color: some hundred kilobytes that become a hundred megabytes."""
    return _flat(rng.choice(("L", "RGB", "1")))


@cache
def _flat(mode: str) -> bytes:
    return flat_png(8_000, 8_000, mode)


def strips(rng: random.Random) -> bytes:
    """A deflated TIFF of zeros that claims more rows than it has."""
    data = bytearray(saved(Image.new("L", (2_000, 2_000)), "TIFF", compression="tiff_deflate"))
    entries_by_tag = tags(bytes(data))
    for tag in (TiffImagePlugin.IMAGELENGTH, TiffImagePlugin.ROWSPERSTRIP):
        struct.pack_into(entries_by_tag[tag].order + "HI", data, entries_by_tag[tag].at + 2, 4, 1)
        struct.pack_into(
            entries_by_tag[tag].order + "I",
            data,
            entries_by_tag[tag].at + 8,
            rng.choice((90_000, 2**31)),
        )
    return bytes(data)


def polyglots(rng: random.Random) -> bytes:
    """A picture that is also a file of another format."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("a.jpg", photo())
    more = (inside.getvalue(), b"<script>alert(1)</script>", b"%PDF-1.7\n", _paris_png())
    first = rng.choice((photo(), _paris_png()))
    return rng.choice((first + rng.choice(more), rng.choice(more) + first))


def archives(rng: random.Random) -> bytes:
    """Archives, which the decoder never opens."""
    out = io.BytesIO()
    kind = rng.choice(("zip", "tar", "gz", "bomb"))
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.jpg"))
        return out.getvalue()
    if kind == "gz":
        return zlib.compress(photo(), wbits=31)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(10_000_000) if kind == "bomb" else photo())
    return out.getvalue()


def colors(rng: random.Random) -> bytes:
    """Unusual depths and color modes, and profiles of another mode."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lying = profile.replace(b"sRGB", b"lies").replace(b"s\x00R\x00G\x00B", b"l\x00i\x00e\x00")
    broken = bytearray(lying)
    for _ in range(8):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    mode = rng.choice(("CMYK", "L", "RGB", "YCbCr"))
    here = exif(gps=PARIS)
    if rng.random() < 0.5:
        return saved(noise().convert(mode), exif=here, icc_profile=bytes(broken))
    values = np.full((48, 64), rng.choice((np.nan, np.inf, 1e38)), np.float32)
    pictures = (Image.fromarray(values), noise().convert("LAB"), noise().convert("1"))
    return saved(rng.choice(pictures), "TIFF", exif=here)


def nothing(rng: random.Random) -> bytes:
    """No bytes, or the first few of a format."""
    marks = (b"", b"\xff", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00+", b"RIFF")
    return rng.choice((*marks, b"\x00\x00\x00\x18ftypheic", b"\x00\x00\x00\x00ftypavif"))


BOMBS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        *(laughs, stranger, deep_xml, wide_xml, odd_xml, zipped_text, much_text, big_exif, loops),
        *(counts, numbers, words, times, frames, giants, claims, flat, strips, polyglots),
        *(archives, colors, nothing),
    )
}
