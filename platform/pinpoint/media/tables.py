"""Tables that somebody else wrote: cells of a CSV or TSV, row by row, within limits.

What would stop the reading in its middle is refused before the first row; what is wrong with one
row costs that row.
"""

from __future__ import annotations

import csv
from codecs import getincrementaldecoder
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifest, TooLarge
from pinpoint.settings import MediaSettings

MAX_LINE_BYTES: Final = 8 << 20
"""A table is read line by line; one endless line would be read whole."""
_DELIMITERS: Final = ",;\t|"


def read_cells(
    path: Path, settings: MediaSettings, delimiter: str | None = None
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows of a table, the header being one of them; rows without a letter are left out.

    Args:
        path: UTF-8, with or without a byte order mark.
        settings: `max_manifest_rows` holds.
        delimiter: What stands between cells. Without it: comma, semicolon, tab or bar, whichever
            the first line has most of. A tab asked for by name separates plainly, without quotes.

    Yields:
        Number of the row's last line in the file, from 1; its cells, or what is wrong with it.

    Raises:
        BadManifest: It is not UTF-8.
        TooLarge: More rows than allowed, or a line of more than `MAX_LINE_BYTES`.
    """
    _check_lines(path, settings)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        dialect = _dialect(stream.read(65_536), delimiter)
        stream.seek(0)
        reader = csv.reader(stream, dialect)
        while (cells := _next(reader)) is not None:
            if isinstance(cells, csv.Error) or any(cell.strip() for cell in cells):
                yield reader.line_num, cells


def read_header(path: Path) -> list[str]:
    """Cells of the first row that holds a letter, from the first 64 kB; empty without one.

    Raises:
        OSError: The file cannot be opened.
        csv.Error: The row cannot be split.
    """
    with path.open("rb") as stream:
        sample = stream.read(65_536).decode("utf-8-sig", "replace")
    rows = csv.reader(sample.splitlines(), _dialect(sample, None))
    return next((cells for cells in rows if any(cell.strip() for cell in cells)), [])


def too_many_rows(path: Path, settings: MediaSettings) -> TooLarge:
    """The refusal of a table with more rows than allowed."""
    return TooLarge(
        f"{path.name} has more than {settings.max_manifest_rows} rows "
        "(PINPOINT_MEDIA_MAX_MANIFEST_ROWS); split it"
    )


def _next(reader: Iterator[list[str]]) -> list[str] | csv.Error | None:
    """The next row, what is wrong with it, or None at the end; the reader goes on after both."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return error


def _dialect(sample: str, asked: str | None) -> type[csv.Dialect]:
    """The delimiter asked for, or the one that the first line has most of."""
    first = sample.splitlines()[0] if sample.strip() else ""
    best = asked or max(_DELIMITERS, key=first.count)
    plain = asked == "\t"

    class Sniffed(csv.excel):
        delimiter = best
        quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
        strict = False

    return Sniffed


def _check_lines(path: Path, settings: MediaSettings) -> None:
    """What would stop the reading in its middle is refused before the first row.

    There are never more rows than lines, so counting lines usually settles their number.
    """
    lines = length = 0
    decoder = getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        block = b"\n"
        while block:
            block = stream.read(1 << 20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                where = f"{error.reason} after line {lines + 1}"
                raise BadManifest(f"{path.name} is not UTF-8 ({where})") from error
            # The reader ends lines at either; a file from an old Mac has no line feeds at all.
            found = max(block.count(b"\n"), block.count(b"\r"))
            lines, length = lines + found, 0 if found else length + len(block)
            if length > MAX_LINE_BYTES:
                raise TooLarge(f"{path.name} has a line of over {MAX_LINE_BYTES} bytes")
            if lines > settings.max_manifest_rows + 1:
                raise too_many_rows(path, settings)
