"""Tables that somebody else wrote: cells of a CSV or TSV, row by row, within limits.

What would stop the reading in its middle is refused before the first row; what is wrong with one
row costs that row.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifest, TooLarge
from pinpoint.settings import MediaSettings

MAX_LINE_BYTES: Final = 8 << 20
"""A table is read line by line; one endless line would be read whole."""
_SAMPLE_BYTES: Final = 65_536
_DELIMITERS: Final = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(?P<mark>[,;|\t])"?[,;|\t]*', re.ASCII | re.IGNORECASE)
"""What Excel writes and reads as the first line of a table: `sep=;`."""


def read_cells(
    path: Path, settings: MediaSettings, delimiter: str | None = None
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows of a table, the header being one of them; rows without a letter are left out.

    Blank first lines and Excel's `sep=;` in front of the header are no rows either.

    Args:
        path: UTF-8, with or without a byte order mark.
        settings: `max_manifest_rows` holds.
        delimiter: What stands between cells. Without it: comma, semicolon, tab or bar, whichever
            `sep=` names or the first line with a letter has most of. A tab that is asked for
            separates plainly, without quotes.

    Yields:
        Number of the row's last line in the file, from 1; its cells, or what is wrong with it.

    Raises:
        BadManifest: It is not UTF-8.
        TooLarge: More rows than allowed, or a line of more than `MAX_LINE_BYTES`.
    """
    _check_lines(path, settings)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        dialect = _dialect(stream.read(_SAMPLE_BYTES), delimiter)
        stream.seek(0)
        skipped, lines = _skip_preamble(stream)
        reader = csv.reader(lines, dialect)
        while (cells := _next(reader)) is not None:
            if isinstance(cells, csv.Error) or any(cell.strip() for cell in cells):
                yield skipped + reader.line_num, cells


def read_header(path: Path) -> list[str]:
    """Cells of the first row that holds a letter, from the first 64 kB; empty without one.

    Raises:
        OSError: The file cannot be opened.
        csv.Error: The row cannot be split.
    """
    sample = _read_sample(path)
    _, lines = _skip_preamble(iter(sample.splitlines(keepends=True)))
    rows = csv.reader(lines, _dialect(sample, None))
    return next((cells for cells in rows if any(cell.strip() for cell in cells)), [])


def find_delimiter(path: Path) -> str:
    """What stands between the cells of a table, as `read_cells` finds it.

    Raises:
        OSError: The file cannot be opened.
    """
    return _dialect(_read_sample(path), None).delimiter


def explain_bad_row(error: csv.Error) -> str:
    """What is wrong with a row that cannot be split, for people."""
    limit = csv.field_size_limit()
    if "field larger" in str(error):
        return f"a cell is longer than {limit} characters"
    return "it cannot be split into cells; is a quotation mark missing?"


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
    """The delimiter asked for, else that of `sep=`, else the one the first line has most of."""
    first = next((line for line in sample.splitlines() if line.strip()), "")
    match = _SEP_LINE.fullmatch(first.strip("\r\n "))
    # Names in quotation marks may hold any of them.
    bare = re.sub(r'"[^"]*"', "", first)
    best = asked or (match["mark"] if match else max(_DELIMITERS, key=bare.count))
    plain = asked == "\t"

    class Sniffed(csv.excel):
        delimiter = best
        quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
        strict = False

    return Sniffed


def _read_sample(path: Path) -> str:
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
    # UTF-16 is not read, but its header must be known: such a table is refused, never passed over.
    marked = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return sample.decode("utf-16" if marked else "utf-8-sig", "replace")


def _skip_preamble(stream: Iterator[str]) -> tuple[int, Iterator[str]]:
    """How many lines stand in front of the header, and the lines from it on."""
    skipped = 0
    for line in stream:
        if line.strip() and not _SEP_LINE.fullmatch(line.strip("\r\n ")):
            return skipped, chain([line], stream)
        skipped += 1
        if line.strip():
            break
    return skipped, stream


def _check_lines(path: Path, settings: MediaSettings) -> None:
    """What would stop the reading in its middle is refused before the first row.

    There are never more rows than lines, so counting lines usually settles their number.
    """
    lines = length = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        block = b"\n"
        while block:
            block = stream.read(1 << 20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise BadManifest(
                    f"{path.name} is not UTF-8 (after line {lines + 1}); save it as UTF-8"
                ) from error
            # The reader ends lines at either; a file from an old Mac has no line feeds at all.
            found = max(block.count(b"\n"), block.count(b"\r"))
            lines, length = lines + found, 0 if found else length + len(block)
            if length > MAX_LINE_BYTES:
                raise TooLarge(f"{path.name} has a line of over {MAX_LINE_BYTES} bytes")
            if lines > settings.max_manifest_rows + 1:
                raise too_many_rows(path, settings)
