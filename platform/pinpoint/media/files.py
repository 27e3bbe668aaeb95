"""Finds and reads files: only regular files, in a fixed order, never outside the root."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.metadata.raw_metadata import sanitize_text

SIDECARS: Final = frozenset(
    {".gpx", ".xmp", ".aae", ".csv", ".tsv", ".json", ".geojson", ".xml"}
    | {".txt", ".md", ".html", ".yaml", ".yml", ".ini", ".log", ".db"}
    | {".parquet", ".geoparquet", ".gpkg", ".fgb", ".geojsonl", ".geojsons"}
    | {".shp", ".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx"}
    | {".kml", ".kmz", ".tcx", ".fit", ".nmea", ".igc", ".pp3", ".dop"}
)
"""Suffixes of files that are not photos; all other files are tried, and rejected with an error
code."""

Unreadable = Callable[[Path, OSError], None]


def find_files(root: Path, on_unreadable: Unreadable | None = None) -> Iterator[Path]:
    """Every file below `root`, sorted, without hidden folders and files.

    Folders behind symbolic links are not entered. A linked file is included only if its target is
    below `root`.

    Args:
        root: The folder.
        on_unreadable: Called with each subfolder that cannot be opened; the walk continues.
            Without it, such a folder ends the walk.

    Raises:
        NotADirectoryError: `root` is not a folder.
        OSError: `root`, or without `on_unreadable` a subfolder, cannot be opened.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is no folder")
    yield from _walk_folder(root, root.resolve(), _list_entries(root), on_unreadable)


def list_files(folder: Path) -> list[Path]:
    """Visible files directly in a folder, by name; links must have their target inside it.

    Raises:
        NotADirectoryError: `folder` is not a folder.
    """
    resolved = folder.resolve()
    return [
        folder / entry.name for entry in _list_entries(folder) if _is_inside_root(entry, resolved)
    ]


def find_photos(root: Path, on_unreadable: Unreadable | None = None) -> Iterator[Path]:
    """As `find_files`, without files with a suffix in `SIDECARS`."""
    paths = find_files(root, on_unreadable)
    return (path for path in paths if path.suffix.lower() not in SIDECARS)


def is_photo_name(name: str) -> bool:
    """Whether the last part of a name with `/` may be a photo: not hidden, and no sidecar."""
    file = PurePosixPath(name)
    return not (name.endswith("/") or file.name.startswith(".") or file.suffix.lower() in SIDECARS)


def check_file_name(name: str) -> None:
    """Raise `RejectedFileError` (`bad_name`) for a name that cannot be shown and stored."""
    if name != sanitize_text(name):
        raise RejectedFileError("bad_name", "the file's name is not UTF-8; rename it")


def find_sibling_tracks(root: Path) -> Callable[[Path], Path | None]:
    """A function from a photo below `root` to its GPX file or folder, or None.

    The result is the `.gpx` file with the same stem in the photo's folder, otherwise the only
    `.gpx` file there. If there are several, it is the folder.
    """
    resolved = root.resolve()

    @lru_cache(maxsize=256)
    def list_tracks(folder: Path) -> dict[str, Path]:
        return {
            entry.name: folder / entry.name
            for entry in _list_entries(folder)
            if entry.name.lower().endswith(".gpx") and _is_inside_root(entry, resolved)
        }

    def find_track(photo: Path) -> Path | None:
        tracks_by_name = list_tracks(photo.parent)
        for path in tracks_by_name.values():
            if path.stem == photo.stem:
                return path
        return (
            next(iter(tracks_by_name.values()))
            if len(tracks_by_name) == 1
            else photo.parent
            if tracks_by_name
            else None
        )

    return find_track


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """All bytes of a regular file.

    Raises:
        RejectedFileError: `missing_file`, `empty_file` or `too_large`.
    """
    try:
        # Checked before opening, because opening a device or a FIFO can have side effects.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RejectedFileError("missing_file", "not a regular file")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(fd, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RejectedFileError("missing_file", "not a regular file")
            check_file_size(status.st_size, max_bytes)
            data = stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RejectedFileError("missing_file", f"cannot be opened: {reason}") from error
    check_file_size(len(data), max_bytes)
    return data


def check_file_size(size: int, max_bytes: int) -> None:
    """Raise `RejectedFileError` (`empty_file`, `too_large`) for a size outside the limits."""
    if size == 0:
        raise RejectedFileError("empty_file", "the file holds no bytes")
    if size > max_bytes:
        raise RejectedFileError(
            "too_large", f"{size} bytes; at most {max_bytes} (PINPOINT_MEDIA_MAX_BYTES)"
        )


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_below(path: Path, resolved_root: Path) -> bool:
    """Whether the file is below the root after resolving links."""
    try:
        return path.resolve().is_relative_to(resolved_root)
    except (OSError, RuntimeError, ValueError):
        return False


def _walk_folder(
    folder: Path,
    resolved_root: Path,
    entries: list[os.DirEntry[str]],
    on_unreadable: Unreadable | None,
) -> Iterator[Path]:
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            below = folder / entry.name
            try:
                inside = _list_entries(below)
            except OSError as error:
                if on_unreadable is None:
                    raise
                on_unreadable(below, error)
                continue
            yield from _walk_folder(below, resolved_root, inside, on_unreadable)
        elif _is_inside_root(entry, resolved_root):
            yield folder / entry.name


def _list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Visible entries by name; the order does not depend on the file system."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)


def _is_inside_root(entry: os.DirEntry[str], resolved_root: Path) -> bool:
    """Whether an entry is a regular file, or a link to one below the root."""
    try:
        if not entry.is_file():
            return False
    except OSError:  # a link into a folder that cannot be opened
        return False
    return not entry.is_symlink() or is_below(Path(entry.path), resolved_root)
