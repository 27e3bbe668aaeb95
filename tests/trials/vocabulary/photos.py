"""Photos that the built-in vocabulary is learned from: test files of three repositories."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.specs import VocabularySource
from pinpoint.records import DecodedImage, Pixels
from pinpoint.settings import MediaSettings

LAYER = "blocks.4"
SUFFIXES = (".jpg", ".jpeg")
ORIGINS = {
    "exif-samples": ("ianare/exif-samples 5332a9cf", "CC BY-SA 4.0"),
    "exifr": ("MikeKovarik/exifr 6cbf6e92", "MIT"),
    "test-assets": ("immich-app/test-assets ec56cc6c", "public domain"),
}
"""Folder below the folder of photos -> GitHub repository with commit, and license."""


@dataclass(frozen=True)
class Photo:
    """A photo, decoded as a worker does it."""

    origin: str
    pixels: Pixels


def read_photos(folder: Path) -> list[Photo]:
    """JPEG files below the folders of `ORIGINS`, by name, without files of equal pixels."""
    return list(_iterate_photos(folder))


def _iterate_photos(folder: Path) -> Iterator[Photo]:
    decoder = ChildDecoder(MediaSettings(timeout_s=60.0))
    known: set[int] = set()
    try:
        for origin in ORIGINS:
            for path in sorted((folder / origin).rglob("*")):
                if path.suffix.lower() not in SUFFIXES:
                    continue
                decoded = decoder.read(path.name, path.read_bytes(), query=True)
                if not isinstance(decoded, DecodedImage):
                    continue  # a file that tests what a decoder refuses
                pixels = decoded.faces[0].pixels
                digest = zlib.crc32(pixels.tobytes())
                if digest not in known:
                    known.add(digest)
                    yield Photo(origin, pixels)
    finally:
        decoder.close()


def list_sources(photos: list[Photo]) -> tuple[VocabularySource, ...]:
    """Provenance for the contract."""
    return tuple(
        VocabularySource(
            name=name, count=sum(photo.origin == origin for photo in photos), license=license
        )
        for origin, (name, license) in ORIGINS.items()
    )
