"""Where labels come from: a table in one of a protocol's forms, or the comments of JPEG files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinpoint.errors import BadManifest
from pinpoint.evaluation.columns import FIELDS, PLAIN, Cells, Layout, bind, check_columns, layout_of
from pinpoint.evaluation.protocols import Protocol
from pinpoint.media.checks import Refused
from pinpoint.media.comments import read_comments
from pinpoint.media.files import find_photos
from pinpoint.media.tables import read_cells
from pinpoint.settings import MediaSettings


@dataclass(frozen=True, slots=True)
class Source:
    """Rows and what their cells mean; the rows can be asked for more than once."""

    layout: Layout
    rows: Callable[[], Iterator[Cells | Refused]]
    """A row that cannot be read is a refusal in its place."""


def open_labels(
    protocol: Protocol, path: Path, columns: Mapping[str, str] | None, limits: MediaSettings
) -> Source:
    """Find the labels and bind a column mapping to them.

    Raises:
        BadManifest: There are none, or no mapping fits.
        TooLarge: A limit is exceeded.
    """
    if path.is_dir() and protocol.labels_at is not None:
        path = path / protocol.labels_at
    if path.is_dir() and protocol.comments is not None:
        return _commented(path, protocol.comments, limits)
    if not path.is_file():
        raise BadManifest(f"no labels at {path}; wanted is {protocol.label_format}")
    if columns is None:
        layout = layout_of(path, protocol.tables, limits)
    else:
        asked = check_columns(columns, "the column mapping")
        layout = layout_of(path, _mixed(protocol, asked), limits, asked)
    return Source(layout, lambda: _rows(path, layout, limits))


def _mixed(protocol: Protocol, asked: Mapping[str, str]) -> list[dict[str, str]]:
    """What was asked for over each form that the protocol knows, and over our own words."""
    chosen = any(key.startswith("strata.") for key in asked)
    return [
        {key: text for key, text in table.items() if not (chosen and key.startswith("strata"))}
        | dict(asked)
        for table in (PLAIN, *protocol.tables)
    ]


def _rows(path: Path, layout: Layout, limits: MediaSettings) -> Iterator[Cells | Refused]:
    found = read_cells(path, limits, layout.delimiter)
    if layout.header:
        next(found)
    for line, cells in found:
        if isinstance(cells, csv.Error):
            yield Refused("bad_row", f"line {line}: {cells}")
        elif layout.header and len(cells) > len(layout.header):
            yield Refused("bad_row", f"line {line}: more cells than names")
        else:
            yield cells


def _commented(folder: Path, comments: Mapping[str, str], limits: MediaSettings) -> Source:
    """Photos as rows of a table: the file's name, and a cell for each key in its comment."""
    keys = [column for field in FIELDS if not (column := comments.get(field, "=")).startswith("=")]
    layout = bind(comments, keys)
    read: list[Cells | Refused] = []
    for path in find_photos(folder):
        try:
            lines = read_comments(path, limits)
        except Refused as refused:
            read.append(Refused("unreadable_image", refused.detail))
            continue
        # The last of a key counts: title and tags stand first and may hold anything.
        pairs = dict(line.split(": ", 1) for line in lines if ": " in line)
        pairs["file"] = path.relative_to(folder).as_posix()
        read.append([pairs.get(key, "") for key in keys])
    return Source(layout, lambda: iter(read))
