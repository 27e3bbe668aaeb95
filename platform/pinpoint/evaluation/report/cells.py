"""Formatting of cells and tables of the report; titles of its arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

EMPTY_CELL: Final = "–"
ARM_TITLES: Final = {
    "unfiltered": "as served (nothing excluded)",
    "excluded": "with exclusions",
}


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(_format_cell(cell) for cell in line) + " |" for line in lines
    )


def format_percent(value: float | None) -> str:
    """A share in percent, with one decimal."""
    return EMPTY_CELL if value is None else f"{100 * value:.1f}"


def format_interval(estimate: Mapping[str, Any], digits: int = 1, scale: float = 100.0) -> str:
    """A value with its interval: `41.2 [37.0, 45.5]`."""
    if estimate["value"] is None:
        return EMPTY_CELL
    text = f"{scale * estimate['value']:.{digits}f}"
    if estimate["low"] is None:
        return text
    return f"{text} [{scale * estimate['low']:.{digits}f}, {scale * estimate['high']:.{digits}f}]"


def _format_cell(value: object) -> str:
    if value is None:
        return EMPTY_CELL
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def format_three(value: float | None) -> str:
    """A number with three decimals."""
    return EMPTY_CELL if value is None else f"{value:.3f}"
