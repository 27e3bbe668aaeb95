"""A file that ends its decoding child, by a process that sends signals as the kernel does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psutil

from media.pictures import PARIS, exif, saved

LARGE_BYTES = 150_000_000
"""A child that reads small photos holds about 60 MB."""


@cache
def poison(width: int = 9_000, height: int = 8_000) -> bytes:
    """A picture in Paris, a few hundred kilobytes that become hundreds of megabytes."""
    from PIL import Image

    return saved(Image.new("RGB", (width, height)), "PNG", compress_level=1, exif=exif(gps=PARIS))


@contextmanager
def ending_large_children(number: int) -> Iterator[list[int]]:
    """Send a signal to every decoding child of this process that grows large.

    Yields:
        Ids of the children that received it.
    """
    ended: list[int] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.005):
            for child in psutil.Process().children():
                try:
                    ours = "pinpoint.media.decoding.child" in child.cmdline()
                    if ours and child.pid not in ended and child.memory_info().rss > LARGE_BYTES:
                        ended.append(child.pid)
                        os.kill(child.pid, number)
                except (psutil.NoSuchProcess, ProcessLookupError):
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        finished.set()
        thread.join()
