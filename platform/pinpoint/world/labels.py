"""What is written about a shot: into the file as EXIF, beside it as a manifest row or as truth."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pinpoint.world.habits import Shot
from pinpoint.world.photographs import Label
from pinpoint.world.seeds import share

_CAMERAS: Final = (("Halide", "H3"), ("Orlo", "One"), ("Nikkai", "D90"), ("Kestrel", "K5"))
_MANIFEST_COLUMNS: Final = (
    "file",
    "latitude",
    "longitude",
    "heading_deg",
    "captured_at",
    "creator",
    "sequence",
    "planet",
)
_TRUTH_COLUMNS: Final = (
    "file",
    "latitude",
    "longitude",
    "creator",
    "sequence",
    "kind",
    "country",
    "role",
    "setting",
    "covered",
    "repeats",
    "planet",
)


def exif_label(seed: int, shot: Shot) -> Label:
    """What the camera writes; a query's file does not say where it was taken."""
    secret = shot.use == "query"
    make, camera = _CAMERAS[int(len(_CAMERAS) * share(seed, "phone", shot.creator))]
    if shot.kind == "street":
        make, camera = "Wegmeter", "SV-360" if shot.panorama else "SV-4"
    return Label(
        taken_at=shot.taken_at,
        make=make,
        camera=camera,
        artist=shot.creator,
        focal_35_mm=24,
        point=None if secret else shot.point,
        heading_deg=None if secret else shot.heading_deg,
        altitude_m=None if secret else 2.0,
        panorama=shot.panorama,
    )


def write_manifest(path: Path, shots: Sequence[Shot], planet: str) -> None:
    """A CSV that `pinpoint ingest` takes beside the folder of the images.

    Each row says which planet it is of: `planet` is generator version and digest.
    """
    rows = [
        (
            shot.file,
            f"{shot.point.lat:.8f}",
            f"{shot.point.lon:.8f}",
            f"{shot.heading_deg:.2f}",
            shot.taken_at.isoformat(),
            shot.creator,
            shot.sequence or "",
            planet,
        )
        for shot in shots
    ]
    _write_csv(path, _MANIFEST_COLUMNS, rows)


def write_ground_truth(path: Path, shots: Sequence[Shot], planet: str) -> None:
    """Where the queries were taken, and of which setting each is.

    closed: the gallery holds training places; open: gallery and query are away from all of them.
    covered: whether any gallery image lies within reach; not so in the null regions.
    repeats: the picture is another one of the same author, taken a moment later.
    planet: generator version and digest.
    """
    rows = [
        (
            f"{shot.site.role}/{shot.file}",
            f"{shot.point.lat:.8f}",
            f"{shot.point.lon:.8f}",
            shot.creator,
            shot.sequence or "",
            shot.kind,
            shot.site.city.country,
            shot.site.role,
            "closed" if shot.site.role == "train" else "open",
            "false" if shot.site.role.startswith("null") else "true",
            "true" if shot.again else "false",
            planet,
        )
        for shot in shots
    ]
    _write_csv(path, _TRUTH_COLUMNS, rows)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow(header)
    out.writerows(rows)
    write_whole(path, text.getvalue().encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
