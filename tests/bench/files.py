"""Pictures to ingest and to ask about, and the tower that looks: real where there are any."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nets.mobilenet import mobilenet_bundle
from pinpoint.settings import EncoderSettings
from pinpoint.synthetic.dataset import make_planet
from shared_data import shared_data


def tower(bundles: Path) -> tuple[EncoderSettings, str]:
    """Settings of the largest tower whose weights are here, and its name.

    Args:
        bundles: Folder of bundles; one is made there if weights are found.
    """
    bundles.mkdir(parents=True, exist_ok=True)
    try:
        mobilenet_bundle(bundles / "mobilenet")
    except pytest.skip.Exception:
        return EncoderSettings(bundle="descriptor"), "descriptor (no MobileNet weights here)"
    return EncoderSettings(bundle="mobilenet"), "mobilenet"


def descriptor(bundles: Path) -> tuple[EncoderSettings, str]:
    """As `tower`, without weights."""
    return EncoderSettings(bundle="descriptor"), "descriptor"


def files(folder: Path, images: int) -> tuple[list[Path], str]:
    """Distinct JPEGs with a manifest, and where their pictures are from.

    Each picture stands there under many names, told apart by a comment at its beginning.
    """
    folder.mkdir(parents=True)
    pictures, origin = _pictures(folder)
    made = []
    with (folder / "manifest.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "latitude", "longitude", "captured_at"])
        for number in range(images):
            data = pictures[number % len(pictures)].read_bytes()
            path = folder / f"{number:05d}.jpg"
            path.write_bytes(_commented(data, f"copy {number}"))
            made.append(path)
            lat, lon = 44.8 + 0.0005 * (number // 40), -1.0 + 0.0005 * (number % 40)
            rows.writerow([path.name, f"{lat:.6f}", f"{lon:.6f}", "2025-01-01T00:00:00+00:00"])
    return made, origin


def _pictures(folder: Path) -> tuple[list[Path], str]:
    try:
        found = sorted((shared_data() / "street" / "panoramax").glob("*.jpg"))
        if found:
            return found, f"{len(found)} real street-view faces"
    except pytest.skip.Exception:
        pass
    made = make_planet(folder / "world", preset="tiny", seed=5)
    return sorted(made.folder.glob("galleries/*-photo/**/*.jpg")), "a seeded planet"


def _commented(data: bytes, comment: str) -> bytes:
    """The JPEG with a comment segment after its first marker: other bytes, the same pixels."""
    said = comment.encode()
    return data[:2] + b"\xff\xfe" + (len(said) + 2).to_bytes(2, "big") + said + data[2:]
