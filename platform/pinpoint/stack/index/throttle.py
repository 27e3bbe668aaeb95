"""Throttles a rebuild: the builder is stopped while callers wait for the index.

A low priority is not enough. On a machine with few cores the builder uses memory bandwidth and the
sibling thread of a core at any niceness. At 100,000 images, with 20 queries and 50 writes a second
on two cores, queries queued for up to 9 s (`tests/trials/test_rebuild.py`).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

MIN_RUN_S: Final = 0.1
"""Shortest run of the builder between two stops, seconds."""
BUILD_PAUSE_S: Final = 0.4
"""Shortest stop of the builder, and the pause of the owner's own copying, seconds."""
MAX_QUERY_WAIT_S: Final = 0.04
"""Longest acceptable wait for the index, seconds: about two queries at 100,000 images."""
MAX_IDLE_WAIT_S: Final = 2.0
"""Longest wait for an idle index, seconds: under lasting load the builder still gets a twentieth
of the time, and finishes."""
_NUM_IDLE_CHECKS: Final = 3


def yield_if_busy(measure_wait_s: Callable[[], float]) -> None:
    """Pause between two small pieces of work if callers wait for the index."""
    if measure_wait_s() > MAX_QUERY_WAIT_S:
        time.sleep(BUILD_PAUSE_S)


def wait_until_idle(measure_wait_s: Callable[[], float]) -> None:
    """Wait until no caller waits, for a limited time, before work that blocks all callers.

    Args:
        measure_wait_s: Acquires the index like a caller and returns the wait in seconds.
    """
    until, num_idle = time.monotonic() + MAX_IDLE_WAIT_S, 0
    while num_idle < _NUM_IDLE_CHECKS and time.monotonic() < until:
        num_idle = num_idle + 1 if measure_wait_s() <= MAX_QUERY_WAIT_S else 0
        time.sleep(MIN_RUN_S)


@contextlib.contextmanager
def pause_while_busy(
    child: subprocess.Popen[Any], measure_wait_s: Callable[[], float]
) -> Iterator[None]:
    """Stop a child for short periods while callers wait; it runs freely after the block.

    Args:
        child: The process that builds.
        measure_wait_s: Acquires the index like a caller and returns the wait in seconds.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(MIN_RUN_S):
            if measure_wait_s() > MAX_QUERY_WAIT_S:
                # Popen does not signal a child that has ended.
                child.send_signal(signal.SIGSTOP)
                stop.wait(BUILD_PAUSE_S)
                wait_until_idle(measure_wait_s)
                child.send_signal(signal.SIGCONT)

    watcher = threading.Thread(target=watch, name="index-build-throttle", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
