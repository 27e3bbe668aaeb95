"""Atomic replacement of files: a reader sees the old content or the new content, never a part.

The content goes to a temporary file in the same folder, which `os.replace` then renames. `durable`
also syncs the file and its folder to the disk, so that the new content survives a power failure.
Without it, a power failure may lose the last write; a crash of the process may not.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

PARTIAL_SUFFIX: Final = ".part"
"""Suffix of temporary files; only a killed process leaves one."""


def write_atomic(path: Path, data: bytes | str, *, durable: bool, mode: int = 0o666) -> None:
    """Replace the content of a file.

    Args:
        path: The file; its folder must exist.
        data: New content; text is encoded as UTF-8.
        durable: Whether the content survives a power failure.
        mode: Permissions of the file before the umask.

    Raises:
        OSError: The file cannot be written; the old content is unchanged.
    """
    with open_atomic(path, durable=durable, mode=mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def open_atomic(path: Path, *, durable: bool, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file whose content replaces `path` after the block; an error removes it.

    Args:
        path: The file; its folder must exist.
        durable: Whether the content survives a power failure.
        mode: Permissions of the file before the umask.

    Raises:
        OSError: The file cannot be written; the old content is unchanged.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):  # The folder may be gone; the first error is the one to report.
            partial.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: new files, renames and deletions."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Delete the temporary files of killed processes; only for a folder with no other writer."""
    for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
        path.unlink(missing_ok=True)
