"""Writes a planet to disk: galleries with manifests, unseen queries with their truth.

planet.json                       generator, preset, seed, digest; `complete` once all is there
galleries/<role>-<kind>/<city>/…  real JPEG files with EXIF, one folder for each source
galleries/<role>-<kind>/manifest.csv   the same positions and the sequences; for `pinpoint ingest`
queries/images/<role>/<city>/…    unseen photos and street views, without a position in the file
queries/labels.csv                where they were taken; for `pinpoint evaluate world`

Files appear whole or not at all, so a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.errors import BadRequest
from pinpoint.geo.gazetteer import City
from pinpoint.records import Pixels, Point
from pinpoint.world.habits import Kind, Shot, generate_shots
from pinpoint.world.labels import exif_label, write_ground_truth, write_manifest, write_whole
from pinpoint.world.photographs import encode_photograph
from pinpoint.world.pictures import render_pictures
from pinpoint.world.presets import GENERATOR, PRESETS, Preset, Role, preset_digest
from pinpoint.world.regions import choose_sites

_BLOCK: Final = 512
"""Pictures drawn together: enough to fill the renderer, few enough to lose on a break."""
_MARK: Final = "planet.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A picture that no gallery holds, and where it was really taken."""

    path: Path
    point: Point
    kind: Kind
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
    """Images in all galleries; a panorama counts once."""
    unseen: tuple[Unseen, ...]

    @property
    def labels(self) -> Path:
        """The truth about the queries, as the evaluator reads it."""
        return self.folder / "queries" / "labels.csv"

    def manifests(self) -> dict[str, Path]:
        """The galleries' manifests by source, `<role>-<kind>`."""
        found = sorted((self.folder / "galleries").glob("*/manifest.csv"))
        return {path.parent.name: path for path in found}


def make_planet(
    folder: Path, *, preset: str, seed: int, on_progress: Progress = lambda done, total: None
) -> Planet:
    """Make a planet below `folder`, or go on with it; a complete one is left as it is.

    Args:
        folder: Gets everything; made if it is not there.
        preset: A name of `PRESETS`.
        seed: Names the planet; the same seed gives the same bytes.
        on_progress: Told images done and images in all.

    Raises:
        BadRequest: No such preset, or the folder holds another planet or other files.
    """
    wanted = _find_preset(preset)
    digest = preset_digest(wanted, seed)
    said: dict[str, str | int] = {
        "generator": GENERATOR,
        "preset": preset,
        "seed": seed,
        "digest": digest,
    }
    _check_or_write_description(folder, said)
    planned = [
        shot
        for site in choose_sites(seed, wanted)
        for shot in generate_shots(seed, site, wanted.towns[site.role], wanted.habits)
    ]
    gallery = [shot for shot in planned if shot.use == "gallery"]
    queries = [shot for shot in planned if shot.use == "query"]
    named = f"{GENERATOR} {digest}"
    if not json.loads((folder / _MARK).read_text(encoding="utf-8"))["complete"]:
        _write_images(folder, seed, wanted, planned, on_progress)
        for source in sorted({_source_folder(shot) for shot in gallery}):
            own = [shot for shot in gallery if _source_folder(shot) == source]
            write_manifest(folder / "galleries" / source / "manifest.csv", own, named)
        write_ground_truth(folder / "queries" / "labels.csv", queries, named)
        counts = {"gallery": len(gallery), "queries": len(queries)}
        write_whole(
            folder / _MARK, json.dumps({**said, **counts, "complete": True}, indent=1).encode()
        )
    return Planet(
        folder=folder,
        preset=wanted,
        seed=seed,
        digest=digest,
        gallery=len(gallery),
        unseen=tuple(_query_photo(folder, shot) for shot in queries),
    )


def _query_photo(folder: Path, shot: Shot) -> Unseen:
    return Unseen(
        path=folder / place_of(shot),
        point=shot.point,
        kind=shot.kind,
        role=shot.site.role,
        city=shot.site.city,
    )


def place_of(shot: Shot) -> str:
    """Path of a shot below the planet's folder."""
    if shot.use == "query":
        return f"queries/images/{shot.site.role}/{shot.file}"
    return f"galleries/{_source_folder(shot)}/{shot.file}"


def _source_folder(shot: Shot) -> str:
    return f"{shot.site.role}-{shot.kind}"


def _find_preset(name: str) -> Preset:
    if name not in PRESETS:
        raise BadRequest(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def _check_or_write_description(folder: Path, said: dict[str, str | int]) -> None:
    """Make the folder this planet's, or see that it is."""
    mark = folder / _MARK
    if mark.is_file():
        there = json.loads(mark.read_text(encoding="utf-8"))
        if there["digest"] != said["digest"]:
            raise BadRequest(
                f"{folder} holds planet {there['preset']} of seed {there['seed']}"
                f" ({there['generator']}, {there['digest']}), not {said['preset']} of seed"
                f" {said['seed']} ({said['generator']}, {said['digest']}); choose another folder"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise BadRequest(f"{folder} holds other files; choose an empty or a new folder")
    write_whole(mark, json.dumps({**said, "complete": False}, indent=1).encode())


def _write_images(
    folder: Path, seed: int, preset: Preset, planned: Sequence[Shot], on_progress: Progress
) -> None:
    """Draw what is not there yet, block by block, panoramas apart."""

    def save(shot: Shot, pixels: Pixels) -> None:
        write_whole(folder / place_of(shot), encode_photograph(pixels, exif_label(seed, shot)))

    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(planned), _BLOCK):
            part = planned[first : first + _BLOCK]
            todo = [shot for shot in part if not (folder / place_of(shot)).is_file()]
            for wide in (False, True):
                own = [shot for shot in todo if shot.panorama is wide]
                if own:
                    list(pool.map(save, own, render_pictures(seed, own, preset)))
            on_progress(first + len(part), len(planned))
