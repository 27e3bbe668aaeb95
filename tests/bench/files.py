"""Images for ingest and queries, and the tower: real ones where they are available."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings
from pinpoint.synthetic.dataset import make_planet
from shared_data import shared_data


def tower(bundles: Path) -> tuple[EncoderSettings, str]:
    """Settings and name of the built-in bundle; the stack prepares it."""
    return EncoderSettings(bundle=BUILT_IN_BUNDLE), BUILT_IN_BUNDLE


def descriptor(bundles: Path) -> tuple[EncoderSettings, str]:
    """Settings and name of the descriptor bundle, which needs no weights."""
    return EncoderSettings(bundle="descriptor"), "descriptor"


def files(folder: Path, count: int) -> tuple[list[Path], str]:
    """Distinct JPEGs with a manifest, and the origin of their images.

    Each image has many copies that differ in a comment segment.
    """
    folder.mkdir(parents=True)
    images_on_disk, origin = _find_images(folder)
    paths = []
    with (folder / "manifest.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "latitude", "longitude", "captured_at"])
        for number in range(count):
            data = images_on_disk[number % len(images_on_disk)].read_bytes()
            path = folder / f"{number:05d}.jpg"
            path.write_bytes(_add_comment(data, f"copy {number}"))
            paths.append(path)
            lat, lon = 44.8 + 0.0005 * (number // 40), -1.0 + 0.0005 * (number % 40)
            rows.writerow([path.name, f"{lat:.6f}", f"{lon:.6f}", "2025-01-01T00:00:00+00:00"])
    return paths, origin


def _find_images(folder: Path) -> tuple[list[Path], str]:
    try:
        faces = sorted((shared_data() / "street" / "panoramax").glob("*.jpg"))
        if faces:
            return faces, f"{len(faces)} real street-view faces"
    except pytest.skip.Exception:
        pass
    planet = make_planet(folder / "world", preset="tiny", seed=5)
    return sorted(planet.folder.glob("galleries/*-photo/**/*.jpg")), "a seeded planet"


def _add_comment(data: bytes, comment: str) -> bytes:
    """Add a comment segment after the first marker of a JPEG: other bytes, the same pixels."""
    encoded = comment.encode()
    return data[:2] + b"\xff\xfe" + (len(encoded) + 2).to_bytes(2, "big") + encoded + data[2:]
