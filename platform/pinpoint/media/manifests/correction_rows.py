"""Tables of corrections: rows that name images by their id, not by a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pinpoint.errors import BadManifestError
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.manifests.columns import ATTRIBUTE, normalize_name, show_names
from pinpoint.media.manifests.manifest_files import open_manifest
from pinpoint.media.manifests.manifest_rows import RawRow, read_override
from pinpoint.media.manifests.values import is_missing, read_text
from pinpoint.records import MANUAL_FIELDS, MetadataOverride, ReadOptions, Rejected
from pinpoint.settings import MediaSettings

MAX_TEXT_CHARS: Final = 500
"""Maximum characters of a manual text, as the API accepts them."""
_ID_NAMES: Final = ("imageid", "id")
_VALUES: Final = ("captured_at", "heading_deg", "creator", "sequence", "license")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionRow:
    """One row of a table of corrections."""

    number: int
    """From 1, without the header."""
    image_id: UUID | None
    source: str | None
    external_id: str | None
    metadata_override: MetadataOverride
    clear: tuple[str, ...]
    """Fields of `MANUAL_FIELDS` whose manual value is removed."""

    @property
    def key(self) -> str:
        """The id of the row, for users."""
        return str(self.image_id) if self.image_id else f"{self.source}/{self.external_id}"


def read_corrections(
    path: Path, settings: MediaSettings, options: ReadOptions, source: str | None = None
) -> Iterator[CorrectionRow | Rejected]:
    """Rows of a table of corrections in its order; a bad row becomes a `Rejected`.

    Images are named by a column `id` (or `image_id`, or the id of a GeoJSON feature), or by the
    columns `external_id` and `source`. An empty cell leaves its field as it is; the column `clear`
    lists fields whose manual value is removed. Columns that cannot be set manually are ignored.

    Args:
        path: A file in any format of manifests.
        settings: Limits of manifests.
        options: Meanings of columns, and the time zone of times without an offset.
        source: Source of external ids in a table without a column `source`.

    Raises:
        BadManifestError: It cannot be read, or has neither column of ids.
        TooLargeError: More rows than allowed.
    """
    columns = {name: ATTRIBUTE for name in ("id", "ID", "Id", "image_id")} | dict(options.columns)
    table = open_manifest(
        path,
        settings,
        ReadOptions(columns=columns, time_zone=options.time_zone),
        has_files=True,
    )
    names = {normalize_name(name)[0] for name in table.columns.names}
    is_json = path.suffix.lower() in (".geojson", ".json", ".geojsonl", ".geojsons")
    if not names & {*_ID_NAMES, "externalid"} and not is_json:
        raise BadManifestError(
            f"{path.name} names no images: its columns are {show_names(table.columns.names)}; "
            "wanted is `id`, or `external_id` and `source`"
        )
    has_external_id = "external_id" in table.columns.understood
    for number, row in enumerate(table.rows, start=1):
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield _read_row(number, row, options.time_zone, source, has_external_id)
        except RejectedFileError as refused:
            detail = f"row {number}: {refused.detail}"
            yield rejected(f"row {number}", refused.reason, detail, error_stage="find")


def _read_row(
    number: int, row: RawRow, zone: str | None, source: str | None, has_external_id: bool
) -> CorrectionRow:
    others = {normalize_name(name)[0]: cell for name, cell in row.attributes.items()}
    id_cell = next((others[name] for name in _ID_NAMES if not is_missing(others.get(name))), None)
    external_id = read_text(row.values.get("external_id"), "external_id")
    if id_cell is None and not has_external_id:
        # The id of a feature.
        id_cell, external_id = external_id, None
    image_id = None if id_cell is None else _read_id(id_cell)
    row_source = read_text(others.get("source"), "source") or source
    if image_id is None and (external_id is None or row_source is None):
        raise RejectedFileError(
            "bad_row",
            "it names no image: give an `id`, or an `external_id` with a `source` (--source)",
        )
    metadata_override = read_override(RawRow(values=row.values, attributes={}), zone)
    for name in ("creator", "sequence", "license"):
        text = getattr(metadata_override, name)
        if text is not None and len(text) > MAX_TEXT_CHARS:
            raise RejectedFileError("bad_row", f"{name} is longer than {MAX_TEXT_CHARS} characters")
    clear = _read_clear(others.get("clear"))
    set_fields = {name for name in _VALUES if getattr(metadata_override, name) is not None}
    if metadata_override.lat is not None:
        set_fields.add("position")
    if both := sorted(set_fields & set(clear)):
        raise RejectedFileError("bad_row", f"{both[0]} is both set and cleared")
    if not set_fields and not clear:
        raise RejectedFileError(
            "bad_row", f"it changes nothing: set or clear one of {', '.join(MANUAL_FIELDS)}"
        )
    return CorrectionRow(
        number=number,
        image_id=image_id,
        source=None if image_id is not None else row_source,
        external_id=None if image_id is not None else external_id,
        metadata_override=metadata_override,
        clear=clear,
    )


def to_request_row(row: CorrectionRow) -> dict[str, Any]:
    """The row as the API accepts it, without empty values."""
    values: Mapping[str, Any] = {
        "id": None if row.image_id is None else str(row.image_id),
        "source": row.source,
        "external_id": row.external_id,
        "lat": row.metadata_override.lat,
        "lon": row.metadata_override.lon,
        **{name: getattr(row.metadata_override, name) for name in _VALUES},
        "clear": list(row.clear) or None,
    }
    fields = {name: value for name, value in values.items() if value is not None}
    if "captured_at" in fields:
        fields["captured_at"] = fields["captured_at"].isoformat()
    return fields


def _read_id(value: object) -> UUID:
    try:
        return UUID(str(value).strip())
    except ValueError as error:
        raise RejectedFileError(
            "bad_row",
            f"the id {str(value)[:40]!r} is not the id of an image; a name in a source is an "
            "`external_id`",
        ) from error


def _read_clear(value: object) -> tuple[str, ...]:
    """Names of fields, separated by blanks, commas or semicolons."""
    text = read_text(value, "clear") if not isinstance(value, list) else " ".join(map(str, value))
    names = tuple(dict.fromkeys((text or "").replace(",", " ").replace(";", " ").split()))
    unknown = [name for name in names if name not in MANUAL_FIELDS]
    if unknown:
        raise RejectedFileError(
            "bad_row",
            f"clear has {unknown[0][:40]!r}; fields are {', '.join(MANUAL_FIELDS)}",
        )
    return names
