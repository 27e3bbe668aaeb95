"""What a chunk came to and how long its stages took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Tally:
    """Counts, and for each stage how often it ran and for how many seconds."""

    __slots__ = ("_counts", "_seconds", "_slices")

    def __init__(self) -> None:
        """Nothing done yet."""
        self._counts: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._slices: Counter[str] = Counter()

    def count(self, what: str, many: int) -> None:
        """Add to a count."""
        self._counts[what] += many

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside under this name; what fails counts too."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += perf_counter() - begun
            self._slices[name] += 1

    def sums(self) -> dict[str, float]:
        """All of it under flat names: counts, `<stage>.seconds` and `<stage>.slices`."""
        return {
            **self._counts,
            **{f"{name}.seconds": float(value) for name, value in self._seconds.items()},
            **{f"{name}.slices": value for name, value in self._slices.items()},
        }

    def said(self) -> dict[str, float]:
        """The same for a log line: counts, `<stage>_ms`, and images encoded per second."""
        taken_s = sum(self._seconds.values())
        encoded = self._counts["encoded"]
        return {
            **self._counts,
            **{f"{name}_ms": round(value * 1e3, 1) for name, value in self._seconds.items()},
            "images_per_s": round(encoded / taken_s, 1) if taken_s else 0.0,
        }
