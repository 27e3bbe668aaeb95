"""What a run was asked: written beside its rows, so that nothing else is ever mixed in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pinpoint import __version__
from pinpoint.errors import BadRequest, Conflict
from pinpoint.evaluation.labels import Labelled, Question

RUN: Final = "run.json"
_PLANET: Final = "planet.json"
_MAX_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the parts of a labelled set lie."""

    labels: Path
    """The label file, or a folder of commented images."""
    images: Path
    """The folder that the questions' files are relative to."""
    planet: Path | None
    """`planet.json` of a synthetic planet."""


def find(labels: Path | None, images: Path | None, labels_at: str | None) -> Places:
    """Find labels and images where only one of them is named.

    Args:
        labels: Label file, or a folder that holds it where the protocol knows it.
        images: Folder of images; without labels, the folder that holds both.
        labels_at: The protocol's label file, relative to a folder.

    Raises:
        BadRequest: Neither is given.
    """
    named = labels or images
    if named is None:
        raise BadRequest("give --labels FILE and --images DIR, or the folder that holds both")
    if named.is_dir() and labels_at is not None:
        named = named / labels_at
    folder = images
    if folder is None or labels is None:
        base = named if named.is_dir() else named.parent
        folder = base / "images" if (base / "images").is_dir() else base
    planet = named.parent.parent / _PLANET
    return Places(labels=named, images=folder, planet=planet if planet.is_file() else None)


def read_planet(path: Path | None) -> Mapping[str, Any] | None:
    """What a planet says of itself: generator, preset, seed, digest.

    Raises:
        BadRequest: The file is none of `pinpoint world make`.
    """
    if path is None:
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        said = json.loads(path.read_text(encoding="utf-8"))
        return {name: said[name] for name in ("generator", "preset", "seed", "digest")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path} does not describe a planet: {error}") from error


def digest(questions: Sequence[Question]) -> str:
    """SHA-256 over everything that the labels say, in order; first 16 hex digits."""
    hashed = hashlib.sha256()
    for each in questions:
        said = [each.file, each.truth.lat, each.truth.lon, each.creator, each.sequence, each.kind]
        line = json.dumps([*said, dict(each.areas), dict(each.strata)], sort_keys=True)
        hashed.update(line.encode() + b"\n")
    return hashed.hexdigest()[:16]


def describe_run(
    labelled: Labelled,
    questions: Sequence[Question],
    *,
    only: Mapping[str, str],
    gallery: Mapping[str, Any],
    settings: Mapping[str, Any],
    planet: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What names a run: two runs that agree in all of it may share a folder.

    Args:
        labelled: The set as read.
        questions: Those of it that are asked.
        only: The strata that they were narrowed to.
        gallery: Organisation, bundle, index build and size.
        settings: How it is searched, narrowed and excluded.
        planet: What the planet says of itself, for a synthetic one.
    """
    return {
        "version": __version__,
        "protocol": labelled.protocol.name,
        "labels": {
            "digest": digest(questions),
            "rows": labelled.rows,
            "dropped": dict(labelled.dropped),
            "questions": len(labelled.questions),
            "only": dict(only),
            "asked": len(questions),
            "notes": list(labelled.notes),
        },
        "gallery": dict(gallery),
        "settings": dict(settings),
        "planet": None if planet is None else dict(planet),
    }


def claim(folder: Path, run: Mapping[str, Any]) -> None:
    """Make the folder this run's, or see that it is.

    Raises:
        Conflict: It holds another run, or other files; the message names the differences.
    """
    mark = folder / RUN
    if mark.is_file():
        unlike = differences(read_run(folder), json.loads(json.dumps(run)))
        if unlike:
            raise Conflict(
                f"{folder} holds another run ({'; '.join(unlike)}); choose another --out"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} holds other files; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    part = mark.with_name(f"{RUN}.part")
    part.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, mark)


def read_run(folder: Path) -> dict[str, Any]:
    """What the run in a folder was asked.

    Raises:
        BadRequest: There is no run in it.
    """
    try:
        said = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{folder} holds no run of `pinpoint evaluate`: {error}") from error
    if not isinstance(said, dict):
        raise BadRequest(f"{folder / RUN} does not describe a run")
    return said


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Where two descriptions of runs differ, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            one
            for key in sorted({*before, *now})
            for one in differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{name} was {before!r}, is {now!r}"]
