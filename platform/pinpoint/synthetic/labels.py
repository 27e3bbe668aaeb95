"""Metadata of a shot: EXIF in the file, and rows of the manifest and of the ground truth."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pinpoint.atomic_files import write_atomic
from pinpoint.synthetic.capture_patterns import Shot
from pinpoint.synthetic.photographs import Label
from pinpoint.synthetic.seeds import uniform

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
_GROUND_TRUTH_COLUMNS: Final = (
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
    """EXIF values of a shot; files of queries have no position."""
    is_query = shot.use == "query"
    make, camera = _CAMERAS[int(len(_CAMERAS) * uniform(seed, "phone", shot.creator))]
    if shot.kind == "street":
        make, camera = "Wegmeter", "SV-360" if shot.panorama else "SV-4"
    return Label(
        taken_at=shot.taken_at,
        make=make,
        camera=camera,
        artist=shot.creator,
        focal_35_mm=24,
        point=None if is_query else shot.point,
        heading_deg=None if is_query else shot.heading_deg,
        altitude_m=None if is_query else 2.0,
        panorama=shot.panorama,
    )


def write_manifest(path: Path, shots: Sequence[Shot], planet: str) -> None:
    """Write the CSV manifest for `pinpoint ingest`.

    The column `planet` of each row is generator version and digest.
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
    """Write the ground truth of the queries: positions and evaluation setting.

    closed: training regions, with their gallery; open: gallery and query are far from all of them.
    covered: whether the gallery covers the region; false in the null regions.
    repeats: the image nearly duplicates another one of the same creator.
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
            "true" if shot.near_duplicate_of else "false",
            planet,
        )
        for shot in shots
    ]
    _write_csv(path, _GROUND_TRUTH_COLUMNS, rows)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow(header)
    out.writerows(rows)
    write_made_file(path, text.getvalue())


def write_made_file(path: Path, data: bytes | str) -> None:
    """Write a file of the planet atomically, and create its parent folders.

    Not durable: the planet is made again from its seed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, durable=False)
