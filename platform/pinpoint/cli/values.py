"""Checks of option values that several commands take: the same mistake, the same message."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadRequest
from pinpoint.records import KINDS, OriginalsPolicy

ORIGINALS: Final[dict[str, OriginalsPolicy]] = {
    "reference": "reference",
    "copy": "copy",
    "rendition": "rendition",
}


def check_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    """Raise unless an option has one of its values, or none.

    Raises:
        BadRequest: It has another one.
    """
    if value is not None and value not in choices:
        raise BadRequest(f"{option} must be one of {', '.join(choices)}, not {value!r}")


def check_kinds(option: str, values: Iterable[str | None]) -> None:
    """Raise unless all are source kinds.

    Raises:
        BadRequest: One is not.
    """
    for value in values:
        check_choice(option, value, KINDS)


def check_exists(path: Path) -> None:
    """Raise unless there is a file or folder.

    Raises:
        BadRequest: There is none.
    """
    if not path.exists():
        raise BadRequest(f"there is no file or folder {path}", reason="no_files")


def parse_numbers(option: str, text: str, names: str) -> list[float]:
    """Numbers with commas between them.

    Args:
        option: For the message.
        text: As it was given.
        names: What they are, with the same commas: `lat,lon,radius`.

    Raises:
        BadRequest: There are more or fewer, or one is not a number.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != names.count(",") + 1:
        raise BadRequest(f"{option} must be {names} as numbers with commas between, not {text!r}")
    return numbers


def check_time(option: str, text: str | None) -> None:
    """Raise unless an option is a time of ISO 8601, or not given.

    Raises:
        BadRequest: It is something else.
    """
    if text is None:
        return
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(
            f"{option} must be a date or time of ISO 8601, such as 2024-05-01 or "
            f"2024-05-01T14:30:00+02:00, not {text!r}"
        ) from error


def read_filters(
    kinds: list[str],
    sources: list[str],
    near: str | None,
    bbox: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, Any]:
    """The filters of a question, checked before anything is sent.

    Raises:
        BadRequest: One of them has no usable value.
    """
    check_kinds("--kinds", kinds)
    check_time("--since", since)
    check_time("--until", until)
    if bbox is not None:
        parse_numbers("--bbox", bbox, "west,south,east,north")
    filters = {"kinds": kinds, "sources": sources, "bbox": bbox, "since": since, "until": until}
    if near is None:
        return filters
    lat, lon, radius_m = parse_numbers("--near", near, "lat,lon,radius")
    return {**filters, "lat": lat, "lon": lon, "radius_m": radius_m}
