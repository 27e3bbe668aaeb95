"""Manifests as GeoParquet, GeoPackage, FlatGeobuf and Shapefile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pinpoint.media.checks import rejected
from pinpoint.media.manifests.columns import COLUMN_NAMES, Columns, find_column
from pinpoint.media.manifests.layouts import DatasetLayout
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.media.manifests.table_rows import make_row, resolve_header
from pinpoint.media.vector_files import vector_rows
from pinpoint.media.vector_files.vector_rows import VectorRow
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

_DBF_NAME_CHARS: Final = 10
"""Maximum length of the name of a field in a Shapefile; longer ones are cut."""


def open_vector_manifest(
    path: Path, settings: MediaSettings, requested: Mapping[str, str], *, has_files: bool = False
) -> ManifestTable:
    """Open a vector file as a manifest; positions are transformed to WGS84.

    Args:
        path: GeoParquet, GeoPackage, FlatGeobuf or Shapefile.
        settings: Limits of manifests and of the reading process.
        requested: Name → column, as given by the user.
        has_files: Rows need not name files.

    Raises:
        BadManifestError: It cannot be read, declares no usable reference system, or see
            `columns.resolve_columns`.
    """
    fields, rows = vector_rows.open_vector_file(path, settings)
    meanings = dict(requested)
    if path.suffix.lower() == ".shp":
        for name in fields.names:
            column = _find_cut_column(name)
            if column is not None:
                meanings.setdefault(name, column)
    columns, layout = resolve_header(
        path,
        fields.names,
        meanings,
        has_position=fields.has_geometry,
        has_files=has_files,
    )
    return ManifestTable(
        columns=columns,
        rows=_read_rows(rows, columns, layout),
        layout=None if layout is None else layout.name,
    )


def _read_rows(
    rows: Iterator[VectorRow], columns: Columns, layout: DatasetLayout | None
) -> Iterator[RawRow | Rejected]:
    for number, row in enumerate(rows, start=1):
        raw_row = make_row(columns, layout, row.cells)
        if row.fault is not None:
            named = str(raw_row.values.get("file") or f"row {number}")[:300]
            yield rejected(named, "bad_row", f"row {number}: {row.fault}", error_stage="find")
            continue
        yield raw_row if row.lon is None else _add_position(raw_row, row)


def _add_position(raw_row: RawRow, row: VectorRow) -> RawRow:
    """The row with the position of its geometry, which wins over columns of the same meaning."""
    values = dict(raw_row.values)
    values["longitude"], values["latitude"] = row.lon, row.lat
    values.pop("longitude_ref", None)
    values.pop("latitude_ref", None)
    if row.altitude_m is not None and values.get("altitude_m") is None:
        values["altitude_m"] = row.altitude_m
    return RawRow(
        values=values, attributes=raw_row.attributes, file_candidates=raw_row.file_candidates
    )


def _find_cut_column(name: str) -> str | None:
    """The column of a field whose name was cut by the Shapefile, or None."""
    if len(name) != _DBF_NAME_CHARS or find_column(name) is not None:
        return None
    columns = {
        column
        for column, names in COLUMN_NAMES.items()
        if any(known.startswith(name.lower()) for known in names)
    }
    return columns.pop() if len(columns) == 1 else None
