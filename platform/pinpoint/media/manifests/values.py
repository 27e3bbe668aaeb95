"""Parses cells of a manifest: numbers, coordinates, text, and marks of missing values."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.field_of_view import check_field_of_view
from pinpoint.media.metadata.raw_metadata import (
    Scalar,
    clean_metadata_text,
    sanitize_text,
    to_finite,
)

MAX_VALUE_TEXT: Final = 1_000
"""Maximum characters of a text from a cell."""
MAX_NAME: Final = 100
"""Maximum characters of the name of an attribute."""
MISSING: Final = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "\u2013", "\\n"}
)
"""Cells without a value, in any case, as written by pandas, R, SQL and spreadsheets."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_ALTITUDE = re.compile(r"(.*?)\s*m(?:\s+(above|below) sea level)?", re.ASCII | re.IGNORECASE)
_FIELD_OF_VIEW = re.compile(r"(.*?)\s*(?:deg|°)(?:\s*\(.*\))?", re.ASCII | re.IGNORECASE)
_PART = r"\d+(?:[.,]\d+)?"
_DEGREES = re.compile(
    rf"(?P<before>[a-z]*)\s*(?P<sign>[+-]?)\s*(?P<deg>{_PART})\s*(?:°|º|deg(?:rees)?|d|:)?"
    rf"(?:\s*(?P<min>{_PART})\s*(?:'|′|’|m(?:in)?|:)?"
    rf"(?:\s*(?P<sec>{_PART})\s*(?:\"|″|”|''|′′|sec)?)?)?"
    r"\s*(?P<after>[a-z]*)",
    re.ASCII | re.IGNORECASE,
)
_UNCLEAR = re.compile(r"\d+,\d{1,2}\s*[a-z]+", re.ASCII | re.IGNORECASE)
"""`48,51N` is ambiguous: minutes in XMP, decimals in a spreadsheet."""
_HEMISPHERES: Final = {
    "latitude": {"n": 1, "north": 1, "s": -1, "south": -1},
    "longitude": {"e": 1, "east": 1, "w": -1, "west": -1},
}


def is_missing(value: object) -> bool:
    """Whether a cell has no value: empty, `NaN`, `NA`, `null` and others (`MISSING`)."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return True
    return isinstance(value, str) and value.strip().casefold() in MISSING


def read_number(value: object, column: str, *, decimal_comma: bool = False) -> float | None:
    """A finite number, or None for a missing one.

    Args:
        value: A number, or text of one.
        column: For messages.
        decimal_comma: Whether `12,5` is twelve and a half; False if commas separate cells.

    Raises:
        RejectedFileError: `bad_row`.
    """
    if is_missing(value):
        return None
    number: float | None = None
    if isinstance(value, int | float):
        number = to_finite(value)
    elif isinstance(value, str):
        text = value.strip().replace("\u2212", "-")
        if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        number = to_finite(text) if _NUMBER.fullmatch(text) else None
    if number is None:
        raise RejectedFileError("bad_row", f"{column} is no number: {_shorten_value(value)}")
    return number


def read_altitude(value: object, *, decimal_comma: bool = False) -> float | None:
    """Meters above sea level; also in the format of exiftool: `35 m Above Sea Level`.

    Raises:
        RejectedFileError: `bad_row`.
    """
    sign = 1.0
    if isinstance(value, str) and (match := _ALTITUDE.fullmatch(value.strip())):
        value = match[1]
        sign = -1.0 if (match[2] or "").casefold() == "below" else 1.0
    number = read_number(value, "altitude_m", decimal_comma=decimal_comma)
    return None if number is None else sign * number


def read_field_of_view(value: object, *, decimal_comma: bool = False) -> float | None:
    """Horizontal degrees in (0, 360]; also in the format of exiftool: `65.5 deg (0.38 m)`.

    Returns:
        None for other numbers: 0 often means unknown.

    Raises:
        RejectedFileError: `bad_row`.
    """
    if isinstance(value, str) and (match := _FIELD_OF_VIEW.fullmatch(value.strip())):
        value = match[1]
    return check_field_of_view(read_number(value, "field_of_view_deg", decimal_comma=decimal_comma))


def read_coordinate(value: object, reference: object, axis: str) -> float | None:
    """Degrees, south and west negative, or None for a missing one.

    Args:
        value: A decimal number, with point or comma, or degrees, minutes and seconds (`48°51'24"N`,
            `48 deg 51' 24.00" N`, `48 51 24 N`).
        reference: The cell of a separate hemisphere column, or None.
        axis: `latitude` or `longitude`.

    Raises:
        RejectedFileError: `bad_row`; it cannot be read, or its sign and hemisphere contradict each
            other.
    """
    if is_missing(value):
        return None
    side = _read_hemisphere(str(reference), axis) if not is_missing(reference) else 0
    # A comma is always decimal here, because no coordinate has thousands.
    if not isinstance(value, str) or _NUMBER.fullmatch(value.strip().replace("\u2212", "-")):
        number = read_number(value, axis)
    else:
        number, named_side = _read_degrees(value.strip().replace("\u2212", "-"), axis)
        if side and named_side and side != named_side:
            raise RejectedFileError(
                "bad_row", f"{axis} {_shorten_value(value)} contradicts its hemisphere column"
            )
        side = side or named_side
    if number is None or not side:
        return number
    if number < 0 < side:
        raise RejectedFileError(
            "bad_row", f"{axis} {_shorten_value(value)} is negative, and so not in its hemisphere"
        )
    return side * abs(number)


def read_text(value: object, column: str) -> str | None:
    """Text without control characters, or None for a missing one.

    Raises:
        RejectedFileError: `bad_row`; it is longer than `MAX_VALUE_TEXT`, or not text.
    """
    return (
        None if is_missing(value) else clean_metadata_text(_as_text(value, column), MAX_VALUE_TEXT)
    )


def read_name(value: object, column: str) -> str | None:
    """The name of a file, without surrounding spaces; None for an empty one.

    Raises:
        RejectedFileError: `bad_row`; it is longer than `MAX_VALUE_TEXT`, or not text.
    """
    return None if value is None else _as_text(value, column).strip() or None


def read_attribute(name: str, value: object) -> Scalar:
    """The value of an attribute; nested values become JSON text.

    Raises:
        RejectedFileError: `bad_row`; the name or the value is too long.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        value = str(value)
    scalar = value if isinstance(value, str | int | float) else _to_json(value)
    if len(name) > MAX_NAME or (isinstance(scalar, str) and len(scalar) > MAX_VALUE_TEXT):
        raise RejectedFileError(
            "bad_row", f"{name[:40]} is longer than {MAX_VALUE_TEXT} characters"
        )
    return sanitize_text(scalar) if isinstance(scalar, str) else scalar


def is_empty(value: object) -> bool:
    """Whether an attribute is omitted: empty, null or NaN, but not `none`, which may be a value."""
    words = ("none", "na", "-", "--")
    return is_missing(value) and not (isinstance(value, str) and value.strip().casefold() in words)


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_text(value: object, column: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_VALUE_TEXT:
        raise RejectedFileError(
            "bad_row", f"{column} is no text of at most {MAX_VALUE_TEXT} characters"
        )
    return value


def _read_hemisphere(text: str, axis: str) -> int:
    """1 for north and east, -1 for south and west."""
    side = _HEMISPHERES[axis].get(text.strip().casefold())
    if side is None:
        raise RejectedFileError("bad_row", f"{axis} has the hemisphere {_shorten_value(text)}")
    return side


def _read_degrees(text: str, axis: str) -> tuple[float, int]:
    """Signed degrees and the hemisphere in the text: 1, -1, or 0 for none."""
    match = _DEGREES.fullmatch(text)
    if match is None or _UNCLEAR.fullmatch(text):
        raise RejectedFileError("bad_row", f"{axis} is no number: {_shorten_value(text)}")
    parts = [float((match[part] or "0").replace(",", ".")) for part in ("deg", "min", "sec")]
    is_whole = [
        match[part] is None or parts[i] == int(parts[i]) for i, part in enumerate(("deg", "min"))
    ]
    smaller = [match["min"] is not None, match["sec"] is not None]
    if max(parts[1:]) >= 60 or any(s and not w for s, w in zip(smaller, is_whole, strict=True)):
        raise RejectedFileError(
            "bad_row", f"{axis} cannot be read as degrees: {_shorten_value(text)}"
        )
    letters = [match[where] for where in ("before", "after") if match[where]]
    if len(letters) > 1:
        raise RejectedFileError("bad_row", f"{axis} has two hemispheres: {_shorten_value(text)}")
    side = _read_hemisphere(letters[0], axis) if letters else 0
    number = parts[0] + parts[1] / 60 + parts[2] / 3600
    return (-number if match["sign"] == "-" else number), side


def _shorten_value(value: object) -> str:
    return repr(str(value)[:40])
