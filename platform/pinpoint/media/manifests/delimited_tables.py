"""Reads the cells of untrusted CSV or TSV tables, row by row, within limits.

Faults that would stop the reading are refused before the first row. A fault in one row affects only
that row.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.media.manifests.row_limits import too_many_rows
from pinpoint.settings import MediaSettings

MAX_LINE_BYTES: Final = 8 << 20
"""Maximum length of a line, because a table is read line by line."""
_SAMPLE_BYTES: Final = 65_536
_DELIMITERS: Final = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(?P<mark>[,;|\t])"?[,;|\t]*', re.ASCII | re.IGNORECASE)
"""First line of some tables of Excel: `sep=;`."""


def read_cells(
    path: Path, settings: MediaSettings, delimiter: str | None = None
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows of a table, including the header; blank rows are skipped.

    Blank lines and Excel's `sep=;` before the header are not rows either.

    Args:
        path: UTF-8, with or without a byte order mark.
        settings: `max_manifest_rows` applies.
        delimiter: Separator of cells. Default: comma, semicolon, tab or bar, as named by `sep=`,
            otherwise the most frequent one in the first line that is not blank. A given tab
            separates without quotes.

    Yields:
        Number of the row's last line in the file, from 1; its cells, or its error.

    Raises:
        BadManifestError: It is not UTF-8.
        TooLargeError: More rows than allowed, or a line of more than `MAX_LINE_BYTES`.
    """
    _check_lines(path, settings)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        dialect = _detect_dialect(stream.read(_SAMPLE_BYTES), delimiter)
        stream.seek(0)
        skipped, lines = _skip_preamble(stream)
        reader = csv.reader(lines, dialect)
        while (cells := _next_row(reader)) is not None:
            if isinstance(cells, csv.Error) or any(cell.strip() for cell in cells):
                yield skipped + reader.line_num, cells


def read_column_names(path: Path) -> list[str]:
    """Cells of the first row that is not blank, from the first 64 kB; empty without one.

    Raises:
        OSError: The file cannot be opened.
        csv.Error: The row cannot be split.
    """
    sample = _read_sample(path)
    _, lines = _skip_preamble(iter(sample.splitlines(keepends=True)))
    rows = csv.reader(lines, _detect_dialect(sample, None))
    return next((cells for cells in rows if any(cell.strip() for cell in cells)), [])


def find_delimiter(path: Path) -> str:
    """The separator of the cells of a table, as detected by `read_cells`.

    Raises:
        OSError: The file cannot be opened.
    """
    return _detect_dialect(_read_sample(path), None).delimiter


def explain_bad_row(error: csv.Error) -> str:
    """Explain to users why a row cannot be split."""
    limit = csv.field_size_limit()
    if "field larger" in str(error):
        return f"a cell is longer than {limit} characters"
    return "it cannot be split into cells; is a quotation mark missing?"


def _next_row(reader: Iterator[list[str]]) -> list[str] | csv.Error | None:
    """The next row, its error, or None at the end; the reader continues after an error."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return error


def _detect_dialect(sample: str, requested: str | None) -> type[csv.Dialect]:
    """The requested delimiter, otherwise that of `sep=`, otherwise the most frequent one."""
    first = next((line for line in sample.splitlines() if line.strip()), "")
    match = _SEP_LINE.fullmatch(first.strip("\r\n "))
    # Quoted names may contain any of them.
    bare = re.sub(r'"[^"]*"', "", first)
    best = requested or (match["mark"] if match else max(_DELIMITERS, key=bare.count))
    plain = requested == "\t"

    class Sniffed(csv.excel):
        delimiter = best
        quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
        strict = False

    return Sniffed


def _read_sample(path: Path) -> str:
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
    # UTF-16 is not supported, but its header is decoded, so that such a table is refused and not
    # skipped.
    marked = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return sample.decode("utf-16" if marked else "utf-8-sig", "replace")


def _skip_preamble(stream: Iterator[str]) -> tuple[int, Iterator[str]]:
    """Number of lines before the header, and the lines from the header on."""
    skipped = 0
    for line in stream:
        if line.strip() and not _SEP_LINE.fullmatch(line.strip("\r\n ")):
            return skipped, chain([line], stream)
        skipped += 1
        if line.strip():
            break
    return skipped, stream


def _check_lines(path: Path, settings: MediaSettings) -> None:
    """Refuse faults that would stop the reading, before the first row.

    A table never has more rows than lines, so counting lines usually checks their number.
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
                raise BadManifestError(
                    f"{path.name} is not UTF-8 (after line {lines + 1}); save it as UTF-8"
                ) from error
            # The reader accepts both; a file from an old Mac has no line feeds.
            num_breaks = max(block.count(b"\n"), block.count(b"\r"))
            lines, length = lines + num_breaks, 0 if num_breaks else length + len(block)
            if length > MAX_LINE_BYTES:
                raise TooLargeError(f"{path.name} has a line of over {MAX_LINE_BYTES} bytes")
            if lines > settings.max_manifest_rows + 1:
                raise too_many_rows(path, settings)
