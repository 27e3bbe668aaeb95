"""Manifests: a CSV or GeoJSON that says of files what the files do not say themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifest, TooLarge
from pinpoint.media.checks import Refused, rejected
from pinpoint.media.facts import clean_text
from pinpoint.media.files import list_files
from pinpoint.media.rows import COLUMNS, ManifestRow, canonical, row_of
from pinpoint.media.tables import read_cells, read_header, too_many_rows
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

SUFFIXES: Final = frozenset({".csv", ".tsv", ".geojson", ".json"})
"""What `is_manifest` takes for a manifest."""
MAX_GEOJSON_BYTES: Final = 64_000_000
"""GeoJSON is read whole; more rows than fit in this belong in a CSV."""
_MAX_COLUMNS: Final = 256
_MAX_SHOWN: Final = 12


def is_manifest(path: Path) -> bool:
    """A file whose name says that it lists others."""
    return path.suffix.lower() in SUFFIXES


def find_manifests(folder: Path) -> list[Path]:
    """Manifests directly in a folder, sorted by name.

    A file counts when its suffix is one of `SUFFIXES` and its header or its features name files.
    Sidecars (`a.jpg.json`), other tables and other JSON documents do not count; neither do files
    in subfolders, because the rows of a manifest are relative to its own folder. A caller that
    finds several has to refuse them by name: nothing says which one is meant.

    Raises:
        NotADirectoryError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    return [path for path in list_files(folder) if is_manifest(path) and names_files(path)]


def names_files(path: Path) -> bool:
    """Whether a table has a column, or a GeoJSON a property, that names files.

    Reads the header of a table and the whole of a JSON document of at most `MAX_GEOJSON_BYTES`.
    What cannot be read at all names no files.
    """
    try:
        if path.suffix.lower() in (".geojson", ".json"):
            return _feature_names_files(path)
        return "file" in {canonical(cell) for cell in read_header(path)}
    except (OSError, ValueError, RecursionError, csv.Error):
        return False


def _feature_names_files(path: Path) -> bool:
    if path.stat().st_size > MAX_GEOJSON_BYTES:
        return False
    document = json.loads(path.read_bytes())
    features = document.get("features") if isinstance(document, dict) else None
    return isinstance(features, list) and any(
        canonical(name) == "file"
        for feature in features
        if isinstance(feature, dict) and isinstance(feature.get("properties"), dict)
        for name in feature["properties"]
    )


def read_manifest(path: Path, settings: MediaSettings) -> Iterator[ManifestRow | Rejected]:
    """Rows of a manifest in its order; a bad row is a `Rejected` and stops nothing.

    Args:
        path: CSV or GeoJSON (FeatureCollection of Points); files are named relative to its folder.
        settings: `max_manifest_rows` holds.

    Raises:
        BadManifest: It cannot be read at all, or does not name files.
        TooLarge: More rows than allowed.
    """
    if not path.is_file():
        raise BadManifest(f"there is no manifest at {path}")
    root = path.parent.resolve()
    reader = _geojson if path.suffix.lower() in (".geojson", ".json") else _csv
    rows = reader(path, settings)
    for number, row in enumerate(rows, start=1):
        if number > settings.max_manifest_rows:
            raise too_many_rows(path, settings)
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield row_of(row, root)
        except Refused as refused:
            name = str(row.get("file") or f"row {number}")[:300]
            yield rejected(name, refused.reason, f"row {number}: {refused.detail}", stage="find")


def _csv(path: Path, settings: MediaSettings) -> Iterator[Mapping[str, Any] | Rejected]:
    """Rows of a CSV with canonical names; refused before the first row where it is too long."""
    rows = read_cells(path, settings)
    _, head = next(rows, (0, []))
    if isinstance(head, csv.Error):
        raise BadManifest(f"{path.name}: {head}") from head
    names = _header(path, head)
    for line, cells in rows:
        if isinstance(cells, csv.Error):
            where = f"line {line}"
            yield rejected(where, "bad_row", f"{where}: {cells}")
            continue
        if len(cells) > len(names):
            detail = f"line {line} has {len(cells)} cells for {len(names)} names"
            name = cells[names.index("file")]
            yield rejected(name[:300] or f"row {line}", "bad_row", detail)
            continue
        yield dict(zip(names, cells, strict=False))


def _header(path: Path, cells: list[str]) -> list[str]:
    """Canonical column names.

    Raises:
        BadManifest: `file` is missing, or a column is there twice.
    """
    names = [canonical(cell) for cell in cells]
    found = _shown(cells)
    if "file" not in names:
        raise BadManifest(
            f"{path.name} names no files: its columns are {found}; wanted is `file`, and any of "
            f"{', '.join(name for name in COLUMNS if name != 'file')}"
        )
    if len(names) > _MAX_COLUMNS:
        raise BadManifest(f"{path.name} has {len(names)} columns; at most {_MAX_COLUMNS}")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise BadManifest(f"{path.name} has the column {_shown(twice)} twice: {found}")
    return names


def _shown(names: list[str]) -> str:
    """Names from a hostile file, for people."""
    return ", ".join(clean_text(name, 40) or "(empty)" for name in names[:_MAX_SHOWN]) or "nothing"


def _geojson(path: Path, settings: MediaSettings) -> Iterator[Mapping[str, Any] | Rejected]:
    """Features as rows; a geometry's position wins over properties of the same name."""
    if path.stat().st_size > MAX_GEOJSON_BYTES:
        raise TooLarge(f"{path.name} is over {MAX_GEOJSON_BYTES} bytes; give a CSV instead")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{path.name} is no JSON: {error}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise BadManifest(f"{path.name} is no GeoJSON FeatureCollection")
    _check_features(path, features)
    if len(features) > settings.max_manifest_rows:
        raise too_many_rows(path, settings)
    for number, feature in enumerate(features, start=1):
        try:
            yield _feature(feature)
        except (ValueError, TypeError) as error:
            yield rejected(f"feature {number}", "bad_row", f"feature {number}: {error}")


def _check_features(path: Path, features: list[Any]) -> None:
    """As for a CSV: a collection of which nothing names a file is no manifest."""
    names = {
        key
        for feature in features
        if isinstance(feature, dict) and isinstance(feature.get("properties"), dict)
        for key in feature["properties"]
    }
    if features and "file" not in {canonical(name) for name in names}:
        raise BadManifest(
            f"{path.name} names no files: its properties are {_shown(sorted(names))}; wanted is "
            f"`file`, and any of {', '.join(name for name in COLUMNS if name != 'file')}"
        )


def _feature(feature: object) -> Mapping[str, Any]:
    if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
        raise ValueError("no feature with properties")
    row: dict[str, Any] = {}
    for name, value in feature["properties"].items():
        row.setdefault(canonical(name), value)
    if "id" in feature and feature["id"] is not None:
        row.setdefault("external_id", feature["id"])
    geometry = feature.get("geometry")
    if geometry is not None:
        if not isinstance(geometry, dict) or geometry.get("type") != "Point":
            raise ValueError("the geometry is no Point")
        coordinates = geometry.get("coordinates")
        if not isinstance(coordinates, list) or len(coordinates) not in (2, 3):
            raise ValueError("a Point has two or three coordinates")
        row["longitude"], row["latitude"] = coordinates[:2]
        if len(coordinates) == 3:
            row.setdefault("altitude_m", coordinates[2])
    return row
