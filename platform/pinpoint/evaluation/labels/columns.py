r"""Column mappings: describe a label table as data instead of with an adapter.

A mapping maps the fields of a query to expressions over the table's columns:

    file = "{id}.jpg"            a template: text with column names in braces
    latitude = "LAT"             a column by its header name
    longitude = "#12"            a column by its index from 0, in a table without a header
    kind = "=street"             the same text for every row
    creator_pattern = '_(.+)\.jpg$'   creator from the file name, preferred to a cell
    delimiter = "\t"             default: the most frequent of , ; tab | in the first line
    strata = "*"                 every other column is a stratum; or a table of selected ones:
    [strata]
    scene = "S3_Label"
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifestError, describe_cause
from pinpoint.media.manifests.delimited_tables import read_cells
from pinpoint.media.manifests.manifest_rows import canonical_column
from pinpoint.media.metadata.raw_metadata import clean_metadata_text
from pinpoint.settings import MediaSettings

REQUIRED: Final = ("file", "latitude", "longitude")
AREA_LEVELS: Final = ("country", "region", "sub_region", "city")
"""Administrative levels, largest first."""
LABEL_FIELDS: Final = (*REQUIRED, "creator", "sequence", "kind", *AREA_LEVELS)
"""Fields that a mapping assigns columns to."""
DEFAULT_COLUMNS: Final[Mapping[str, str]] = {field: field for field in LABEL_FIELDS} | {
    "strata": "*"
}
"""Mapping of a table whose columns have the names of the fields."""

_OPTIONS: Final = ("creator_pattern", "delimiter", "strata")
_MAX_BYTES: Final = 1_000_000
_MAX_LISTED: Final = 12

LabelCells = Sequence[str]
CellReader = Callable[[LabelCells], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A mapping bound to one table."""

    header: tuple[str, ...]
    """Names of the columns; empty for a table without a header."""
    delimiter: str | None
    fields: Mapping[str, CellReader]
    """Field → reader of its text in a row; fields without a column are omitted."""
    strata: Mapping[str, CellReader]
    creator_pattern: re.Pattern[str] | None


def load_columns(path: Path) -> Mapping[str, str]:
    """A mapping file, TOML or JSON by its suffix, with `strata` flattened to `strata.NAME`.

    Raises:
        BadManifestError: The file cannot be read or maps an unknown field.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadManifestError(
                f"{path.name} is larger than {_MAX_BYTES} bytes, too large for a column mapping"
            )
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadManifestError(
            f"the column mapping {path.name} cannot be read: {describe_cause(error)}"
        ) from error
    if not isinstance(document, dict):
        raise BadManifestError(f"the column mapping {path.name} is not a table of fields")
    strata = document.get("strata")
    if isinstance(strata, dict):
        del document["strata"]
        document |= {f"strata.{name}": column for name, column in strata.items()}
    return check_columns(document, path.name)


def check_columns(columns: Mapping[str, object], where: str) -> Mapping[str, str]:
    """Check that every key of a mapping is known and every value is text.

    Raises:
        BadManifestError: A key or value is invalid; the message names the key.
    """
    checked: dict[str, str] = {}
    for key, value in columns.items():
        if key not in LABEL_FIELDS and key not in _OPTIONS and not key.startswith("strata."):
            allowed = ", ".join((*LABEL_FIELDS, *_OPTIONS, "strata.NAME"))
            raise BadManifestError(
                f"{where} maps {key!r}, which is not a field; allowed are {allowed}"
            )
        if not isinstance(value, str) or not value:
            raise BadManifestError(f"{where}: {key} must be the name of a column, as text")
        checked[key] = value
    if len(checked.get("delimiter", ",")) != 1:
        raise BadManifestError(f"{where}: the delimiter must be one character")
    return checked


def detect_layout(
    path: Path,
    tables: Sequence[Mapping[str, str]],
    settings: MediaSettings,
    required: Collection[str] = (),
) -> Layout:
    """The mapping that matches a table, bound to its columns.

    Args:
        path: CSV or TSV.
        tables: Mappings to try. The matching one with the most fields is used.
        settings: Limits for tables.
        required: Fields that must have a column, in addition to `REQUIRED`.

    Raises:
        BadManifestError: No mapping matches; the message lists missing and present columns.
        TooLargeError: See `pinpoint.media.manifests.delimited_tables.read_cells`.
    """
    layouts: list[Layout] = []
    rejections: list[str] = []
    for columns in tables:
        _, first_row = next(read_cells(path, settings, columns.get("delimiter")), (0, []))
        if isinstance(first_row, Exception):
            raise BadManifestError(f"{path.name}: {first_row}")
        try:
            layouts.append(map_columns(columns, first_row, required))
        except BadManifestError as rejection:
            rejections.append(rejection.message)
    if not layouts:
        raise BadManifestError(f"{path.name}: {'; or '.join(dict.fromkeys(rejections))}")
    return max(layouts, key=lambda layout: len(layout.fields))


def map_columns(
    columns: Mapping[str, str], first_row: LabelCells, required: Collection[str] = ()
) -> Layout:
    """Bind a mapping to the first row of a table.

    Raises:
        BadManifestError: A required column is missing or ambiguous.
    """
    numbered = all(
        name.startswith("#")
        for field in REQUIRED
        for name in _referenced_columns(columns.get(field, field))
    )
    header: tuple[str, ...] = () if numbered else tuple(first_row)
    width = len(first_row)
    readers: dict[str, CellReader] = {}
    used: set[int] = set()
    for key, text in columns.items():
        if key in _OPTIONS:
            continue
        indices = {name: _find_column(name, header, width) for name in _referenced_columns(text)}
        missing = [name for name, index in indices.items() if index is None]
        if missing and (key in REQUIRED or key in required):
            missing_names = ", ".join(missing)
            raise BadManifestError(
                f"no column {missing_names} for {key}; there are {_format_names(first_row)}"
            )
        if not missing:
            resolved = {name: index for name, index in indices.items() if index is not None}
            readers[key] = _make_reader(text, resolved)
            used.update(resolved.values())
    if absent := [field for field in REQUIRED if field not in readers]:
        raise BadManifestError(f"the mapping gives no column for {', '.join(absent)}")
    chosen = {key.partition(".")[2]: read for key, read in readers.items() if "." in key}
    if columns.get("strata") == "*":
        unused = [(index, name) for index, name in enumerate(header) if name and index not in used]
        chosen = {name.strip(): _make_cell_reader(index) for index, name in unused} | chosen
    return Layout(
        header=header,
        delimiter=columns.get("delimiter"),
        fields={key: read for key, read in readers.items() if key in LABEL_FIELDS},
        strata=chosen,
        creator_pattern=_compile_creator_pattern(columns.get("creator_pattern")),
    )


def _referenced_columns(text: str) -> Iterator[str]:
    """Columns that an expression refers to."""
    if text.startswith("="):
        return
    templates = re.findall(r"\{([^{}]+)\}", text)
    yield from templates or [text]


def _find_column(name: str, header: LabelCells, width: int) -> int | None:
    """Index of a column, by its exact name or else by a synonym (`LAT`, `lat`).

    Raises:
        BadManifestError: Several columns match.
    """
    if re.fullmatch(r"#\d{1,4}", name):
        index = int(name[1:])
        return index if index < width else None
    target = canonical_column(name).casefold()
    exact = [index for index, cell in enumerate(header) if cell.strip() == name]
    similar = [
        index for index, cell in enumerate(header) if canonical_column(cell).casefold() == target
    ]
    matches = exact or similar
    if len(matches) > 1:
        duplicates = _format_names([header[index] for index in matches])
        raise BadManifestError(
            f"more than one column means {name}: {duplicates}; name one in a mapping"
        )
    return matches[0] if matches else None


def _make_reader(text: str, indices: Mapping[str, int]) -> CellReader:
    """Compile an expression to a reader; a template with an empty cell gives empty text."""
    if text.startswith("="):
        return lambda cells: text[1:]
    if set(indices) == {text}:
        return _make_cell_reader(indices[text])
    readers = {name: _make_cell_reader(index) for name, index in indices.items()}

    def fill(cells: LabelCells) -> str:
        values = {name: read(cells).strip() for name, read in readers.items()}
        if not all(values.values()):
            return ""
        return re.sub(r"\{([^{}]+)\}", lambda match: values[match[1]], text)

    return fill


def _make_cell_reader(index: int) -> CellReader:
    """A reader of one cell. Cells beyond the end of a short row are empty."""
    return lambda cells: cells[index] if index < len(cells) else ""


def _compile_creator_pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise BadManifestError(
            f"creator_pattern {text!r} is not a regular expression: {describe_cause(error)}"
        ) from error
    if pattern.groups != 1:
        raise BadManifestError(
            f"creator_pattern {text!r} needs exactly one group, the name of the creator"
        )
    return pattern


def _format_names(names: LabelCells) -> str:
    """Column names from an untrusted file, safe to print."""
    listed = ", ".join(clean_metadata_text(name, 40) or "(empty)" for name in names[:_MAX_LISTED])
    return (listed or "none") + (" …" if len(names) > _MAX_LISTED else "")
