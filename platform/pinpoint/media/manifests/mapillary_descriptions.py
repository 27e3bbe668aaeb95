"""Descriptions of images by mapillary_tools (`mapillary_image_description.json`) as rows.

Format: https://github.com/mapillary/mapillary_tools, schema/image_description_schema.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.manifests.columns import Columns
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.media.manifests.row_limits import check_row_count
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

_COLUMNS: Final[Mapping[str, str]] = {
    "filename": "file",
    "MAPLatitude": "latitude",
    "MAPLongitude": "longitude",
    "MAPAltitude": "altitude_m",
    "MAPCaptureTime": "captured_at",
    "MAPCompassHeading": "heading_deg",
    "MAPSequenceUUID": "sequence",
}
_TIME = re.compile(r"(\d{4})_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d{1,6})", re.ASCII)


def is_description(entry: object) -> bool:
    """Whether an object is a description of an image, or of one with an error."""
    if not isinstance(entry, dict):
        return False
    return "MAPLatitude" in entry or ("filename" in entry and "error" in entry)


def open_descriptions(path: Path, settings: MediaSettings, document: list[Any]) -> ManifestTable:
    """Open a list of descriptions.

    Raises:
        TooLargeError: More rows than allowed.
    """
    check_row_count(path, settings, len(document))
    columns = Columns(meanings=tuple(_COLUMNS.values()), names=tuple(_COLUMNS))
    return ManifestTable(
        columns=columns, rows=_read_descriptions(document), layout="Mapillary description"
    )


def _read_descriptions(document: list[Any]) -> Iterator[RawRow | Rejected]:
    for number, entry in enumerate(document, start=1):
        named = f"entry {number}"
        try:
            if not isinstance(entry, dict):
                raise RejectedFileError("bad_row", "it is not an object")
            if isinstance(entry.get("filename"), str):
                named = entry["filename"][:300]
            yield _read_description(entry)
        except RejectedFileError as refused:
            detail = f"entry {number}: {refused.detail}"
            yield rejected(named, refused.reason, detail, error_stage="find")


def _read_description(entry: dict[str, Any]) -> RawRow:
    """Sort the keys of a description.

    Raises:
        RejectedFileError: `bad_row`; mapillary_tools reports an error, or it describes a video.
    """
    error = entry.get("error")
    if error is not None:
        message = error.get("message") if isinstance(error, dict) else error
        raise RejectedFileError("bad_row", f"mapillary_tools reports: {str(message)[:200]}")
    if entry.get("filetype") not in (None, "image"):
        raise RejectedFileError("bad_row", "it describes a video; only images are read")
    values = {_COLUMNS[name]: value for name, value in entry.items() if name in _COLUMNS}
    heading = entry.get("MAPCompassHeading")
    attributes: dict[str, Any] = {
        name: value
        for name, value in entry.items()
        if name not in _COLUMNS and name not in ("error", "filetype")
    }
    if isinstance(heading, dict):
        true_heading, magnetic = heading.get("TrueHeading"), heading.get("MagneticHeading")
        values["heading_deg"] = magnetic if true_heading is None else true_heading
        if true_heading is None and magnetic is not None:
            attributes["heading_reference"] = "magnetic"
    values["captured_at"] = _read_time(values.get("captured_at"))
    return RawRow(values=values, attributes=attributes)


def _read_time(value: object) -> object:
    """ISO 8601 of `2021_02_14_15_42_30_123`, UTC; any other value is returned as it is."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    year, month, day, hour, minute, second, fraction = match.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}Z"
