"""Mutants: valid files, each changed in one way by a seeded program.

`mutants(seed, count)` gives the same files each time. Half of them are bombs (`media.bombs`); the
others are a valid file with flipped bits, truncated, spliced with another, or with one false
length, count, offset or size.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

from media.bombs import BOMBS
from media.containers import boxes, chunks, entries, jpeg, png, riff, segments
from media.pictures import PARIS, exif, noise, photo, saved, xmp

Mutator = Callable[[bytes, random.Random], bytes]
_LIES_16 = (0, 1, 2, 3, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_LIES_32 = (0, 1, 2, 7, 8, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


@cache
def valid_files() -> dict[str, bytes]:
    """Name → file: every format that is read, in its common and its odd forms."""
    here = exif(gps=PARIS, detail={0x9003: "2020:02:03 12:00:00"}, base={0x0110: "Camera"})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    pages = {"save_all": True, "append_images": [noise(seed=seed) for seed in (1, 2)]}
    packet = xmp(exif__GPSLatitude="48,51.4N", exif__GPSLongitude="2,21,3E")
    sphere = xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90")
    deep = Image.fromarray(np.asarray(noise().convert("L")).astype(np.uint16) * 257)
    pillow_heif.register_heif_opener()
    return {
        "plain.jpg": photo(xmp=packet, icc_profile=profile),
        "progressive.jpg": saved(noise(), progressive=True, exif=here),
        "gray.jpg": saved(noise().convert("L"), exif=here),
        "cmyk.jpg": saved(noise().convert("CMYK"), exif=here, icc_profile=profile),
        "sphere.jpg": saved(noise(128, 64), exif=here, xmp=sphere),
        "plain.png": saved(noise(), "PNG", exif=here, icc_profile=profile),
        "deep.png": saved(deep, "PNG", exif=here),
        "palette.png": saved(noise().convert("P"), "PNG", exif=here, transparency=3),
        "moving.png": saved(noise(), "PNG", exif=here, **pages),
        "plain.webp": saved(noise(), "WEBP", exif=here, xmp=packet),
        "lossless.webp": saved(noise().convert("RGBA"), "WEBP", exif=here, lossless=True),
        "moving.webp": saved(noise(), "WEBP", exif=here, **pages),
        "raw.tif": saved(noise(), "TIFF", exif=here),
        "deflate.tif": saved(noise(), "TIFF", tiffinfo={700: packet}, compression="tiff_deflate"),
        "lzw.tif": saved(noise(), "TIFF", compression="tiff_lzw", **pages),
        "cmyk.tif": saved(noise().convert("CMYK"), "TIFF", exif=here),
        "float.tif": saved(noise().convert("F"), "TIFF", exif=here),
        "deep.tif": saved(deep, "TIFF", exif=here),
        "plain.heic": saved(noise(), "HEIF", exif=here),
        "plain.avif": saved(noise(), "AVIF", exif=here),
    }


def mutants(
    seed: int, count: int, others: Sequence[tuple[str, bytes]] = ()
) -> Iterator[tuple[str, bytes]]:
    """Seeded mutants as `(name, bytes)`, all names distinct.

    Args:
        seed: The same seed gives the same files.
        count: How many.
        others: Real valid files to mutate beside our own.
    """
    sources, seen = [*valid_files().items(), *others], set()
    for number in range(count):
        name, data = _mutant(number, random.Random(f"{seed}/{number}"), sources)
        if data in seen:
            data += f"#{number}".encode()  # after its end, which no reader reads
        seen.add(data)
        yield f"{number:04d}-{name}", data


def _mutant(
    number: int, rng: random.Random, sources: Sequence[tuple[str, bytes]]
) -> tuple[str, bytes]:
    turn = number // 2
    if number % 2:
        bomb = sorted(BOMBS)[turn % len(BOMBS)]
        return bomb, BOMBS[bomb](rng)
    name, data = sources[turn % len(sources)]
    mutator = rng.choice([*_ANYWHERE, *_INSIDE[_kind(data)] * 2])
    return f"{mutator.__name__}-{name}", mutator(data, rng)


def bits(data: bytes, rng: random.Random) -> bytes:
    """A few bits flipped, mostly near the start where the structure is."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 4, 32))):
        within = len(out) if rng.random() < 0.4 else min(len(out), 400)
        out[rng.randrange(within)] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Cut short, or with a hole."""
    at = rng.randrange(len(data))
    return data[:at] if rng.random() < 0.6 else data[:at] + data[at + rng.randrange(1, 500) :]


def splice(data: bytes, rng: random.Random) -> bytes:
    """The start of one format and the rest of another."""
    other = rng.choice(list(valid_files().values()))
    return data[: rng.randrange(4, len(data))] + other[rng.randrange(len(other)) :]


def smear(data: bytes, rng: random.Random) -> bytes:
    """A run of bytes replaced by extreme ones."""
    at, run = rng.randrange(len(data)), rng.choice((2, 4, 8, 64))
    return data[:at] + rng.choice((b"\x00", b"\xff", b"\x7f")) * run + data[at + run :]


def jpeg_lie(data: bytes, rng: random.Random) -> bytes:
    """A segment with a false length, repeated 50 times, removed, or moved."""
    pieces = segments(data)
    index, kind = rng.randrange(max(1, len(pieces) - 1)), rng.randrange(4)
    if kind == 0:
        return jpeg(pieces, {index: rng.choice(_LIES_16)})
    if kind == 1:
        return jpeg([*pieces[:index], *[pieces[index]] * 50, *pieces[index:]])
    if kind == 2:
        return jpeg(pieces[:index] + pieces[index + 1 :])
    return jpeg([pieces[index], *pieces[:index], *pieces[index + 1 :]])


def jpeg_inside(data: bytes, rng: random.Random) -> bytes:
    """A segment with a false payload: frame sizes, tables, EXIF directories."""
    pieces = segments(data)
    index = rng.randrange(max(1, len(pieces) - 1))
    marker, payload = pieces[index]
    if payload.startswith(b"Exif\x00\x00"):
        payload = payload[:6] + tiff_lie(payload[6:], rng)
    elif payload:
        payload = smear(payload, rng)[: max(1, len(payload))]
    return jpeg([*pieces[:index], (marker, payload), *pieces[index + 1 :]])


def png_lie(data: bytes, rng: random.Random) -> bytes:
    """A chunk with a false length, a changed body under a right CRC, repeated, or gone."""
    parts = chunks(data)
    index, kind = rng.randrange(len(parts)), rng.randrange(4)
    name, body = parts[index]
    if kind == 0:
        return png(parts, {index: rng.choice(_LIES_32)})
    if kind == 1 and body:
        return png([*parts[:index], (name, bits(body, rng)), *parts[index + 1 :]])
    if kind == 2:
        return png([*parts[:index], *[parts[index]] * 20, *parts[index + 1 :]])
    return png(parts[:index] + parts[index + 1 :])


def tiff_lie(data: bytes, rng: random.Random) -> bytes:
    """One entry with another type, count or value, or a directory that points to itself."""
    tiff_entries = entries(data)
    if not tiff_entries:
        return bits(data, rng)
    out, entry = bytearray(data), rng.choice(tiff_entries)
    if entry.pointer:
        target = rng.choice((8, entry.at, len(data) - 1, 0xFFFFFFF0))
        struct.pack_into(entry.order + "I", out, entry.at, target)
        return bytes(out)
    kind = rng.randrange(3)
    if kind == 0:
        struct.pack_into(
            entry.order + "H", out, entry.at + 2, rng.choice((0, 1, 2, 5, 12, 13, 16, 99))
        )
    else:
        struct.pack_into(
            entry.order + "I", out, entry.at + (4 if kind == 1 else 8), rng.choice(_LIES_32)
        )
    return bytes(out)


def box_lie(data: bytes, rng: random.Random) -> bytes:
    """A box with a false size or type, or noise inside it."""
    out = bytearray(data)
    at, _, size = rng.choice([*boxes(data), (0, b"ftyp", min(24, len(data)))])
    kind = rng.randrange(3)
    if kind == 0:
        struct.pack_into(">I", out, at, rng.choice((*_LIES_32, size - 1, size + 1)))
    elif kind == 1:
        out[at + 4 : at + 8] = rng.choice((b"free", b"meta", b"ipco", b"iloc", b"grid"))
    elif size > 12:
        for _ in range(3):
            out[rng.randrange(at + 8, at + size)] = rng.choice((0, 1, 0x7F, 0xFF))
    return bytes(out)


def riff_lie(data: bytes, rng: random.Random) -> bytes:
    """A WebP chunk, or the whole file, with a false size, or with noise at its start."""
    out = bytearray(data)
    at, _, size = rng.choice([(0, b"RIFF", len(data) - 8), *riff(data)])
    if rng.random() < 0.5 or size < 12:
        struct.pack_into("<I", out, at + 4, rng.choice((*_LIES_32, max(0, size - 1), size + 2)))
    else:
        for _ in range(3):
            out[at + 8 + rng.randrange(min(size, 40))] = rng.choice((0, 1, 0x7F, 0xFF))
    return bytes(out)


def _kind(data: bytes) -> str:
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data.startswith(b"\x89PNG"):
        return "png"
    if data[:4] == b"RIFF":
        return "webp"
    return "tiff" if data[:2] in (b"II", b"MM") else "bmff"


_ANYWHERE: list[Mutator] = [bits, cut, splice, smear]
_INSIDE: dict[str, list[Mutator]] = {
    "jpeg": [jpeg_lie, jpeg_inside],
    "png": [png_lie],
    "tiff": [tiff_lie],
    "webp": [riff_lie],
    "bmff": [box_lie],
}
