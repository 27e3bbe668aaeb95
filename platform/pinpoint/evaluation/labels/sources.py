"""Sources of labels: a table in one of a protocol's formats, or the comments of JPEG files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinpoint.errors import BadManifestError
from pinpoint.evaluation.labels.columns import (
    DEFAULT_COLUMNS,
    LABEL_FIELDS,
    LabelCells,
    Layout,
    check_columns,
    detect_layout,
    map_columns,
)
from pinpoint.evaluation.labels.protocols import Protocol
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import find_photos
from pinpoint.media.manifests.delimited_tables import read_cells
from pinpoint.media.metadata.comments import read_comments
from pinpoint.settings import MediaSettings


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Rows of a label table with their column mapping; the rows can be iterated repeatedly."""

    layout: Layout
    rows: Callable[[], Iterator[LabelCells | RejectedFileError]]
    """An unreadable row yields its rejection instead."""


def open_labels(
    protocol: Protocol, path: Path, columns: Mapping[str, str] | None, limits: MediaSettings
) -> LabelSource:
    """Open the labels and bind a column mapping to them.

    Raises:
        BadManifestError: There are no labels, or no mapping matches.
        TooLargeError: A limit is exceeded.
    """
    if path.is_dir() and protocol.label_file is not None:
        path = path / protocol.label_file
    if path.is_dir() and protocol.comment_columns is not None:
        return _read_commented_folder(path, protocol.comment_columns, limits)
    if not path.is_file():
        raise BadManifestError(f"no labels at {path}; expected: {protocol.label_format}")
    if columns is None:
        layout = detect_layout(path, protocol.column_mappings, limits)
    else:
        overrides = check_columns(columns, "the column mapping")
        layout = detect_layout(path, _merge_columns(protocol, overrides), limits, overrides)
    return LabelSource(layout, lambda: _iterate_rows(path, layout, limits))


def _merge_columns(protocol: Protocol, overrides: Mapping[str, str]) -> list[dict[str, str]]:
    """Apply overrides to each format of the protocol, and to the default mapping."""
    has_strata = any(key.startswith("strata.") for key in overrides)
    return [
        {key: text for key, text in table.items() if not (has_strata and key.startswith("strata"))}
        | dict(overrides)
        for table in (DEFAULT_COLUMNS, *protocol.column_mappings)
    ]


def _iterate_rows(
    path: Path, layout: Layout, limits: MediaSettings
) -> Iterator[LabelCells | RejectedFileError]:
    table_rows = read_cells(path, limits, layout.delimiter)
    if layout.header:
        next(table_rows)
    for line, cells in table_rows:
        if isinstance(cells, csv.Error):
            yield RejectedFileError("bad_row", f"line {line}: {cells}")
        elif layout.header and len(cells) > len(layout.header):
            yield RejectedFileError("bad_row", f"line {line}: more cells than column names")
        else:
            yield cells


def _read_commented_folder(
    folder: Path, comments: Mapping[str, str], limits: MediaSettings
) -> LabelSource:
    """Read photos as table rows: the file name, and one cell per key of the comment."""
    keys = [
        column for field in LABEL_FIELDS if not (column := comments.get(field, "=")).startswith("=")
    ]
    layout = map_columns(comments, keys)
    rows: list[LabelCells | RejectedFileError] = []
    for path in find_photos(folder):
        try:
            lines = read_comments(path, limits)
        except RejectedFileError as rejection:
            rows.append(RejectedFileError("unreadable_image", rejection.detail))
            continue
        # The last value of a key is used: title and tags come first and are free text.
        pairs = dict(line.split(": ", 1) for line in lines if ": " in line)
        pairs["file"] = path.relative_to(folder).as_posix()
        rows.append([pairs.get(key, "") for key in keys])
    return LabelSource(layout, lambda: iter(rows))
