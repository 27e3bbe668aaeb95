"""Panoramas made of the real street views: four faces on one equirectangular image."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from media.pictures import exif, xmp
from stack_fixtures import degrees

FACE_TURNS = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}
WIDTH_PX = 1_680


@dataclass(frozen=True, slots=True)
class Shot:
    """One panorama of the street views."""

    name: str
    sequence: str
    lat: float
    lon: float
    heading_deg: float
    captured_at: str
    creator: str


def read_shots(folder: Path) -> list[Shot]:
    """Panoramas with all four faces, by sequence and time."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            face = Path(row["file"]).stem.rpartition("-")[2]
            rows.setdefault(row["panorama"], {})[face] = row
    shots = [
        Shot(
            name,
            faces["front"]["sequence"],
            float(faces["front"]["latitude"]),
            float(faces["front"]["longitude"]),
            float(faces["front"]["heading_deg"]),
            faces["front"]["captured_at"],
            faces["front"]["creator"],
        )
        for name, faces in rows.items()
        if set(faces) == set(FACE_TURNS)
    ]
    return sorted(shots, key=lambda shot: (shot.sequence, shot.captured_at))


def stitch_sphere(folder: Path, shot: Shot) -> bytes:
    """A JPEG with the four faces of a panorama; what no face shows is gray."""
    height = WIDTH_PX // 2
    lon = ((np.arange(WIDTH_PX) + 0.5) / WIDTH_PX - 0.5) * 360.0
    lat = (0.5 - (np.arange(height) + 0.5) / height) * 180.0
    sphere: NDArray[np.uint8] = np.full((height, WIDTH_PX, 3), 90, np.uint8)
    for name, turn_deg in FACE_TURNS.items():
        face = np.asarray(Image.open(folder / f"{shot.name}-{name}.jpg").convert("RGB"))
        side = face.shape[0]
        offset = np.radians((lon - turn_deg + 180.0) % 360.0 - 180.0)
        columns = np.flatnonzero(np.abs(offset) <= math.pi / 4)
        across = np.tan(offset[columns])
        down = -np.tan(np.radians(lat))[:, None] / np.cos(offset[columns])[None, :]
        x = np.clip(((across + 1.0) / 2.0 * side).astype(int), 0, side - 1)
        y = ((down + 1.0) / 2.0 * side).astype(int)
        rows, inside = np.nonzero((np.abs(down) < 1.0) & (y >= 0) & (y < side))
        sphere[rows, columns[inside]] = face[y[rows, inside], x[inside]]
    out = BytesIO()
    gps = {
        1: "N" if shot.lat >= 0 else "S",
        2: degrees(shot.lat),
        3: "E" if shot.lon >= 0 else "W",
        4: degrees(shot.lon),
    }
    packet = xmp(
        GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees=f"{shot.heading_deg:g}"
    )
    Image.fromarray(sphere).save(out, "JPEG", quality=85, exif=exif(gps=gps), xmp=packet)
    return out.getvalue()
