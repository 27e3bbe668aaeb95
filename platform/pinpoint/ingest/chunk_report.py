"""Counts and stage durations of a chunk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class ChunkReport:
    """Counts, and for each stage the number of runs and their seconds."""

    __slots__ = ("_counts", "_seconds", "_slices")

    def __init__(self) -> None:
        """Start with empty counts."""
        self._counts: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._slices: Counter[str] = Counter()

    def count(self, what: str, many: int) -> None:
        """Add to a count."""
        self._counts[what] += many

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block under this name, also if it raises."""
        started = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += perf_counter() - started
            self._slices[name] += 1

    def sums(self) -> dict[str, float]:
        """All values under flat names: counts, `<stage>.seconds` and `<stage>.slices`."""
        return {
            **self._counts,
            **{f"{name}.seconds": float(value) for name, value in self._seconds.items()},
            **{f"{name}.slices": value for name, value in self._slices.items()},
        }

    def as_log_fields(self) -> dict[str, float]:
        """All values for a log line: counts, `<stage>_ms`, and images encoded per second."""
        total_s = sum(self._seconds.values())
        encoded = self._counts["encoded"]
        return {
            **self._counts,
            **{f"{name}_ms": round(value * 1e3, 1) for name, value in self._seconds.items()},
            "images_per_s": round(encoded / total_s, 1) if total_s else 0.0,
        }
