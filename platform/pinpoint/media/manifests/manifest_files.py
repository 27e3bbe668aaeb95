"""Manifests: CSV or GeoJSON with metadata of files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifestError, PinpointError
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.files import list_files
from pinpoint.media.manifests.columns import Columns, find_column, resolve_columns
from pinpoint.media.manifests.delimited_tables import (
    explain_bad_row,
    find_delimiter,
    read_cells,
    read_column_names,
    too_many_rows,
)
from pinpoint.media.manifests.geojson_features import (
    list_properties,
    load_features,
    read_feature,
    resolve_properties,
)
from pinpoint.media.manifests.manifest_rows import ManifestRow, RawRow, name_finder, read_row
from pinpoint.records import ReadOptions, Rejected
from pinpoint.settings import MediaSettings

SUFFIXES: Final = frozenset({".csv", ".tsv", ".geojson", ".json"})
"""Suffixes of manifests (`is_manifest`)."""
_FEATURES: Final = frozenset({".geojson", ".json"})
_MAX_COLUMNS: Final = 256


def is_manifest(path: Path) -> bool:
    """Whether a file has a suffix of manifests."""
    return path.suffix.lower() in SUFFIXES


def find_manifests(folder: Path) -> list[Path]:
    """Manifests directly in a folder, sorted by name.

    A manifest has a suffix of `SUFFIXES`, and its header or its features name files. Sidecars
    (`a.jpg.json`), other tables and other JSON documents are not manifests. Subfolders are not
    searched, because the rows of a manifest are relative to its folder. A caller must refuse
    several manifests, because the choice is ambiguous.

    Raises:
        NotADirectoryError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    return [path for path in list_files(folder) if is_manifest(path) and names_files(path)]


def names_files(path: Path) -> bool:
    """Whether a table has a column, or a GeoJSON a property, that names files.

    Reads the header of a table and all of a JSON document. The result is False if the file cannot
    be read.
    """
    try:
        if path.suffix.lower() in _FEATURES:
            names = list_properties(load_features(path))
        else:
            names = read_column_names(path)
    except (OSError, PinpointError, csv.Error):
        return False
    return any(find_column(name) == "file" for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSummary:
    """How the columns of a manifest are read."""

    name: str
    understood: dict[str, str]
    """Column → its name in the manifest."""
    attributes: tuple[str, ...]
    """Unknown names; their values are stored as attributes."""


def describe_manifest(
    path: Path, settings: MediaSettings, options: ReadOptions | None = None
) -> ManifestSummary:
    """Describe how the columns of a manifest are read; reads only its header or properties.

    Raises:
        BadManifestError: As `read_manifest`.
        TooLargeError: As `read_manifest`.
    """
    requested = (options or ReadOptions()).columns
    _check_exists(path)
    if path.suffix.lower() in _FEATURES:
        columns = resolve_properties(path, load_features(path), requested)
    else:
        columns = _read_header(path, next(read_cells(path, settings), (0, []))[1], requested)
    return ManifestSummary(
        name=path.name, understood=columns.understood, attributes=columns.attributes
    )


def read_manifest(
    path: Path, settings: MediaSettings, options: ReadOptions | None = None
) -> Iterator[ManifestRow | Rejected]:
    """Rows of a manifest in its order; a bad row becomes a `Rejected`, and reading continues.

    Args:
        path: CSV or GeoJSON (FeatureCollection of Points); file names are relative to its folder.
        settings: `max_manifest_rows` applies.
        options: Meanings of columns, and the time zone of times without an offset.

    Raises:
        BadManifestError: It cannot be read at all, does not name files, or has unknown columns that
            look like a position or a time.
        TooLargeError: More rows than allowed.
    """
    _check_exists(path)
    options = options or ReadOptions()
    root = path.parent.resolve()
    find_file = name_finder(root)
    reader = _read_features if path.suffix.lower() in _FEATURES else _read_table
    for number, row in enumerate(reader(path, settings, options), start=1):
        if number > settings.max_manifest_rows:
            raise too_many_rows(path, settings)
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield read_row(row, root, find_file, options.time_zone)
        except RejectedFileError as refused:
            name = str(row.values.get("file") or f"row {number}")[:300]
            yield rejected(name, refused.reason, f"row {number}: {refused.detail}", stage="find")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise BadManifestError(f"there is no manifest at {path}")


def _read_table(
    path: Path, settings: MediaSettings, options: ReadOptions
) -> Iterator[RawRow | Rejected]:
    """Rows of a CSV; refused before the first row if it is too long."""
    rows = read_cells(path, settings)
    _, head = next(rows, (0, []))
    columns = _read_header(path, head, options.columns)
    names, meanings = columns.names, columns.meanings
    comma = find_delimiter(path) != ","
    for line, cells in rows:
        if isinstance(cells, csv.Error):
            where = f"line {line}"
            yield rejected(where, "bad_row", f"{where}: {explain_bad_row(cells)}")
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            detail = f"line {line} has {len(cells)} cells for {len(names)} names"
            name = cells[meanings.index("file")]
            yield rejected(name[:300] or f"row {line}", "bad_row", detail)
            continue
        values: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        for name, meaning, cell in zip(names, meanings, cells, strict=False):
            if meaning is None:
                attributes[name] = cell
            else:
                values[meaning] = cell
        yield RawRow(values=values, attributes=attributes, decimal_comma=comma)


def _read_header(
    path: Path, head: Sequence[str] | csv.Error, requested: Mapping[str, str]
) -> Columns:
    """Resolve the columns of the first row.

    Raises:
        BadManifestError: See `columns.resolve_columns`; or there are too many columns.
    """
    if isinstance(head, csv.Error):
        raise BadManifestError(
            f"the first row of {path.name} cannot be read: {explain_bad_row(head)}"
        )
    if len(head) > _MAX_COLUMNS:
        raise BadManifestError(f"{path.name} has {len(head)} columns; at most {_MAX_COLUMNS}")
    return resolve_columns(path.name, list(head), requested)


def _read_features(
    path: Path, settings: MediaSettings, options: ReadOptions
) -> Iterator[RawRow | Rejected]:
    """Features as rows."""
    features = load_features(path)
    if not features:
        return
    columns = resolve_properties(path, features, options.columns)
    if len(features) > settings.max_manifest_rows:
        raise too_many_rows(path, settings)
    for number, feature in enumerate(features, start=1):
        try:
            yield read_feature(feature, columns)
        except RejectedFileError as refused:
            named = f"feature {number}"
            yield rejected(named, refused.reason, f"{named}: {refused.detail}", stage="find")
