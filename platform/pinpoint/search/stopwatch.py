"""Milliseconds per stage of a flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Milliseconds per stage, since it was made."""

    __slots__ = ("_started", "_taken")

    def __init__(self) -> None:
        """Start."""
        self._started = perf_counter()
        self._taken: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside under this name; twice the same name adds up."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._taken[name] = self._taken.get(name, 0.0) + (perf_counter() - begun) * 1e3

    def read(self) -> dict[str, float]:
        """Stages so far, and `total` since the start; milliseconds to the microsecond."""
        total = {"total": (perf_counter() - self._started) * 1e3}
        return {name: round(ms, 3) for name, ms in {**self._taken, **total}.items()}
