"""Manifests: tables, GeoJSON and vector files with metadata of files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifestError, PinpointError
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.files import list_files
from pinpoint.media.manifests import geojson_lines, json_documents, table_rows
from pinpoint.media.manifests.columns import find_column
from pinpoint.media.manifests.delimited_tables import read_column_names
from pinpoint.media.manifests.file_names import candidate_finder, name_finder
from pinpoint.media.manifests.layouts import find_layout, is_yfcc_row
from pinpoint.media.manifests.manifest_rows import ManifestRow, ManifestTable, read_row
from pinpoint.media.manifests.row_limits import too_many_rows
from pinpoint.media.vector_files.formats import VECTOR_SUFFIXES
from pinpoint.records import ReadOptions, Rejected
from pinpoint.settings import MediaSettings

TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv"})
DOCUMENT_SUFFIXES: Final = frozenset({".geojson", ".json"})
LINE_SUFFIXES: Final = frozenset({".geojsonl", ".geojsons"})
SUFFIXES: Final = TABLE_SUFFIXES | DOCUMENT_SUFFIXES | LINE_SUFFIXES | VECTOR_SUFFIXES
"""Suffixes of manifests (`is_manifest`)."""
FORMAT_NAMES: Final = "CSV, GeoJSON, GeoParquet, GeoPackage, FlatGeobuf or Shapefile"
"""Formats of manifests, for messages and help texts."""


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
    """Whether a manifest has a column that names files, or a known layout that implies their names.

    Reads the header of a table and all of a JSON document. The result is False if the file cannot
    be read.
    """
    try:
        if path.suffix.lower() in TABLE_SUFFIXES:
            names = read_column_names(path)
            if find_layout(names) is not None or is_yfcc_row(names):
                return True
        else:
            table = open_manifest(path, MediaSettings(), ReadOptions(), has_files=True)
            names = list(table.columns.names)
            if table.layout is not None or find_layout(names) is not None:
                return True
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
    layout: str | None = None
    """Name of the known data set whose columns it has."""


def describe_manifest(
    path: Path, settings: MediaSettings, options: ReadOptions | None = None
) -> ManifestSummary:
    """Describe how the columns of a manifest are read; reads only its header or properties.

    Raises:
        BadManifestError: As `read_manifest`.
        TooLargeError: As `read_manifest`.
    """
    table = open_manifest(path, settings, options or ReadOptions())
    return ManifestSummary(
        name=path.name,
        understood=table.columns.understood,
        attributes=table.columns.attributes,
        layout=table.layout,
    )


def read_manifest(
    path: Path,
    settings: MediaSettings,
    options: ReadOptions | None = None,
    *,
    folder: Path | None = None,
) -> Iterator[ManifestRow | Rejected]:
    """Rows of a manifest in its order; a bad row becomes a `Rejected`, and reading continues.

    Args:
        path: A file with a suffix of `SUFFIXES`.
        settings: `max_manifest_rows` applies.
        options: Meanings of columns, and the time zone of times without an offset.
        folder: Folder of the files; their names are relative to it. Default: the manifest's.

    Raises:
        BadManifestError: It cannot be read at all, does not name files, or has unknown columns that
            look like a position or a time.
        TooLargeError: More rows than allowed.
    """
    options = options or ReadOptions()
    table = open_manifest(path, settings, options)
    root = (folder or path.parent).resolve()
    find_file, find_candidate = name_finder(root), candidate_finder(root)
    for number, row in enumerate(table.rows, start=1):
        if number > settings.max_manifest_rows:
            raise too_many_rows(path, settings)
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield read_row(row, root, find_file, find_candidate, options.time_zone)
        except RejectedFileError as refused:
            candidates = row.file_candidates[:1]
            name = str(row.values.get("file") or "".join(candidates) or f"row {number}")[:300]
            yield rejected(
                name, refused.reason, f"row {number}: {refused.detail}", error_stage="find"
            )


def open_manifest(
    path: Path, settings: MediaSettings, options: ReadOptions, *, has_files: bool = False
) -> ManifestTable:
    """Open a manifest by its suffix and resolve its columns.

    Args:
        path: A file with a suffix of `SUFFIXES`.
        settings: Limits of manifests.
        options: Meanings of columns.
        has_files: Rows need not name files.

    Raises:
        BadManifestError: As `read_manifest`.
        TooLargeError: As `read_manifest`.
    """
    if not path.is_file():
        raise BadManifestError(f"there is no manifest at {path}")
    suffix = path.suffix.lower()
    if suffix in DOCUMENT_SUFFIXES:
        open_rows = json_documents.open_document
    elif suffix in LINE_SUFFIXES:
        open_rows = geojson_lines.open_lines
    elif suffix in VECTOR_SUFFIXES:
        # Imported here, because Arrow takes longer to import than most manifests to read.
        from pinpoint.media.manifests import vector_manifests

        open_rows = vector_manifests.open_vector_manifest
    elif suffix in TABLE_SUFFIXES:
        open_rows = table_rows.open_table
    else:
        raise BadManifestError(f"{path.name} is no manifest: give {FORMAT_NAMES}")
    return open_rows(path, settings, options.columns, has_files=has_files)
