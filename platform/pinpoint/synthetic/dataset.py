"""Write a synthetic planet to disk: galleries with manifests, queries with ground truth.

planet.json                       generator, preset, seed, digest; `complete` when finished
galleries/<role>-<kind>/<city>/…  JPEG files with EXIF, one folder per source
galleries/<role>-<kind>/manifest.csv   positions and sequences, for `pinpoint ingest`
queries/images/<role>/<city>/…    query photos and street views, without a position
queries/labels.csv                their positions, for `pinpoint evaluate synthetic`

Files are written atomically, so an interrupted run can be resumed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.errors import BadRequestError
from pinpoint.geo.gazetteer import City
from pinpoint.progress import ProgressCallback
from pinpoint.records import Pixels, Point, SourceKind
from pinpoint.synthetic.capture_patterns import Shot, generate_shots
from pinpoint.synthetic.labels import (
    exif_label,
    write_ground_truth,
    write_made_file,
    write_manifest,
)
from pinpoint.synthetic.photographs import encode_photograph
from pinpoint.synthetic.presets import GENERATOR, PRESETS, Preset, Role, preset_digest
from pinpoint.synthetic.regions import choose_sites
from pinpoint.synthetic.shot_rendering import render_shots

_BLOCK_SHOTS: Final = 512
"""Shots per block: enough to keep the renderer busy, few enough to lose on an interruption."""
_DESCRIPTION_FILE: Final = "planet.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanetQuery:
    """A query photo, which is in no gallery, and its ground truth."""

    path: Path
    point: Point
    kind: SourceKind
    role: Role
    city: City


@dataclass(frozen=True, slots=True, kw_only=True)
class Planet:
    """A planet on disk."""

    folder: Path
    preset: Preset
    seed: int
    digest: str
    gallery: int
    """Number of images in all galleries; a panorama counts once."""
    queries: tuple[PlanetQuery, ...]

    @property
    def labels(self) -> Path:
        """Path of the ground truth of the queries, for the evaluation."""
        return self.folder / "queries" / "labels.csv"

    def manifests(self) -> dict[str, Path]:
        """Manifests of the galleries by source, `<role>-<kind>`."""
        manifests = sorted((self.folder / "galleries").glob("*/manifest.csv"))
        return {path.parent.name: path for path in manifests}


def make_planet(
    folder: Path,
    *,
    preset: str,
    seed: int,
    on_progress: ProgressCallback = lambda finished, total: None,
) -> Planet:
    """Write a planet into `folder`, or resume an unfinished one; a complete one is unchanged.

    Args:
        folder: Target folder; created if it does not exist.
        preset: A name in `PRESETS`.
        seed: Seed of the planet; equal seeds give equal bytes.
        on_progress: Called with the number of finished images and of all images.

    Raises:
        BadRequestError: Unknown preset, or the folder contains another planet or other files.
    """
    chosen = _find_preset(preset)
    digest = preset_digest(chosen, seed)
    description: dict[str, str | int] = {
        "generator": GENERATOR,
        "preset": preset,
        "seed": seed,
        "digest": digest,
    }
    _check_or_write_description(folder, description)
    planned = [
        shot
        for site in choose_sites(seed, chosen)
        for shot in generate_shots(seed, site, chosen.towns[site.role], chosen.habits)
    ]
    gallery = [shot for shot in planned if shot.use == "gallery"]
    queries = [shot for shot in planned if shot.use == "query"]
    planet_label = f"{GENERATOR} {digest}"
    if not json.loads((folder / _DESCRIPTION_FILE).read_text(encoding="utf-8"))["complete"]:
        _write_images(folder, seed, chosen, planned, on_progress)
        for source in sorted({_source_folder(shot) for shot in gallery}):
            source_shots = [shot for shot in gallery if _source_folder(shot) == source]
            write_manifest(
                folder / "galleries" / source / "manifest.csv", source_shots, planet_label
            )
        write_ground_truth(folder / "queries" / "labels.csv", queries, planet_label)
        counts = {"gallery": len(gallery), "queries": len(queries)}
        complete = {**description, **counts, "complete": True}
        write_made_file(folder / _DESCRIPTION_FILE, json.dumps(complete, indent=1))
    return Planet(
        folder=folder,
        preset=chosen,
        seed=seed,
        digest=digest,
        gallery=len(gallery),
        queries=tuple(_planet_query(folder, shot) for shot in queries),
    )


def _planet_query(folder: Path, shot: Shot) -> PlanetQuery:
    return PlanetQuery(
        path=folder / shot_path(shot),
        point=shot.point,
        kind=shot.kind,
        role=shot.site.role,
        city=shot.site.city,
    )


def shot_path(shot: Shot) -> str:
    """Path of a shot relative to the folder of the planet."""
    if shot.use == "query":
        return f"queries/images/{shot.site.role}/{shot.file}"
    return f"galleries/{_source_folder(shot)}/{shot.file}"


def _source_folder(shot: Shot) -> str:
    return f"{shot.site.role}-{shot.kind}"


def _find_preset(name: str) -> Preset:
    if name not in PRESETS:
        raise BadRequestError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _check_or_write_description(folder: Path, description: dict[str, str | int]) -> None:
    """Write the description of the planet, or check that the existing one is equal."""
    path = folder / _DESCRIPTION_FILE
    if path.is_file():
        existing = json.loads(path.read_text(encoding="utf-8"))
        if existing["digest"] != description["digest"]:
            raise BadRequestError(
                f"{folder} holds planet {existing['preset']} of seed {existing['seed']}"
                f" ({existing['generator']}, {existing['digest']}), not"
                f" {description['preset']} of seed {description['seed']}"
                f" ({description['generator']}, {description['digest']}); choose another folder"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise BadRequestError(f"{folder} holds other files; choose an empty or a new folder")
    write_made_file(path, json.dumps({**description, "complete": False}, indent=1))


def _write_images(
    folder: Path, seed: int, preset: Preset, planned: Sequence[Shot], on_progress: ProgressCallback
) -> None:
    """Render and write missing images in blocks; panoramas separately."""

    def save(shot: Shot, pixels: Pixels) -> None:
        write_made_file(folder / shot_path(shot), encode_photograph(pixels, exif_label(seed, shot)))

    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(planned), _BLOCK_SHOTS):
            block = planned[first : first + _BLOCK_SHOTS]
            unwritten = [shot for shot in block if not (folder / shot_path(shot)).is_file()]
            for wide in (False, True):
                missing = [shot for shot in unwritten if shot.panorama is wide]
                if missing:
                    list(pool.map(save, missing, render_shots(seed, missing, preset)))
            on_progress(first + len(block), len(planned))
