"""Finds the home of a stack from a folder below it, as git finds its repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pinpoint.errors import Misconfigured

HOME_NAME: Final = ".pinpoint"
DEMO_SUFFIX: Final = "-demo"
_HOME_ENTRIES: Final = ("settings.toml", "stack.json", "stack.lock", "operator.key", "bundles")
"""One of these makes a folder named `.pinpoint` a home."""


def find_home(start: Path | None = None) -> Path:
    """The home that a command called in `start` works with, where PINPOINT_HOME names none.

    It is `.pinpoint` in `start` or in the nearest folder above it. A folder of another user is
    passed over: its settings and bundles would run with our rights. The search does not leave
    the file system of `start`.

    Args:
        start: An existing folder; the current one by default.

    Returns:
        The home found, or `.pinpoint` in `start`, which need not exist.

    Raises:
        Misconfigured: The current folder has been removed.
    """
    folder = start or current_folder()
    for above in _list_parents(folder):
        candidate = above / HOME_NAME
        if is_home(candidate) and _is_owned_by_user(candidate):
            return candidate
    return folder / HOME_NAME


def is_home(folder: Path) -> bool:
    """Whether a folder holds what Pinpoint keeps in a home; False also where it is unreadable."""
    try:
        return any((folder / entry).exists() for entry in _HOME_ENTRIES)
    except OSError:
        return False


def foreign_homes(start: Path | None = None) -> list[Path]:
    """Folders `.pinpoint` of other users that `find_home` passes over, nearest first."""
    candidates = (above / HOME_NAME for above in _list_parents(start or current_folder()))
    return [folder for folder in candidates if folder.is_dir() and not _is_owned_by_user(folder)]


def demo_home(home: Path) -> Path:
    """The demo's home beside a home: `.pinpoint-demo` beside `.pinpoint`."""
    if home.name.endswith(DEMO_SUFFIX):
        return home
    return home.with_name(home.name + DEMO_SUFFIX)


def current_folder() -> Path:
    """The folder that the command is called in.

    Raises:
        Misconfigured: It has been removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise Misconfigured(
            "the current folder no longer exists; change to another one, or set PINPOINT_HOME"
        ) from error


def _list_parents(folder: Path) -> Iterator[Path]:
    """The folder and those above it, up to the boundary of its file system."""
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
