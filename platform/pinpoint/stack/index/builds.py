"""Builds of the embedded index on disk.

    index/current          name of the current build, replaced atomically
    index/builds/<name>/   index.json and the shard

Every other build is a draft until the pointer is replaced.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import IndexUnavailableError

_BUILD_NAME: Final = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{4}")


class Builds:
    """The folder of builds and its pointer.

    Args:
        folder: Created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builds = folder / "builds"
        self._builds.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Folder of a build."""
        return self._builds / name

    def current(self) -> str | None:
        """Name of the current build, None before the first.

        Raises:
            IndexUnavailableError: The pointer file does not contain the name of a build.
        """
        pointer = self._folder / "current"
        try:
            name = pointer.read_text(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _BUILD_NAME.fullmatch(name):
            raise IndexUnavailableError(
                f"the file {pointer.name} in the index's folder names no build; write the name of "
                f"a folder in {self._builds.name} into it, or remove it and rebuild the index"
            )
        return name

    def point_to(self, name: str) -> None:
        """Make `name` the current build, durably."""
        write_atomic(self._folder / "current", name + "\n", durable=True)

    def discard(self, name: str) -> None:
        """Delete a build."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def delete_unused(self) -> None:
        """Delete every build but the current one, which crashes may have left."""
        current = self.current()
        for folder in self._builds.iterdir():
            if folder.name != current:
                shutil.rmtree(folder, ignore_errors=True)
