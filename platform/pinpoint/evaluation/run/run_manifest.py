"""Manifest of a run: stored with its rows, so that rows of different runs are never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pinpoint import __version__
from pinpoint.atomic_files import write_atomic
from pinpoint.errors import BadRequestError, ConflictError, describe_cause
from pinpoint.evaluation.labels.labels import LabeledQueries, LabeledQuery

MANIFEST_FILE: Final = "run.json"
_PLANET_FILE: Final = "planet.json"
_MAX_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPaths:
    """Paths of a labeled set."""

    labels: Path
    """The label file, or a folder of images with JPEG comments."""
    images: Path
    """Base folder of the queries' file names."""
    planet: Path | None
    """`planet.json` of a synthetic planet."""


def resolve_label_paths(
    labels: Path | None, images: Path | None, label_file: str | None
) -> LabelPaths:
    """Resolve the paths of labels and images if only one of them is given.

    Args:
        labels: Label file, or a folder that contains it at the protocol's path.
        images: Folder of images; without `labels`, the folder that contains both.
        label_file: The protocol's label file, relative to a folder.

    Raises:
        BadRequestError: Neither path is given.
    """
    label_path = labels or images
    if label_path is None:
        raise BadRequestError(
            "give --labels FILE and --images DIR, or the folder that contains both"
        )
    if label_path.is_dir() and label_file is not None:
        label_path = label_path / label_file
    folder = images
    if folder is None or labels is None:
        base = label_path if label_path.is_dir() else label_path.parent
        folder = base / "images" if (base / "images").is_dir() else base
    planet = label_path.parent.parent / _PLANET_FILE
    return LabelPaths(labels=label_path, images=folder, planet=planet if planet.is_file() else None)


def read_planet(path: Path | None) -> Mapping[str, Any] | None:
    """Identity of a synthetic planet: generator, preset, seed, digest.

    Raises:
        BadRequestError: The file was not written by `pinpoint synthetic create`.
    """
    if path is None:
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("the file is too large")
        description = json.loads(path.read_text(encoding="utf-8"))
        return {name: description[name] for name in ("generator", "preset", "seed", "digest")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequestError(
            f"{path} does not describe a planet: {describe_cause(error)}"
        ) from error


def digest_labels(queries: Sequence[LabeledQuery]) -> str:
    """SHA-256 of all label values in order; the first 16 hex digits."""
    hasher = hashlib.sha256()
    for query in queries:
        values = [
            query.file,
            query.ground_truth.lat,
            query.ground_truth.lon,
            query.creator,
            query.sequence,
            query.query_kind,
        ]
        line = json.dumps([*values, dict(query.areas), dict(query.strata)], sort_keys=True)
        hasher.update(line.encode() + b"\n")
    return hasher.hexdigest()[:16]


def build_manifest(
    labeled: LabeledQueries,
    queries: Sequence[LabeledQuery],
    *,
    filters: Mapping[str, str],
    gallery: Mapping[str, Any],
    settings: Mapping[str, Any],
    planet: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Manifest of a run. Runs may share a folder only if their manifests are equal.

    Args:
        labeled: The labeled set as read.
        queries: The queries of the set that are evaluated.
        filters: Values of the strata that the queries are filtered by.
        gallery: Organization, bundle, index build and size.
        settings: Search settings, filters and exclusions.
        planet: Identity of a synthetic planet, else None.
    """
    return {
        "version": __version__,
        "protocol": labeled.protocol.name,
        "labels": {
            "digest": digest_labels(queries),
            "rows": labeled.rows,
            "dropped": dict(labeled.dropped),
            "queries": len(labeled.queries),
            "filters": dict(filters),
            "evaluated": len(queries),
            "notes": list(labeled.notes),
        },
        "gallery": dict(gallery),
        "settings": dict(settings),
        "planet": None if planet is None else dict(planet),
    }


def build_gallery_manifest(
    protocol: str,
    queries: Sequence[LabeledQuery],
    *,
    gallery: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Manifest of a run whose queries are images of the gallery; arguments as `build_manifest`."""
    return {
        "version": __version__,
        "protocol": protocol,
        "labels": {
            "digest": digest_labels(queries),
            "queries": len(queries),
            "evaluated": len(queries),
        },
        "gallery": dict(gallery),
        "settings": dict(settings),
        "planet": None,
    }


def write_or_check(folder: Path, run: Mapping[str, Any]) -> None:
    """Write the manifest to the folder, or check that the folder contains this run.

    Raises:
        ConflictError: The folder contains another run or other files; the message lists
            differences.
    """
    manifest_path = folder / MANIFEST_FILE
    if manifest_path.is_file():
        changes = diff_manifests(read_run_manifest(folder), json.loads(json.dumps(run)))
        if changes:
            raise ConflictError(
                f"{folder} contains another run ({'; '.join(changes)}); choose another --out"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(f"{folder} contains other files; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    # Not durable: a run without a manifest starts again.
    text = json.dumps(run, indent=1, ensure_ascii=False) + "\n"
    write_atomic(manifest_path, text, durable=False)


def read_run_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the run in a folder.

    Raises:
        BadRequestError: The folder contains no run.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequestError(
            f"{folder} contains no run of `pinpoint evaluate`: {describe_cause(error)}"
        ) from error
    if not isinstance(manifest, dict):
        raise BadRequestError(f"{folder / MANIFEST_FILE} does not describe a run")
    return manifest


def diff_manifests(before: Any, now: Any, name: str = "") -> list[str]:
    """Differences between two manifests, as text."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            change
            for key in sorted({*before, *now})
            for change in diff_manifests(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{name} was {before!r}, is {now!r}"]
