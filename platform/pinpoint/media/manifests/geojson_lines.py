"""GeoJSON text sequences as rows: one feature on each line (RFC 8142, and without its marks)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifestError
from pinpoint.media.manifests.columns import normalize_name
from pinpoint.media.manifests.geojson_features import (
    list_properties,
    read_features,
    resolve_properties,
)
from pinpoint.media.manifests.layouts import DatasetLayout, find_layout, select_attributes
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.media.manifests.row_limits import too_many_rows
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

MAX_FEATURE_BYTES: Final = 1_000_000
"""Maximum length of a line, which is loaded as a whole."""
_RECORD_SEPARATOR: Final = b"\x1e"


def open_lines(
    path: Path, settings: MediaSettings, requested: Mapping[str, str], *, has_files: bool = False
) -> ManifestTable:
    """Open a text sequence. It is read twice, first for the names of the properties.

    Args:
        path: UTF-8; one feature on each line, which may begin with the mark of RFC 8142.
        settings: `max_manifest_rows` applies.
        requested: Name → column, as given by the user.
        has_files: Features need not name files.

    Raises:
        BadManifestError: A line is too long, no line is a feature, or see
            `geojson_features.resolve_properties`.
        TooLargeError: More features than allowed.
    """
    has_position = is_any_feature = False

    def list_features() -> Iterator[Any]:
        nonlocal has_position, is_any_feature
        for number, feature in enumerate(_read_lines(path), start=1):
            if number > settings.max_manifest_rows:
                raise too_many_rows(path, settings)
            if isinstance(feature, dict) and feature.get("type") == "Feature":
                is_any_feature = True
                has_position = has_position or feature.get("geometry") is not None
            yield feature

    names = list_properties(list_features())
    if not is_any_feature:
        raise BadManifestError(f"{path.name} has no line with a GeoJSON Feature")
    columns = resolve_properties(
        path, names, requested, has_position=has_position, has_files=has_files
    )
    rows = read_features(_read_lines(path), columns, None)
    layout = None if has_files else find_layout(list(names))
    # Other layouts are those of tables: they name files by columns that features do not have.
    if layout is None or layout.file_names:
        return ManifestTable(columns=columns, rows=rows)
    return ManifestTable(columns=columns, rows=_apply_layout(rows, layout), layout=layout.name)


def _apply_layout(
    rows: Iterator[RawRow | Rejected], layout: DatasetLayout
) -> Iterator[RawRow | Rejected]:
    """Convert the rows of a known layout."""
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        values = dict(row.values)
        if layout.convert is not None:
            layout.convert(
                values, {normalize_name(name)[0]: cell for name, cell in row.attributes.items()}
            )
        attributes = select_attributes(layout, row.attributes)
        yield dataclasses.replace(row, values=values, attributes=attributes)


def _read_lines(path: Path) -> Iterator[Any]:
    """The value of each line that is not blank; None for a line that is not JSON.

    Raises:
        BadManifestError: A line is longer than `MAX_FEATURE_BYTES`.
    """
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_FEATURE_BYTES + 1):
            number += 1
            if len(line) > MAX_FEATURE_BYTES:
                raise BadManifestError(
                    f"line {number} of {path.name} is over {MAX_FEATURE_BYTES} bytes"
                )
            text = line.strip().removeprefix(_RECORD_SEPARATOR)
            if text:
                yield _parse_line(text)


def _parse_line(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
