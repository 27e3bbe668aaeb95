"""Caller and writer, each in its own process, and their records."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trials.rebuild.query_load import ask_on
from trials.rebuild.rows import Loaded, read_lines
from trials.rebuild.writer import write_on

_START_S, _END_S = 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time on the monotonic clock, which all processes share."""

    name: str
    begun: float
    ended: float


class Load:
    """Notes of a caller and a writer that run, or have run."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self.asked_notes = folder / f"{run}-asked.jsonl"
        self.written_notes = folder / f"{run}-written.jsonl"

    def queries(self, window: Window | None = None) -> list[dict[str, Any]]:
        """Queries, all or those active in a window."""
        queries = read_lines(self.asked_notes)
        if window is None:
            return queries
        return [
            one
            for one in queries
            if one["due"] < window.ended and one["due"] + one["took_s"] > window.begun
        ]

    def written(self, window: Window | None = None) -> list[dict[str, Any]]:
        """Notes of the writer, all or those made in a window."""
        writes = read_lines(self.written_notes)
        if window is None:
            return writes
        return [one for one in writes if window.begun <= one["at"] < window.ended]

    def promised(self) -> dict[str, tuple[str, int]]:
        """Image → run and number of the last write of it that PostgreSQL has."""
        last: dict[str, tuple[str, int]] = {}
        for one in self.written():
            last |= {image: (self.run, number) for image, number in one.get("kept", {}).items()}
        return last

    def times(self) -> Counter[str]:
        """Image → how often it was written."""
        return Counter(image for one in self.written() for image in one.get("kept", {}))


@contextmanager
def loading(home: Path, folder: Path, run: str, loaded: Loaded) -> Iterator[Load]:
    """Ask and write until the block ends; both processes are gone afterwards."""
    load = Load(run, folder)
    context = multiprocessing.get_context("spawn")
    stop, ready = context.Event(), [context.Event(), context.Event()]
    both = [
        context.Process(
            target=ask_on, args=(home, loaded.queries, load.asked_notes, ready[0], stop)
        ),
        context.Process(
            target=write_on,
            args=(home, run, loaded.names(), load.written_notes, ready[1], stop),
        ),
    ]
    for process in both:
        process.start()
    try:
        for process, is_ready in zip(both, ready, strict=True):
            if not is_ready.wait(_START_S):
                raise AssertionError(f"{process.name} does not start ({process.exitcode})")
        yield load
    finally:
        stop.set()
        for process in both:
            process.join(_END_S)
            if process.exitcode is None:
                process.kill()
                process.join()
    codes = [process.exitcode for process in both]
    assert codes == [0, 0], f"caller and writer ended with {codes}"


def follow(index: Any, until_: tuple[str, ...] = ("done", "failed")) -> list[Window]:
    """Watch a rebuild to its end; returns its states as windows."""
    windows: list[Window] = []
    state, since = index.progress().state, time.monotonic()
    while True:
        now = index.progress()
        if now.state != state:
            windows.append(Window(state, since, time.monotonic()))
            state, since = now.state, windows[-1].ended
        if now.state in until_:
            assert now.state == "done", now
            return windows
        time.sleep(0.02)


def line(name: str, queries: list[dict[str, Any]], written: list[dict[str, Any]], s: float) -> str:
    """A row of the table of a load."""
    took_ms = 1e3 * np.array([one["took_s"] for one in queries] or [np.nan])
    p50, p95, longest = np.percentile(took_ms, (50, 95, 100))
    failed = sum("error" in one for one in queries)
    rate = sum(one.get("indexed", 0) for one in written) / s
    return (
        f"{name:12} {s:7.1f} {len(queries):7d} {failed:6d} {p50:8.1f} {p95:8.1f} {longest:10.1f} "
        f"{rate:9.1f}\n"
    )


HEAD = (
    f"{'while':12} {'s':>7} {'asked':>7} {'failed':>6} {'p50 ms':>8} {'p95 ms':>8} "
    f"{'longest ms':>10} {'writes/s':>9}\n"
)
