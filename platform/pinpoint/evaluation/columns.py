r"""Column mappings: what the cells of somebody's label table mean, as data instead of adapters.

A mapping goes from our fields to expressions over the table's columns:

    file = "{id}.jpg"            a template: columns in braces, text around them
    latitude = "LAT"             a column by its name in the header
    longitude = "#12"            a column by its number from 0, in a table without a header
    kind = "=street"             the same text for every row
    creator_pattern = '_(.+)\.jpg$'   creator from the file's name, before any cell
    delimiter = "\t"             else whichever of , ; tab | the first line has most of
    strata = "*"                 every other column is a stratum; or a table of chosen ones:
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

from pinpoint.errors import BadManifest
from pinpoint.media.facts import clean_text
from pinpoint.media.rows import canonical
from pinpoint.media.tables import read_cells
from pinpoint.settings import MediaSettings

REQUIRED: Final = ("file", "latitude", "longitude")
AREAS: Final = ("country", "region", "sub_region", "city")
"""Administrative levels, largest first."""
FIELDS: Final = (*REQUIRED, "creator", "sequence", "kind", *AREAS)
"""What a mapping gives a column to."""
PLAIN: Final[Mapping[str, str]] = {field: field for field in FIELDS} | {"strata": "*"}
"""The mapping of a table that already speaks our words."""

_OPTIONS: Final = ("creator_pattern", "delimiter", "strata")
_MAX_BYTES: Final = 1_000_000
_MAX_LISTED: Final = 12

Cells = Sequence[str]
Read = Callable[[Cells], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A mapping bound to one table."""

    header: tuple[str, ...]
    """Names of the columns; empty for a table without a header."""
    delimiter: str | None
    fields: Mapping[str, Read]
    """Field → its text in a row; fields that the table does not have are left out."""
    strata: Mapping[str, Read]
    creator_pattern: re.Pattern[str] | None


def load_columns(path: Path) -> Mapping[str, str]:
    """A mapping file, TOML or JSON by its suffix, with `strata` flattened to `strata.NAME`.

    Raises:
        BadManifest: It cannot be read, or names a field that there is not.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadManifest(f"{path.name} is over {_MAX_BYTES} bytes; a mapping is a short file")
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadManifest(f"the column mapping {path.name} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise BadManifest(f"the column mapping {path.name} is no table of fields")
    strata = document.get("strata")
    if isinstance(strata, dict):
        del document["strata"]
        document |= {f"strata.{name}": column for name, column in strata.items()}
    return check_columns(document, path.name)


def check_columns(columns: Mapping[str, object], where: str) -> Mapping[str, str]:
    """The same mapping, once every key is known and every value is text.

    Raises:
        BadManifest: Otherwise, naming the key.
    """
    checked: dict[str, str] = {}
    for key, value in columns.items():
        if key not in FIELDS and key not in _OPTIONS and not key.startswith("strata."):
            allowed = ", ".join((*FIELDS, *_OPTIONS, "strata.NAME"))
            raise BadManifest(f"{where} maps {key!r}, which is no field; known are {allowed}")
        if not isinstance(value, str) or not value:
            raise BadManifest(f"{where}: {key} is no text; wanted is the name of a column")
        checked[key] = value
    if len(checked.get("delimiter", ",")) != 1:
        raise BadManifest(f"{where}: the delimiter is one character")
    return checked


def layout_of(
    path: Path,
    tables: Sequence[Mapping[str, str]],
    settings: MediaSettings,
    required: Collection[str] = (),
) -> Layout:
    """The mapping that fits a table, bound to its columns.

    Args:
        path: CSV or TSV.
        tables: Mappings to try. Of those that fit, the one with most of its columns there is taken.
        settings: Limits of tables.
        asked: Fields that must be there beside the required ones.

    Raises:
        BadManifest: None fits; the message says which columns are missing and which are there.
        TooLarge: See `pinpoint.media.tables.read_cells`.
    """
    layouts: list[Layout] = []
    rejections: list[str] = []
    for columns in tables:
        _, first_row = next(read_cells(path, settings, columns.get("delimiter")), (0, []))
        if isinstance(first_row, Exception):
            raise BadManifest(f"{path.name}: {first_row}")
        try:
            layouts.append(bind(columns, first_row, required))
        except BadManifest as rejection:
            rejections.append(rejection.message)
    if not layouts:
        raise BadManifest(f"{path.name}: {'; or '.join(dict.fromkeys(rejections))}")
    return max(layouts, key=lambda layout: len(layout.fields))


def bind(columns: Mapping[str, str], first_row: Cells, required: Collection[str] = ()) -> Layout:
    """A mapping bound to the first row of a table.

    Raises:
        BadManifest: A column that must be there is not, or is there twice.
    """
    numbered = all(
        name.startswith("#")
        for field in REQUIRED
        for name in _referenced_columns(columns.get(field, field))
    )
    header: tuple[str, ...] = () if numbered else tuple(first_row)
    width = len(first_row)
    readers: dict[str, Read] = {}
    used: set[int] = set()
    for key, text in columns.items():
        if key in _OPTIONS:
            continue
        indices = {name: _find_column(name, header, width) for name in _referenced_columns(text)}
        missing = [name for name, index in indices.items() if index is None]
        if missing and (key in REQUIRED or key in required):
            missing_names = ", ".join(missing)
            raise BadManifest(
                f"no column {missing_names} for {key}; there are {_format_names(first_row)}"
            )
        if not missing:
            resolved = {name: index for name, index in indices.items() if index is not None}
            readers[key] = _make_reader(text, resolved)
            used.update(resolved.values())
    if absent := [field for field in REQUIRED if field not in readers]:
        raise BadManifest(f"the mapping gives no column for {', '.join(absent)}")
    chosen = {key.partition(".")[2]: read for key, read in readers.items() if "." in key}
    if columns.get("strata") == "*":
        unused = [(index, name) for index, name in enumerate(header) if name and index not in used]
        chosen = {name.strip(): _make_cell_reader(index) for index, name in unused} | chosen
    return Layout(
        header=header,
        delimiter=columns.get("delimiter"),
        fields={key: read for key, read in readers.items() if key in FIELDS},
        strata=chosen,
        creator_pattern=_compile_creator_pattern(columns.get("creator_pattern")),
    )


def _referenced_columns(text: str) -> Iterator[str]:
    """Columns that an expression speaks of."""
    if text.startswith("="):
        return
    templates = re.findall(r"\{([^{}]+)\}", text)
    yield from templates or [text]


def _find_column(name: str, header: Cells, width: int) -> int | None:
    """Number of a column; by its exact name, else by one that means the same (`LAT`, `lat`).

    Raises:
        BadManifest: More than one column has that name.
    """
    if re.fullmatch(r"#\d{1,4}", name):
        index = int(name[1:])
        return index if index < width else None
    target = canonical(name).casefold()
    exact = [index for index, cell in enumerate(header) if cell.strip() == name]
    similar = [index for index, cell in enumerate(header) if canonical(cell).casefold() == target]
    matches = exact or similar
    if len(matches) > 1:
        duplicates = _format_names([header[index] for index in matches])
        raise BadManifest(f"more than one column means {name}: {duplicates}; name one in a mapping")
    return matches[0] if matches else None


def _make_reader(text: str, indices: Mapping[str, int]) -> Read:
    """What an expression gives for a row; a template with an empty cell gives nothing."""
    if text.startswith("="):
        return lambda cells: text[1:]
    if set(indices) == {text}:
        return _make_cell_reader(indices[text])
    readers = {name: _make_cell_reader(index) for name, index in indices.items()}

    def fill(cells: Cells) -> str:
        values = {name: read(cells).strip() for name, read in readers.items()}
        if not all(values.values()):
            return ""
        return re.sub(r"\{([^{}]+)\}", lambda match: values[match[1]], text)

    return fill


def _make_cell_reader(index: int) -> Read:
    """A row may be shorter than its header; what it does not have is empty."""
    return lambda cells: cells[index] if index < len(cells) else ""


def _compile_creator_pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise BadManifest(f"creator_pattern {text!r} is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise BadManifest(f"creator_pattern {text!r} needs one group, the creator's name")
    return pattern


def _format_names(names: Cells) -> str:
    """Names from somebody's file, for people."""
    listed = ", ".join(clean_text(name, 40) or "(empty)" for name in names[:_MAX_LISTED])
    return (listed or "none") + (" …" if len(names) > _MAX_LISTED else "")
