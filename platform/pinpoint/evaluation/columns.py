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
_MAX_SHOWN: Final = 12

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
            known = ", ".join((*FIELDS, *_OPTIONS, "strata.NAME"))
            raise BadManifest(f"{where} maps {key!r}, which is no field; known are {known}")
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
    asked: Collection[str] = (),
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
    fits: list[Layout] = []
    refusals: list[str] = []
    for columns in tables:
        _, first = next(read_cells(path, settings, columns.get("delimiter")), (0, []))
        if isinstance(first, Exception):
            raise BadManifest(f"{path.name}: {first}")
        try:
            fits.append(bind(columns, first, asked))
        except BadManifest as refused:
            refusals.append(refused.message)
    if not fits:
        raise BadManifest(f"{path.name}: {'; or '.join(dict.fromkeys(refusals))}")
    return max(fits, key=lambda layout: len(layout.fields))


def bind(columns: Mapping[str, str], first: Cells, asked: Collection[str] = ()) -> Layout:
    """A mapping bound to the first row of a table.

    Raises:
        BadManifest: A column that must be there is not, or is there twice.
    """
    numbered = all(
        name.startswith("#") for field in REQUIRED for name in _names(columns.get(field, field))
    )
    header: tuple[str, ...] = () if numbered else tuple(first)
    width = len(first)
    readers: dict[str, Read] = {}
    used: set[int] = set()
    for key, text in columns.items():
        if key in _OPTIONS:
            continue
        places = {name: _place(name, header, width) for name in _names(text)}
        missing = [name for name, place in places.items() if place is None]
        if missing and (key in REQUIRED or key in asked):
            named = ", ".join(missing)
            raise BadManifest(f"no column {named} for {key}; there are {_shown(first)}")
        if not missing:
            found = {name: place for name, place in places.items() if place is not None}
            readers[key] = _reader(text, found)
            used.update(found.values())
    if absent := [field for field in REQUIRED if field not in readers]:
        raise BadManifest(f"the mapping gives no column for {', '.join(absent)}")
    chosen = {key.partition(".")[2]: read for key, read in readers.items() if "." in key}
    if columns.get("strata") == "*":
        rest = [(place, name) for place, name in enumerate(header) if name and place not in used]
        chosen = {name.strip(): _cell(place) for place, name in rest} | chosen
    return Layout(
        header=header,
        delimiter=columns.get("delimiter"),
        fields={key: read for key, read in readers.items() if key in FIELDS},
        strata=chosen,
        creator_pattern=_pattern(columns.get("creator_pattern")),
    )


def _names(text: str) -> Iterator[str]:
    """Columns that an expression speaks of."""
    if text.startswith("="):
        return
    templates = re.findall(r"\{([^{}]+)\}", text)
    yield from templates or [text]


def _place(name: str, header: Cells, width: int) -> int | None:
    """Number of a column; by its exact name, else by one that means the same (`LAT`, `lat`).

    Raises:
        BadManifest: More than one column has that name.
    """
    if re.fullmatch(r"#\d{1,4}", name):
        place = int(name[1:])
        return place if place < width else None
    wanted = canonical(name).casefold()
    exact = [place for place, cell in enumerate(header) if cell.strip() == name]
    alike = [place for place, cell in enumerate(header) if canonical(cell).casefold() == wanted]
    places = exact or alike
    if len(places) > 1:
        twice = _shown([header[place] for place in places])
        raise BadManifest(f"more than one column means {name}: {twice}; name one in a mapping")
    return places[0] if places else None


def _reader(text: str, places: Mapping[str, int]) -> Read:
    """What an expression gives for a row; a template with an empty cell gives nothing."""
    if text.startswith("="):
        return lambda cells: text[1:]
    if set(places) == {text}:
        return _cell(places[text])
    cells_of = {name: _cell(place) for name, place in places.items()}

    def fill(cells: Cells) -> str:
        values = {name: read(cells).strip() for name, read in cells_of.items()}
        if not all(values.values()):
            return ""
        return re.sub(r"\{([^{}]+)\}", lambda match: values[match[1]], text)

    return fill


def _cell(place: int) -> Read:
    """A row may be shorter than its header; what it does not have is empty."""
    return lambda cells: cells[place] if place < len(cells) else ""


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise BadManifest(f"creator_pattern {text!r} is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise BadManifest(f"creator_pattern {text!r} needs one group, the creator's name")
    return pattern


def _shown(names: Cells) -> str:
    """Names from somebody's file, for people."""
    shown = ", ".join(clean_text(name, 40) or "(empty)" for name in names[:_MAX_SHOWN])
    return (shown or "none") + (" …" if len(names) > _MAX_SHOWN else "")
