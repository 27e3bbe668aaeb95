"""Finds the home of a stack from a folder below it, as git finds its repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pinpoint.errors import ConfigurationError

HOME_NAME: Final = ".pinpoint"
DEMO_SUFFIX: Final = "-demo"
PHOTO_DEMO_SUFFIX: Final = "-photos-demo"
_HOME_ENTRIES: Final = ("settings.toml", "stack.json", "stack.lock", "operator.key", "bundles")
"""A folder named `.pinpoint` is a home if it contains one of these."""


def find_home(start: Path | None = None) -> Path:
    """Find the home for a command that runs in `start` without PINPOINT_HOME.

    It is `.pinpoint` in `start` or in the nearest parent folder. A folder of another user is
    skipped: its settings and bundles would run with our rights. The search does not leave the
    file system of `start`.

    Args:
        start: An existing folder; the current one by default.

    Returns:
        The home, or `.pinpoint` in `start`, which need not exist.

    Raises:
        ConfigurationError: The current folder was removed.
    """
    folder = start or current_folder()
    for above in _list_parents(folder):
        candidate = above / HOME_NAME
        if is_home(candidate) and _is_owned_by_user(candidate):
            return candidate
    return folder / HOME_NAME


def is_home(folder: Path) -> bool:
    """Whether a folder contains a file of a Pinpoint home; False also if it is unreadable."""
    try:
        return any((folder / entry).exists() for entry in _HOME_ENTRIES)
    except OSError:
        return False


def list_foreign_homes(start: Path | None = None) -> list[Path]:
    """Folders `.pinpoint` of other users that `find_home` skips, nearest first."""
    candidates = (above / HOME_NAME for above in _list_parents(start or current_folder()))
    return [folder for folder in candidates if folder.is_dir() and not _is_owned_by_user(folder)]


def demo_home(home: Path) -> Path:
    """Home of the demo for a home: `.pinpoint-demo` in the folder of `.pinpoint`."""
    if home.name.endswith(DEMO_SUFFIX):
        return home
    return home.with_name(home.name + DEMO_SUFFIX)


def photo_demo_home(home: Path) -> Path:
    """Home of the demo on real photos: `.pinpoint-photos-demo` in the folder of `.pinpoint`.

    Not that of the other demo, whose index has another bundle.
    """
    if home.name.endswith(PHOTO_DEMO_SUFFIX):
        return home
    return home.with_name(home.name.removesuffix(DEMO_SUFFIX) + PHOTO_DEMO_SUFFIX)


def current_folder() -> Path:
    """The current working folder.

    Raises:
        ConfigurationError: The folder was removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the current folder no longer exists; change to another one, or set PINPOINT_HOME"
        ) from error


def _list_parents(folder: Path) -> Iterator[Path]:
    """The folder and its parents, up to the boundary of its file system."""
    device = folder.stat().st_dev
    for above in (folder, *folder.parents):
        try:
            if above.stat().st_dev != device:
                return
        except OSError:
            return
        yield above


def _is_owned_by_user(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
