"""Milliseconds per stage of a flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Milliseconds per stage since its construction."""

    __slots__ = ("_started", "_stages_ms")

    def __init__(self) -> None:
        """Start the clock."""
        self._started = perf_counter()
        self._stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block under this name; blocks of the same name add up."""
        started = perf_counter()
        try:
            yield
        finally:
            self._stages_ms[name] = (
                self._stages_ms.get(name, 0.0) + (perf_counter() - started) * 1e3
            )

    def timings_ms(self) -> dict[str, float]:
        """Stages so far, and `total` since the start; in milliseconds, three decimals."""
        total = {"total": (perf_counter() - self._started) * 1e3}
        return {name: round(ms, 3) for name, ms in {**self._stages_ms, **total}.items()}
