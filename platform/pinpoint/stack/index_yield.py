"""A build gives way: while callers wait for the index, the process that builds the next one stops.

A low priority is not enough. On a machine with few cores the builder takes memory bandwidth and the
other half of a core whatever its niceness: at 100,000 images, with 20 questions and 50 writes a
second on two cores, questions queued up to 9 s behind one another (`tests/trials/test_rebuild.py`).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Final

LOOK_S: Final = 0.1
"""How long the builder runs, at least, between two stops."""
HELD_S: Final = 0.4
"""How long it is stopped. Under lasting load it so keeps a fifth of the time, and ends."""
WAIT_S: Final = 0.04
"""Waiting for the index that is too long: about two questions at 100,000 images."""


@contextlib.contextmanager
def giving_way(child: subprocess.Popen[str], waited_s: Callable[[], float]) -> Iterator[None]:
    """Stop a child for moments while others wait; it runs freely again after the block.

    Args:
        child: The process that builds.
        waited_s: Waits its turn like a caller and says for how long.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if waited_s() > WAIT_S:
                # A child that has ended meanwhile is not signalled: Popen knows.
                child.send_signal(signal.SIGSTOP)
                over.wait(HELD_S)
                child.send_signal(signal.SIGCONT)

    watcher = threading.Thread(target=watch, name="index-give-way", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
