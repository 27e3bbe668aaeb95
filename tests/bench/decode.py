"""Cost of the sandbox: the same files in confined children and in children with limits only."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.stack import Say
from media.formats import MAKERS
from media.pictures import noise
from pinpoint.media.decoding.child_process import CHILD_MODULE, ChildProcess
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.decoding.sandbox import summarize_measures
from pinpoint.records import DecodedImage, MetadataOverride
from pinpoint.settings import MediaSettings

TARGET = 1.1
_SIDES = {"confined": CHILD_MODULE, "limits": "media.child_limits_only"}
_SIZES = {"small": (640, 480), "large": (4_000, 3_000)}
_HERE = MetadataOverride(lat=48.0, lon=2.0)


def measure(repetitions: int, say: Say) -> dict[str, Any]:
    """Time of each format, one child of each side, turn by turn, the first turn left out.

    Args:
        repetitions: Turns of each file; a small file is read 20 times in each.
        say: Receives progress messages.

    Returns:
        Milliseconds and ratios of each file, the median of the ratios, and a child's start. The
        child's CPU time is comparable on a busy machine too.
    """
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    settings = MediaSettings()
    child = ChildProcess(settings)
    measures = child.start()
    child.kill()
    say(f"sandbox: {summarize_measures(measures)}")
    rows: dict[str, dict[str, float]] = {}
    with (
        ChildDecoder(settings) as confined,
        ChildDecoder(settings, module=_SIDES["limits"]) as limits,
    ):
        sides = {"confined": confined, "limits": limits}
        for size, (width, height) in _SIZES.items():
            times = 20 if size == "small" else 1
            for kind, make in MAKERS.items():
                data = make(noise(width, height))
                rows[f"{kind} {size}"] = _compare(sides, data, repetitions, times)
                say(f"{kind} {size}: {rows[f'{kind} {size}']}")
    return {
        "repetitions": repetitions,
        "files": rows,
        "ratio": round(median(row["ratio"] for row in rows.values()), 3),
        "cpu_ratio": round(median(row["cpu_ratio"] for row in rows.values()), 3),
        "start_ms": _start_ms(settings, repetitions),
    }


def _compare(
    sides: dict[str, ChildDecoder], data: bytes, repetitions: int, times: int
) -> dict[str, float]:
    took: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for turn in range(repetitions + 1):
        order = list(sides.items())[:: 1 if turn % 2 else -1]
        for side, decoder in order:
            if not turn:
                decoder.read("file", data, _HERE)  # starts the child
            begun, used = time.perf_counter(), _cpu_s(decoder)
            for _ in range(times):
                result = decoder.read("file", data, _HERE)
                assert isinstance(result, DecodedImage), result
            wall_s, cpu_s = time.perf_counter() - begun, _cpu_s(decoder) - used
            took[side].append((wall_s * 1000.0 / times, cpu_s * 1000.0 / times))
    wall = {side: median(value for value, _ in values[1:]) for side, values in took.items()}
    cpu = {side: median(value for _, value in values[1:]) for side, values in took.items()}
    return {
        **{side: round(value, 2) for side, value in wall.items()},
        **{f"{side}_cpu": round(value, 2) for side, value in cpu.items()},
        "ratio": round(wall["confined"] / wall["limits"], 3),
        "cpu_ratio": round(cpu["confined"] / cpu["limits"], 3),
    }


def _cpu_s(decoder: ChildDecoder) -> float:
    """CPU seconds of the only child, with all its threads, also those that ended."""
    (pid,) = decoder.pids()
    # MAKE_PROCESS_CPUCLOCK of the kernel, which clock_getcpuclockid(3) returns.
    return time.clock_gettime((~pid << 3) | 2)


def _start_ms(settings: MediaSettings, repetitions: int) -> dict[str, float]:
    took: dict[str, list[float]] = {side: [] for side in _SIDES}
    for _ in range(repetitions):
        for side, module in _SIDES.items():
            child = ChildProcess(settings, module)
            begun = time.perf_counter()
            child.start()
            took[side].append((time.perf_counter() - begun) * 1000.0)
            child.kill()
    return {side: round(median(values), 1) for side, values in took.items()}
