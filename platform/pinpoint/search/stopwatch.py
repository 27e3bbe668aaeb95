"""Milliseconds per stage of a flow, and reports of stages as they start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

ReportStage = Callable[[str], None]
"""Called with the name of each stage when it starts; a stage of several parts starts repeatedly."""


class Stopwatch:
    """Milliseconds per stage since its construction.

    Args:
        report_stage: Called in the thread of the flow.
    """

    __slots__ = ("_report_stage", "_stages_ms", "_started")

    def __init__(self, report_stage: ReportStage | None = None) -> None:
        self._report_stage = report_stage
        self._started = perf_counter()
        self._stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a block under this name; blocks of the same name add up."""
        if self._report_stage is not None:
            self._report_stage(name)
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
