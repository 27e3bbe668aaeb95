"""Disk use of the components of a home."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint.stack.paths import StackPaths

_CHECK_EVERY: Final = 256
"""Number of files between two checks of the time limit."""


@dataclass(frozen=True, slots=True)
class ComponentSize:
    """Disk use of one component.

    Args:
        component: `postgres`, `index`, `blobs` …, `other` for the rest of the home.
        path: Its folder.
        bytes: Allocated bytes of its files.
        whole: False if the time limit ended the count early.
    """

    component: str
    path: str
    bytes: int
    whole: bool


def measure_home(paths: StackPaths, limit_s: float | None = None) -> tuple[ComponentSize, ...]:
    """Measure the disk use of the existing components of a home.

    Args:
        paths: Paths of the stack.
        limit_s: Time limit over all components, seconds; None counts everything.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    components = {
        "postgres": paths.cluster_dir,
        "index": paths.index_dir,
        "blobs": paths.blobs_dir,
        "bundles": paths.bundles_dir,
        "exports": paths.exports_dir,
        "features": paths.features_dir,
        "logs": paths.logs_dir,
        "redis": paths.redis_dir,
    }
    sizes = [_measure_folder(name, folder, (), deadline) for name, folder in components.items()]
    sizes.append(_measure_folder("other", paths.home, tuple(components.values()), deadline))
    return tuple(size for size in sizes if Path(size.path).is_dir())


def _measure_folder(
    component: str, folder: Path, without: tuple[Path, ...], deadline: float | None
) -> ComponentSize:
    """Sum up a folder; folders in `without` and files that disappear are not counted."""
    total, num_entries, whole = 0, 0, True
    excluded, open_folders = {str(path) for path in without}, [str(folder)]
    while open_folders:
        try:
            entries = list(os.scandir(open_folders.pop()))
        except OSError:
            continue  # removed, or owned by another user
        for entry in entries:
            num_entries += 1
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in excluded:
                        open_folders.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue  # likewise
            if (
                num_entries % _CHECK_EVERY == 0
                and deadline is not None
                and time.monotonic() > deadline
            ):
                return ComponentSize(component, str(folder), total, False)
    return ComponentSize(component, str(folder), total, whole)
