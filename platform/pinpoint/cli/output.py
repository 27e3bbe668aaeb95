"""Tables, JSON and progress bars. Results go to stdout, all other output to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from pinpoint.geo.lengths import format_length as format_length

_MAX_WIDTH: Final = 100_000
_LINE_INTERVAL_S: Final = 30.0
"""Seconds between two progress lines of one task if stderr is not a terminal."""


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=to_json_value) + "\n")


def to_json_value(value: object) -> Any:
    """Convert records, ids, times, paths and NumPy scalars to JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_line(text: str) -> None:
    """Print one line on stdout."""
    sys.stdout.write(replace_unprintable(text) + "\n")


def warn(text: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(replace_unprintable(text) + "\n")


def warn_of_next_page(link: str) -> None:
    """Print on stderr how to get the next page of a list, from its link."""
    (cursor,) = parse_qs(urlsplit(link).query)["cursor"]
    warn(f"more: the same command with --cursor {cursor}")


def print_table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Print a table; columns whose name starts with `>` are numbers, aligned right."""
    view = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        is_numeric = column.startswith(">")
        view.add_column(
            column.removeprefix(">"), justify="right" if is_numeric else "left", no_wrap=True
        )
    for row in rows:
        view.add_row(*(replace_unprintable(format_cell(value)) for value in row))
    console = Console(markup=False, highlight=False, emoji=False)
    # Users copy ids, so a long line may wrap, but no cell is truncated.
    unbounded = console.options.update(max_width=_MAX_WIDTH)
    console.width = max(console.width, console.measure(view, options=unbounded).maximum)
    if title:
        # Printed separately: as part of the table it would wrap at the width of the table.
        console.print(title, style="italic", soft_wrap=True)
    console.print(view)


def print_document(document: Mapping[str, object], indent: int = 0) -> None:
    """Print a line for each key; documents inside are indented, without their absent values.

    The documents of a list, such as the sources of a vocabulary, have a line each.
    """
    keys = [key for key, value in document.items() if value is not None or not indent]
    width = max([15 - indent, *(len(key) for key in keys)])
    for key in keys:
        value = document[key]
        if isinstance(value, Mapping) and value:
            print_line(" " * indent + key)
            print_document(value, indent + 2)
        elif isinstance(value, list | tuple) and isinstance(next(iter(value), None), Mapping):
            print_line(" " * indent + key)
            for item in value:
                parts = [f"{name} {format_cell(part)}" for name, part in item.items()]
                print_line(" " * (indent + 2) + ", ".join(parts))
        else:
            print_line(" " * indent + f"{key:{width}} {format_cell(value)}")


def format_cell(value: object) -> str:
    """Format a value for people."""
    if value is None or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, list | tuple):
        return " ".join(format_cell(item) for item in value) or "–"
    return str(value)


def replace_unprintable(text: str) -> str:
    """Replace unprintable characters: untrusted names could contain terminal control sequences."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def format_place(nearest: Mapping[str, Any] | None) -> str | None:
    """Format the nearest place with its distance: `Paris, FR (2.3 km)`."""
    if nearest is None:
        return None
    return f"{nearest['name']}, {nearest['country']} ({format_length(nearest['distance_m'])})"


def format_km(meters: float) -> str:
    """Format a length in km without the unit, for table columns: `0.012`, `8.4`, `8591`."""
    length_km = meters / 1_000
    return f"{length_km:.{3 if length_km < 1 else 1 if length_km < 100 else 0}f}"


class _RateColumn(ProgressColumn):
    """Files per second, as soon as the speed is known."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} files/s")


class _PlainProgress(Progress):
    """Progress without a terminal: prints a line every 30 s, so that logs show the progress."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(disable=True, get_time=now)
        self._last_line_at: dict[Any, float] = {}

    def update(self, task_id: Any, **changes: Any) -> None:
        """Update a task as `Progress.update` does, and print a line if one is due."""
        super().update(task_id, **changes)
        now, task = self.get_time(), self.tasks[self.task_ids.index(task_id)]
        if now - self._last_line_at.setdefault(task_id, now) < _LINE_INTERVAL_S:
            return
        self._last_line_at[task_id] = now
        rate, remaining_s = task.speed, task.time_remaining
        total = "" if task.total is None else f" of {task.total:.0f}"
        parts = [f"{task.description}: {task.completed:.0f}{total}"]
        parts += [] if rate is None else [f"{rate:.1f} a second"]
        parts += [] if remaining_s is None else [f"about {remaining_s / 60:.0f} min left"]
        warn(", ".join(parts))


def open_counter(description: str) -> tuple[Progress, Any]:
    """Create a counter on stderr for a task of unknown length, and its task.

    It prints lines if stderr is not a terminal, and nothing if stdout is one, where the results
    themselves show the progress.
    """
    if not Console(stderr=True).is_terminal or Console().is_terminal:
        plain_progress = _PlainProgress()
        return plain_progress, plain_progress.add_task(description, total=None)
    counter = Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    return counter, counter.add_task(description, total=None)


def open_progress_bar(description: str) -> tuple[Progress, Any]:
    """Create a progress bar on stderr with rate and ETA, and its task; lines if not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        plain_progress = _PlainProgress()
        return plain_progress, plain_progress.add_task(description, total=1)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _RateColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )
    return bar, bar.add_task(description, total=1)


def open_byte_bar(description: str) -> tuple[Progress, Any]:
    """Create a progress bar on stderr for bytes, whose total may be unknown, and its task."""
    console = Console(stderr=True)
    if not console.is_terminal:
        plain_progress = _PlainProgress()
        return plain_progress, plain_progress.add_task(f"{description}, bytes", total=None)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=False,
    )
    return bar, bar.add_task(description, total=None)
