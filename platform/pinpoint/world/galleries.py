"""Seeded galleries of two source kinds on disk, with unseen query photos and their truth.

street/<place>/street-00.jpg …   photo/<place>/photo-00.jpg …   queries/query-00.jpg …
manifests/street.csv, photo.csv  the same positions as in the EXIF, and the sequence
queries.json                     the truth: where the query photos were taken
gallery.json                     what was asked for; written last, so its presence means done
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pinpoint.records import Point
from pinpoint.world import habits
from pinpoint.world.habits import Shot
from pinpoint.world.photographs import jpeg
from pinpoint.world.places import place, rng
from pinpoint.world.rendering import render

_VERSION: Final = 1
"""Rises when the same seed gives other pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An unseen photo and where it was really taken."""

    path: Path
    point: Point
    place: str
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A gallery on disk: one folder for each source, manifests and queries apart."""

    street: Path
    photo: Path
    manifests: Path
    queries: tuple[Query, ...]
    images: int
    """Files in both source folders; a panorama counts once."""


def make_gallery(
    folder: Path,
    *,
    seed: int,
    places: int,
    photos_per_place: int = 6,
    streets_per_place: int = 8,
    queries: int = 8,
    panoramas: int = 2,
) -> Gallery:
    """Make a gallery below `folder`, or find it there: a finished one is left as it is.

    Args:
        folder: Gets `street/`, `photo/`, `queries/`, `manifests/` and `queries.json`.
        seed: Names the planet; the same seed gives the same bytes.
        places: Number of places, at most one in each of the first forty cities.
        photos_per_place: Pictures of kind `photo` at each place.
        streets_per_place: Pictures of kind `street` at each place.
        queries: Unseen photos, at the first that many places, round and round.
        panoramas: The first picture of that many streets is a 360° panorama.
    """
    asked = {
        "version": _VERSION,
        "seed": seed,
        "places": places,
        "photos_per_place": photos_per_place,
        "streets_per_place": streets_per_place,
        "queries": queries,
        "panoramas": panoramas,
    }
    done = folder / "gallery.json"
    if not (done.is_file() and json.loads(done.read_text()) == asked):
        spots = [place(seed, number) for number in range(places)]
        streets = [
            shot
            for number, spot in enumerate(spots)
            for shot in habits.street(seed, spot, streets_per_place, panorama=number < panoramas)
        ]
        photos = [
            shot for spot in spots for shot in habits.photos(seed, spot, photos_per_place, "photo")
        ]
        unseen = list(habits.unseen(seed, spots, queries))
        for name, shots in (("street", streets), ("photo", photos), ("queries", unseen)):
            _write(folder / name, seed, shots, secret=name == "queries")
        _write_manifest(folder / "manifests" / "street.csv", streets)
        _write_manifest(folder / "manifests" / "photo.csv", photos)
        _write_truth(folder / "queries.json", unseen)
        done.write_text(json.dumps(asked))
    return Gallery(
        street=folder / "street",
        photo=folder / "photo",
        manifests=folder / "manifests",
        queries=_read_truth(folder),
        images=places * (photos_per_place + streets_per_place),
    )


def _write(folder: Path, seed: int, shots: Sequence[Shot], *, secret: bool) -> None:
    """Write pictures; of secret ones the place is not written into the file."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in {(folder / shot.name).parent for shot in shots}:
        parent.mkdir(parents=True, exist_ok=True)

    def one(shot: Shot) -> None:
        pixels = render(shot.place.look, shot.view, shot.weather, rng(seed, "grain", shot.name))
        label = replace(shot.label, point=None, heading_deg=None) if secret else shot.label
        (folder / shot.name).write_bytes(jpeg(pixels, label))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, shots))


def _write_manifest(path: Path, shots: Sequence[Shot]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(
            ["file", "latitude", "longitude", "heading_deg", "captured_at", "creator", "sequence"]
        )
        for shot in shots:
            point = shot.point
            rows.writerow(
                [
                    shot.name,
                    f"{point.lat:.8f}",
                    f"{point.lon:.8f}",
                    f"{shot.view.heading_deg:.2f}",
                    shot.label.taken_at.isoformat(),
                    shot.label.artist,
                    shot.sequence or "",
                ]
            )


def _write_truth(path: Path, shots: Sequence[Shot]) -> None:
    truth = [
        {
            "file": f"queries/{shot.name}",
            "lat": shot.point.lat,
            "lon": shot.point.lon,
            "place": shot.place.name,
            "city": f"{shot.place.city.name}, {shot.place.city.country}",
        }
        for shot in shots
    ]
    path.write_text(json.dumps(truth, indent=1), encoding="utf-8")


def _read_truth(folder: Path) -> tuple[Query, ...]:
    rows = json.loads((folder / "queries.json").read_text(encoding="utf-8"))
    return tuple(
        Query(
            path=folder / row["file"],
            point=Point(row["lat"], row["lon"]),
            place=row["place"],
            city=row["city"],
        )
        for row in rows
    )
