"""One manifest row: from named cells to a file and a hint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pinpoint.media.checks import Refused, check_position
from pinpoint.media.facts import Scalar, clean_text, finite, storable, wrap_heading
from pinpoint.media.files import check_name, is_below
from pinpoint.records import Hint

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("filename", "path"),
    "latitude": ("lat",),
    "longitude": ("lon", "lng", "long"),
    "heading_deg": ("heading",),
    "captured_at": (),
    "sequence": (),
    "creator": (),
    "licence": ("license",),
    "panorama": ("panorama_id",),
    "altitude_m": ("altitude",),
    "external_id": ("id",),
}
"""Column → other names it may have; every other column becomes an attribute."""

_ALIASES: Final = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}
_MAX_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A file of a manifest and what the manifest says of it."""

    external_id: str
    """Its own column, else the file's path relative to the manifest's folder."""
    file: Path
    """Absolute, below the manifest's folder, there when the row was read."""
    name: str
    """The file's path relative to the manifest's folder, as shown to people."""
    hint: Hint


def canonical(name: str) -> str:
    """The column a header cell means; unknown ones stay as they are."""
    plain = name.strip()
    lowered = plain.casefold().replace(" ", "_")
    return _ALIASES.get(lowered, lowered if lowered in COLUMNS else plain)


def row_of(row: Mapping[str, Any], root: Path) -> ManifestRow:
    """A row with canonical names as a record.

    Args:
        row: Cells by column.
        root: The manifest's folder, resolved.

    Raises:
        Refused: `bad_row`, `half_position`, `out_of_range`, `null_island`, `outside_root`,
            `missing_file`.
    """
    name = _text(row, "file")
    if name is None:
        raise Refused("bad_row", "no file is named")
    hint = _hint(row)
    path, relative = _file(name, root)
    external_id = _text(row, "external_id") or relative
    return ManifestRow(external_id=external_id, file=path, name=relative, hint=hint)


def _hint(row: Mapping[str, Any]) -> Hint:
    lat, lon = _number(row, "latitude"), _number(row, "longitude")
    if lat is not None or lon is not None:
        lat, lon = check_position(lat, lon)
    moment, assumed = _time(row)
    attributes: dict[str, Scalar] = {
        storable(key): _scalar(key, value)
        for key, value in row.items()
        if key and key not in COLUMNS and value not in (None, "")
    }
    if assumed:
        attributes["time_zone"] = "assumed_utc"
    return Hint(
        lat=lat,
        lon=lon,
        captured_at=moment,
        heading_deg=wrap_heading(_number(row, "heading_deg")),
        altitude_m=_number(row, "altitude_m"),
        creator=_text(row, "creator"),
        sequence=_text(row, "sequence"),
        licence=_text(row, "licence"),
        panorama_id=_text(row, "panorama"),
        position_source="manifest",
        attributes=attributes,
    )


def _file(name: str, root: Path) -> tuple[Path, str]:
    """Absolute path and relative name; the file is there and nowhere else."""
    if "\x00" in name:
        raise Refused("bad_row", "the file's name holds a zero byte")
    check_name(name)
    path = root / PurePosixPath(name.replace("\\", "/"))
    if not is_below(path, root):
        raise Refused("outside_root", f"{name} does not lie below the manifest's folder")
    try:
        there = path.is_file()
    except OSError:
        there = False
    if not there:
        raise Refused("missing_file", f"there is no file {name}")
    # Without `..` and `.`, so that one file has one name.
    plain = Path(*(part for part in path.relative_to(root).parts if part != "."))
    if ".." in plain.parts:
        plain = path.resolve().relative_to(root)
    return root / plain, plain.as_posix()


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise Refused("bad_row", f"{key} is no text of at most {_MAX_TEXT} characters")
    return value.strip() if key == "file" else clean_text(value, _MAX_TEXT)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = finite(value) if isinstance(value, int | float | str) else None
    if number is None:
        raise Refused("bad_row", f"{key} is no number: {str(value)[:40]!r}")
    return number


def _time(row: Mapping[str, Any]) -> tuple[datetime | None, bool]:
    """UTC, and whether the offset was missing and UTC assumed."""
    text = _text(row, "captured_at")
    if text is None:
        return None, False
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC), True
        return moment.astimezone(UTC), False
    except (ValueError, OverflowError) as error:
        raise Refused("bad_row", f"captured_at is no ISO 8601 time: {text[:40]!r}") from error


def _scalar(key: str, value: object) -> Scalar:
    """An extra column's value; what is nested travels as JSON text."""
    if isinstance(value, str | int | float | bool):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    if isinstance(text, float) and finite(text) is None:
        raise Refused("bad_row", f"{key} is not finite")
    if len(key) > 100 or (isinstance(text, str) and len(text) > _MAX_TEXT):
        raise Refused("bad_row", f"{key[:40]} is longer than {_MAX_TEXT} characters")
    return storable(text) if isinstance(text, str) else text
