"""Time of `import pinpoint_client` in a new process, above that of an empty program."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from bench.stack import Say

TARGET_MS = 300
_MIN_RUNS = 9


def measure(repetitions: int, say: Say) -> dict[str, float]:
    """Medians of alternating runs.

    Returns:
        Milliseconds of the import without the start of Python (`import_ms`), of an empty program
        (`empty_ms`) and of httpx and pydantic alone (`dependencies_ms`); `runs`.
    """
    programs = {
        "empty_ms": "pass",
        "dependencies_ms": "import httpx, pydantic",
        "import_ms": "import pinpoint_client",
    }
    runs = max(repetitions, _MIN_RUNS)
    say(f"client: {runs} imports")
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, code in programs.items():
            start_s = perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append((perf_counter() - start_s) * 1_000)
    figures = {name: median(values) for name, values in times.items()}
    for name in ("dependencies_ms", "import_ms"):
        figures[name] -= figures["empty_ms"]
    return {**figures, "runs": runs}
