"""Parses one manifest row: from cells to a file and an override."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError, check_position
from pinpoint.media.manifests.columns import TIME_OF_DAY, Columns
from pinpoint.media.manifests.file_names import locate_file
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
from pinpoint.records import MetadataOverride, Rejected

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
    file_candidates: tuple[str, ...] = ()
    """Names that the file may have if no cell names it, in order, with or without a suffix; the
    file may be in any folder below the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTable:
    """An opened manifest."""

    columns: Columns
    rows: Iterator[RawRow | Rejected]
    """Read while they are iterated, once."""
    layout: str | None = None
    """Name of the known layout of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A file of a manifest with its metadata from the manifest."""

    external_id: str
    """From its column, otherwise the file's path relative to the folder."""
    file: Path
    """Absolute path below the folder; the file existed when the row was read."""
    name: str
    """The file's path relative to the folder, as shown to users."""
    metadata_override: MetadataOverride


def canonical_column(name: str) -> str:
    """The column of a name in a label table; unknown names are returned unchanged."""
    plain = name.strip()
    lowered = plain.casefold().replace(" ", "_")
    return _ALIASES.get(lowered, lowered if lowered in COLUMNS else plain)


def read_row(
    row: RawRow,
    root: Path,
    find_file: Callable[[str], str | None],
    find_candidate: Callable[[tuple[str, ...]], str | None],
    zone: str | None = None,
) -> ManifestRow:
    """Convert the cells of a row to a record.

    Args:
        row: The cells.
        root: The folder of the files, resolved.
        find_file: See `file_names.name_finder`.
        find_candidate: See `file_names.candidate_finder`.
        zone: Time zone of times without an offset, unless the row has one; default UTC.

    Raises:
        RejectedFileError: `bad_row`, `incomplete_position`, `out_of_range`, `null_island`,
            `outside_root`, `missing_file`.
    """
    name = read_name(row.values.get("file"), "file") or find_candidate(row.file_candidates)
    if name is None and row.file_candidates:
        raise RejectedFileError(
            "missing_file", f"no file is named {' or '.join(row.file_candidates[:3])[:200]}"
        )
    if name is None:
        raise RejectedFileError("bad_row", "no file is named")
    metadata_override = read_override(row, zone)
    path, relative = locate_file(name, root, find_file)
    external_id = read_text(row.values.get("external_id"), "external_id") or relative
    return ManifestRow(
        external_id=external_id, file=path, name=relative, metadata_override=metadata_override
    )


def read_override(row: RawRow, zone: str | None) -> MetadataOverride:
    """Convert the cells of a row, except those that name its file, to an override.

    Raises:
        RejectedFileError: `bad_row`, `incomplete_position`, `out_of_range`, `null_island`.
    """
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
