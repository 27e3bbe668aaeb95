"""A build gives way: while callers wait for the index, who makes the next one stops.

A low priority is not enough. On a machine with few cores the builder takes memory bandwidth and the
other half of a core whatever its niceness: at 100,000 images, with 20 questions and 50 writes a
second on two cores, questions queued up to 9 s behind one another (`tests/trials/test_rebuild.py`).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

LOOK_S: Final = 0.1
"""How long the builder runs, at least, between two stops."""
HELD_S: Final = 0.4
"""How long it is stopped at least, and how long the owner's own work pauses."""
WAIT_S: Final = 0.04
"""Waiting for the index that is too long: about two questions at 100,000 images."""
CALM_S: Final = 2.0
"""How long is waited at most for a moment in which nobody waits: under lasting load the builder
keeps a twentieth of the time, and ends."""
_NUM_IDLE_CHECKS: Final = 3


def give_way(measure_wait_s: Callable[[], float]) -> None:
    """Between two small pieces of work: if others wait, let some of them pass."""
    if measure_wait_s() > WAIT_S:
        time.sleep(HELD_S)


def await_calm(measure_wait_s: Callable[[], float]) -> None:
    """Before a piece of work that holds all others up: wait until none waits, but not for ever.

    Args:
        waited_s: Waits its turn like a caller and says for how long.
    """
    until, num_idle = time.monotonic() + CALM_S, 0
    while num_idle < _NUM_IDLE_CHECKS and time.monotonic() < until:
        num_idle = num_idle + 1 if measure_wait_s() <= WAIT_S else 0
        time.sleep(LOOK_S)


@contextlib.contextmanager
def giving_way(child: subprocess.Popen[Any], measure_wait_s: Callable[[], float]) -> Iterator[None]:
    """Stop a child for moments while others wait; it runs freely again after the block.

    Args:
        child: The process that builds.
        waited_s: Waits its turn like a caller and says for how long.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(LOOK_S):
            if measure_wait_s() > WAIT_S:
                # A child that has ended meanwhile is not signalled: Popen knows.
                child.send_signal(signal.SIGSTOP)
                stop.wait(HELD_S)
                await_calm(measure_wait_s)
                child.send_signal(signal.SIGCONT)

    watcher = threading.Thread(target=watch, name="index-give-way", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
