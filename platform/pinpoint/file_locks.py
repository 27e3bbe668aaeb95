"""Locks between processes on files. The kernel releases a lock when its process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout, UnixFileLock


@contextmanager
def try_lock(path: Path, *, timeout_s: float = 0.0) -> Iterator[bool]:
    """Lock a file for the block, and release it afterwards.

    Args:
        path: The file; created if it is missing, and never deleted or changed.
        timeout_s: Time to wait for another holder, seconds; 0 tries once.

    Yields:
        Whether the lock was acquired.

    Raises:
        OSError: The file cannot be opened.
    """
    lock = UnixFileLock(path, timeout=timeout_s, poll_interval=0.02, fallback_to_soft=False)
    is_locked = False
    with suppress(Timeout):
        lock.acquire()
        is_locked = True
    try:
        yield is_locked
    finally:
        if is_locked:
            lock.release()


@contextmanager
def try_shared_lock(path: Path) -> Iterator[bool]:
    """Check that nobody holds `try_lock`, and keep others from it for the block.

    Written with `fcntl`, because `filelock` has no shared lock on a file: two readers at the same
    time would take each other for the holder.

    Yields:
        Whether no process holds the lock.
    """
    with path.open("a") as file:
        is_locked = False
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_locked = True
        yield is_locked
