"""Rows of CSV and TSV manifests."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifestError
from pinpoint.media.checks import rejected
from pinpoint.media.manifests.columns import ATTRIBUTE, Columns, normalize_name, resolve_columns
from pinpoint.media.manifests.delimited_tables import explain_bad_row, find_delimiter, read_cells
from pinpoint.media.manifests.layouts import (
    YFCC_NAMES,
    DatasetLayout,
    find_layout,
    is_yfcc_row,
    list_file_candidates,
)
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

MAX_COLUMNS: Final = 256
"""Maximum number of columns of a manifest."""

_NumberedCells = tuple[int, list[str] | csv.Error]


def open_table(
    path: Path, settings: MediaSettings, requested: Mapping[str, str], *, has_files: bool = False
) -> ManifestTable:
    """Open a CSV or TSV, of which the header is read; it is refused here if it is too long.

    Args:
        path: The table.
        settings: `max_manifest_rows` applies.
        requested: Name → column, as given by the user.
        has_files: Rows need not name files.

    Raises:
        BadManifestError: It is not UTF-8, has too many columns, or see `columns.resolve_columns`.
        TooLargeError: More rows than allowed.
    """
    rows = read_cells(path, settings)
    number, head = next(rows, (0, []))
    if isinstance(head, list) and is_yfcc_row(head):
        rows = chain([(number, head)], rows)
        head = list(YFCC_NAMES)
    columns, layout = resolve_header(path, head, requested, has_files=has_files)
    comma = find_delimiter(path) != ","
    return ManifestTable(
        columns=columns,
        rows=_read_rows(rows, columns, layout, decimal_comma=comma),
        layout=None if layout is None else layout.name,
    )


def resolve_header(
    path: Path,
    head: Sequence[str] | csv.Error,
    requested: Mapping[str, str],
    *,
    has_position: bool = False,
    has_files: bool = False,
) -> tuple[Columns, DatasetLayout | None]:
    """Resolve the names of a table, with the meanings of its layout if it has a known one.

    Raises:
        BadManifestError: See `columns.resolve_columns`; or there are too many columns.
    """
    if isinstance(head, csv.Error):
        raise BadManifestError(
            f"the first row of {path.name} cannot be read: {explain_bad_row(head)}"
        )
    if len(head) > MAX_COLUMNS:
        raise BadManifestError(f"{path.name} has {len(head)} columns; at most {MAX_COLUMNS}")
    layout = find_layout(head)
    meanings = dict(requested)
    if layout is not None:
        for name in head:
            column = layout.columns.get(normalize_name(name)[0])
            if column is not None:
                meanings.setdefault(name.strip(), column)
    columns = resolve_columns(
        path.name,
        list(head),
        meanings,
        has_position=has_position,
        has_files=has_files or (layout is not None and bool(layout.file_names)),
    )
    return columns, layout


def make_row(
    columns: Columns,
    layout: DatasetLayout | None,
    cells: Sequence[Any],
    *,
    decimal_comma: bool = False,
) -> RawRow:
    """Sort the cells of a row by the meanings of their columns; missing cells are omitted."""
    values: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, meaning, cell in zip(columns.names, columns.meanings, cells, strict=False):
        if meaning is None or meaning == ATTRIBUTE:
            attributes[name] = cell
        else:
            values[meaning] = cell
    candidates: tuple[str, ...] = ()
    if layout is not None:
        by_key = {
            normalize_name(name)[0]: cell for name, cell in zip(columns.names, cells, strict=False)
        }
        if layout.convert is not None:
            layout.convert(values, by_key)
        if "file" not in columns.understood:
            candidates = list_file_candidates(layout, by_key)
    return RawRow(
        values=values,
        attributes=attributes,
        decimal_comma=decimal_comma,
        file_candidates=candidates,
    )


def _read_rows(
    rows: Iterator[_NumberedCells],
    columns: Columns,
    layout: DatasetLayout | None,
    *,
    decimal_comma: bool,
) -> Iterator[RawRow | Rejected]:
    names, meanings = columns.names, columns.meanings
    for line, cells in rows:
        if isinstance(cells, csv.Error):
            where = f"line {line}"
            yield rejected(where, "bad_row", f"{where}: {explain_bad_row(cells)}")
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            detail = f"line {line} has {len(cells)} cells for {len(names)} names"
            name = cells[meanings.index("file")] if "file" in meanings else ""
            yield rejected(name[:300] or f"row {line}", "bad_row", detail)
            continue
        yield make_row(columns, layout, cells, decimal_comma=decimal_comma)
