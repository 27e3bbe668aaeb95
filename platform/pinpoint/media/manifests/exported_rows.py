"""Rows of exports (`pinpoint export`) as rows of manifests.

An export has columns that an import derives again from the file, such as its hash and size, and
one column with all attributes. Without this module each of them would become an attribute.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.manifests.manifest_rows import RawRow
from pinpoint.media.manifests.values import is_missing, read_number
from pinpoint.media.panoramas import FACES

_MARKS: Final = frozenset({"attributes", "cell_r9", "position_source", "sha256"})
"""Columns that every export has, and hardly any other table."""
_DIRECTIONS: Final = dict(FACES)


def is_export(unknown_names: Collection[str]) -> bool:
    """Whether names without a meaning in manifests are those of an export."""
    return set(unknown_names) >= _MARKS


def convert_exported_row(row: RawRow) -> RawRow:
    """Convert a row of an export to that of a manifest; another row is returned unchanged.

    The heading of a cube-map face becomes that of its panorama.

    Raises:
        RejectedFileError: `bad_row`; the attributes are not a JSON object, or the heading is not a
            number.
    """
    if not is_export(row.attributes):
        return row
    values = dict(row.values)
    face = row.attributes.get("cubemap_face")
    if not is_missing(face):
        heading_deg = read_number(values.get("heading_deg"), "heading_deg")
        if heading_deg is not None:
            values["heading_deg"] = (heading_deg - _DIRECTIONS.get(str(face), 0.0)) % 360.0
        # That of a face is always 90°, and a panorama has none.
        values.pop("field_of_view_deg", None)
    attributes = _read_attributes(row.attributes["attributes"])
    return dataclasses.replace(row, values=values, attributes=attributes)


def _read_attributes(cell: Any) -> Mapping[str, Any]:
    if is_missing(cell):
        return {}
    try:
        attributes = json.loads(cell) if isinstance(cell, str) else cell
    except (ValueError, RecursionError) as error:
        raise RejectedFileError("bad_row", "attributes are not valid JSON") from error
    if not isinstance(attributes, dict):
        raise RejectedFileError("bad_row", "attributes are not a JSON object")
    return attributes
