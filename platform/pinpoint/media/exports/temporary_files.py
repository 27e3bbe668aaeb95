"""Temporary folders of exports that are sent as whole files: locked, limited and always deleted."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pinpoint.file_locks import try_lock

_LOCK_SUFFIX: Final = ".lock"


@contextmanager
def open_temporary_folder(root: Path) -> Iterator[Path]:
    """Create a folder for one export, and delete it with its files after the block.

    Args:
        root: Folder of all exports; created if it is missing.

    Raises:
        OSError: The folder cannot be created.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / secrets.token_hex(8)
    lock = folder.with_suffix(_LOCK_SUFFIX)
    with try_lock(lock):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def remove_abandoned_folders(root: Path) -> int:
    """Delete the folders of processes that ended without deleting them; return their number."""
    num_removed = 0
    for lock in root.glob(f"*{_LOCK_SUFFIX}"):
        with try_lock(lock) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                num_removed += 1
    return num_removed


def measure_files(root: Path) -> int:
    """Total size of all files below a folder, bytes; files that disappear are not counted."""
    total_bytes = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total_bytes += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total_bytes
