"""Parses one manifest row: from cells to a file and an override."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError, check_position
from pinpoint.media.files import check_file_name, is_below
from pinpoint.media.manifests.columns import TIME_OF_DAY
from pinpoint.media.manifests.manifest_times import join_date_and_time, read_time
from pinpoint.media.manifests.values import (
    is_empty,
    is_missing,
    read_altitude,
    read_attribute,
    read_coordinate,
    read_field_of_view,
    read_name,
    read_number,
    read_text,
)
from pinpoint.media.metadata.raw_metadata import Scalar, sanitize_text, wrap_heading
from pinpoint.records import MetadataOverride

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("filename", "path"),
    "latitude": ("lat",),
    "longitude": ("lon", "lng", "long"),
    "heading_deg": ("heading",),
    "field_of_view_deg": ("field_of_view",),
    "captured_at": (),
    "sequence": (),
    "creator": (),
    "license": ("license",),
    "panorama": ("panorama_id",),
    "altitude_m": ("altitude",),
    "external_id": ("id",),
}
"""Column of a label table → its aliases. For manifests see `columns.COLUMN_NAMES`."""

_ALIASES: Final = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """Raw cells of one manifest row, by the meaning of their columns."""

    values: Mapping[str, Any]
    """Column → cell."""
    attributes: Mapping[str, Any]
    """Name of any other column → cell."""
    decimal_comma: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A file of a manifest with its metadata from the manifest."""

    external_id: str
    """From its column, otherwise the file's path relative to the manifest's folder."""
    file: Path
    """Absolute path below the manifest's folder; the file existed when the row was read."""
    name: str
    """The file's path relative to the manifest's folder, as shown to users."""
    metadata_override: MetadataOverride


def canonical_column(name: str) -> str:
    """The column of a name in a label table; unknown names are returned unchanged."""
    plain = name.strip()
    lowered = plain.casefold().replace(" ", "_")
    return _ALIASES.get(lowered, lowered if lowered in COLUMNS else plain)


def read_row(
    row: RawRow, root: Path, find_file: Callable[[str], str | None], zone: str | None = None
) -> ManifestRow:
    """Convert the cells of a row to a record.

    Args:
        row: The cells.
        root: The manifest's folder, resolved.
        find_file: See `name_finder`.
        zone: Time zone of times without an offset, unless the row has one; default UTC.

    Raises:
        RejectedFileError: `bad_row`, `incomplete_position`, `out_of_range`, `null_island`,
            `outside_root`, `missing_file`.
    """
    name = read_name(row.values.get("file"), "file")
    if name is None:
        raise RejectedFileError("bad_row", "no file is named")
    metadata_override = _read_override(row, zone)
    path, relative = _locate_file(name, root, find_file)
    external_id = read_text(row.values.get("external_id"), "external_id") or relative
    return ManifestRow(
        external_id=external_id, file=path, name=relative, metadata_override=metadata_override
    )


def name_finder(root: Path) -> Callable[[str], str | None]:
    """A function from a relative name in any Unicode form to the name on disk.

    macOS writes `é` as two characters, most other systems as one; both are the same name. The
    function returns None if no file has the name.

    Raises:
        RejectedFileError: `missing_file`, from the function, if several names differ only in their
            form and none is an exact match.
    """

    @lru_cache(maxsize=1024)
    def list_names(folder: Path) -> dict[str, list[str]]:
        names_by_form: dict[str, list[str]] = {}
        try:
            names = os.listdir(folder)
        except OSError:
            return names_by_form
        for name in names:
            names_by_form.setdefault(unicodedata.normalize("NFC", name), []).append(name)
        return names_by_form

    def find(name: str) -> str | None:
        folder, parts = root, []
        for part in PurePosixPath(name).parts:
            same_names = list_names(folder).get(unicodedata.normalize("NFC", part), [])
            if part == ".." or part in same_names:
                actual = part
            elif len(same_names) > 1:
                raise RejectedFileError(
                    "missing_file", f"several files have the name {name} in other Unicode forms"
                )
            elif same_names:
                actual = same_names[0]
            else:
                return None
            parts.append(actual)
            folder = folder / actual
        return str(PurePosixPath(*parts))

    return find


def _read_override(row: RawRow, zone: str | None) -> MetadataOverride:
    cells, comma = row.values, row.decimal_comma
    lat = read_coordinate(cells.get("latitude"), cells.get("latitude_ref"), "latitude")
    lon = read_coordinate(cells.get("longitude"), cells.get("longitude_ref"), "longitude")
    if lat is not None or lon is not None:
        for name, value in (("latitude", lat), ("longitude", lon)):
            if value is None and cells.get(name) not in (None, "") and str(cells[name]).strip():
                raise RejectedFileError("bad_row", f"{name} is {str(cells[name]).strip()[:40]!r}")
        lat, lon = check_position(lat, lon)
    attributes: dict[str, Scalar] = {
        sanitize_text(name.strip()): read_attribute(name.strip(), value)
        for name, value in row.attributes.items()
        if name.strip() and not is_empty(value)
    }
    text = _read_time_text(cells)
    capture_time = None
    if text is not None:
        capture_time = read_time(text, read_text(cells.get("time_zone"), "time_zone") or zone)
        if capture_time.zone is not None:
            attributes["time_zone"] = capture_time.zone
    heading = read_number(cells.get("heading_deg"), "heading_deg", decimal_comma=comma)
    return MetadataOverride(
        lat=lat,
        lon=lon,
        captured_at=None if capture_time is None else capture_time.moment,
        heading_deg=wrap_heading(heading),
        field_of_view_deg=read_field_of_view(cells.get("field_of_view_deg"), decimal_comma=comma),
        altitude_m=read_altitude(cells.get("altitude_m"), decimal_comma=comma),
        creator=read_text(cells.get("creator"), "creator"),
        sequence=read_text(cells.get("sequence"), "sequence"),
        license=read_text(cells.get("license"), "license"),
        panorama_id=read_text(cells.get("panorama"), "panorama"),
        position_source="manifest",
        attributes=attributes,
    )


def _read_time_text(cells: Mapping[str, Any]) -> str | None:
    """The text of the time, joined with the time of day if that has a separate column."""
    text = read_text(cells.get("captured_at"), "captured_at")
    clock = cells.get(TIME_OF_DAY)
    if text is None or is_missing(clock):
        return text
    return join_date_and_time(text, read_text(clock, "time") or "")


def _locate_file(name: str, root: Path, find_file: Callable[[str], str | None]) -> tuple[Path, str]:
    """Absolute path and relative name of an existing file below the root."""
    if "\x00" in name:
        raise RejectedFileError("bad_row", "the file's name holds a zero byte")
    check_file_name(name)
    plain = name.replace("\\", "/")
    path = root / PurePosixPath(plain)
    if not is_below(path, root):
        raise RejectedFileError("outside_root", f"{name} is not below the manifest's folder")
    if not _is_file(path):
        actual = None if path.is_absolute() and plain.startswith("/") else find_file(plain)
        if actual is None or not _is_file(root / actual) or not is_below(root / actual, root):
            raise RejectedFileError("missing_file", f"there is no file {name}")
        path = root / actual
    # Without `..` and `.`, so that one file has one name.
    relative = Path(*(part for part in path.relative_to(root).parts if part != "."))
    if ".." in relative.parts:
        relative = path.resolve().relative_to(root)
    return root / relative, relative.as_posix()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
