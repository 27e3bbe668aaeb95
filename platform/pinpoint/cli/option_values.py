"""Checks of option values shared by several commands, with the same error messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from pinpoint.errors import BadRequestError
from pinpoint.records import SOURCE_KINDS, OriginalsPolicy

ORIGINALS_POLICIES: Final[dict[str, OriginalsPolicy]] = {
    "reference": "reference",
    "copy": "copy",
    "rendition": "rendition",
}


def check_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    """Check that an option has one of its choices or no value.

    Raises:
        BadRequestError: The option has another value.
    """
    if value is not None and value not in choices:
        raise BadRequestError(f"{option} must be one of {', '.join(choices)}, not {value!r}")


def check_kinds(option: str, values: Iterable[str | None]) -> None:
    """Check that all values are source kinds.

    Raises:
        BadRequestError: A value is not a source kind.
    """
    for value in values:
        check_choice(option, value, SOURCE_KINDS)


def check_exists(path: Path) -> None:
    """Check that a file or folder exists.

    Raises:
        BadRequestError: The path does not exist.
    """
    if not path.exists():
        raise BadRequestError(f"there is no file or folder {path}", reason="no_files")


def parse_numbers(option: str, text: str, names: str) -> list[float]:
    """Parse numbers separated by commas.

    Args:
        option: Name of the option, for the message.
        text: Value of the option.
        names: Names of the numbers, separated by commas: `LAT,LON`.

    Raises:
        BadRequestError: The count is wrong, or a part is not a number.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != names.count(",") + 1:
        raise BadRequestError(
            f"{option} must be {names} as numbers separated by commas, not {text!r}"
        )
    return numbers


def check_time_option(option: str, text: str | None) -> None:
    """Check that an option is an ISO 8601 time or is not given.

    Raises:
        BadRequestError: The value is not an ISO 8601 time.
    """
    if text is None:
        return
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequestError(
            f"{option} must be a date or time of ISO 8601, such as 2024-05-01 or "
            f"2024-05-01T14:30:00+02:00, not {text!r}"
        ) from error
