"""Finds the files that the rows of a manifest name, and refuses those outside of the folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import check_file_name, is_below

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif", ".avif", ".JPG")
"""Suffixes that are tried for names without one."""
MAX_FOLDERS: Final = 2_000
"""Folders in which a file is searched by its name."""


def name_finder(root: Path) -> Callable[[str], str | None]:
    """A function from a relative name in any Unicode form to the name on disk.

    macOS writes `é` as two characters, most other systems as one; both are the same name. The
    function returns None if no file has the name.

    Raises:
        RejectedFileError: `missing_file`, from the function, if several names differ only in their
            form and none is an exact match.
    """

    @lru_cache(maxsize=1024)
    def list_names(folder: Path) -> dict[str, list[str]]:
        names_by_form: dict[str, list[str]] = {}
        try:
            names = os.listdir(folder)
        except OSError:
            return names_by_form
        for name in names:
            names_by_form.setdefault(unicodedata.normalize("NFC", name), []).append(name)
        return names_by_form

    def find(name: str) -> str | None:
        folder, parts = root, []
        for part in PurePosixPath(name).parts:
            same_names = list_names(folder).get(unicodedata.normalize("NFC", part), [])
            if part == ".." or part in same_names:
                actual = part
            elif len(same_names) > 1:
                raise RejectedFileError(
                    "missing_file", f"several files have the name {name} in other Unicode forms"
                )
            elif same_names:
                actual = same_names[0]
            else:
                return None
            parts.append(actual)
            folder = folder / actual
        return str(PurePosixPath(*parts))

    return find


def candidate_finder(root: Path) -> Callable[[tuple[str, ...]], str | None]:
    """A function from possible names of a file to its path relative to `root`, or None.

    Data sets often give only an id, and their archives are unpacked into subfolders. A name without
    a suffix of `IMAGE_SUFFIXES` is tried with each of them, in the folder and its visible
    subfolders, of which at most `MAX_FOLDERS` are searched. Memory does not depend on the number
    of files.
    """
    folders: list[str] = []
    # The folder and the suffix of the previous file are tried first.
    suffixes = list(IMAGE_SUFFIXES)

    def find(candidates: tuple[str, ...]) -> str | None:
        if candidates and not folders:
            folders.extend(_list_folders(root))
        for name in candidates:
            if "/" in name or "\\" in name or "\x00" in name or name.startswith("."):
                continue
            has_suffix = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
            for position, folder in enumerate(folders):
                for suffix in ("",) if has_suffix else suffixes:
                    if not _is_file(root / folder / (name + suffix)):
                        continue
                    folders.insert(0, folders.pop(position))
                    if suffix:
                        suffixes.remove(suffix)
                        suffixes.insert(0, suffix)
                    return (PurePosixPath(folder) / (name + suffix)).as_posix()
        return None

    return find


def locate_file(name: str, root: Path, find_file: Callable[[str], str | None]) -> tuple[Path, str]:
    """Absolute path and relative name of an existing file below the root.

    Args:
        name: A path relative to the root, an absolute path, or a `file:` URI.
        root: The folder, resolved.
        find_file: See `name_finder`.

    Raises:
        RejectedFileError: `bad_row`, `bad_name`, `outside_root` or `missing_file`.
    """
    if name.lower().startswith("file:"):
        name = _read_file_uri(name)
    if "\x00" in name:
        raise RejectedFileError("bad_row", "the file's name holds a zero byte")
    check_file_name(name)
    plain = name.replace("\\", "/")
    path = root / PurePosixPath(plain)
    if not is_below(path, root):
        raise RejectedFileError("outside_root", f"{name} is not below the folder of the files")
    if not _is_file(path):
        actual = None if path.is_absolute() and plain.startswith("/") else find_file(plain)
        if actual is None or not _is_file(root / actual) or not is_below(root / actual, root):
            raise RejectedFileError("missing_file", f"there is no file {name}")
        path = root / actual
    # Without `..` and `.`, so that one file has one name.
    relative = Path(*(part for part in path.relative_to(root).parts if part != "."))
    if ".." in relative.parts:
        relative = path.resolve().relative_to(root)
    return root / relative, relative.as_posix()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _list_folders(root: Path) -> list[str]:
    """The folder itself and its visible subfolders, relative; at most `MAX_FOLDERS`."""
    names: list[str] = []
    for folder, subfolders, _ in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        names.append(Path(folder).relative_to(root).as_posix())
        if len(names) == MAX_FOLDERS:
            break
    return names


def _read_file_uri(uri: str) -> str:
    """The path of a `file:` URI of this machine (RFC 8089).

    Raises:
        RejectedFileError: `outside_root`, if it names another machine; `bad_row`.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise RejectedFileError("bad_row", f"{uri[:100]} is not a URI") from error
    if parts.netloc not in ("", "localhost"):
        raise RejectedFileError("outside_root", f"{uri[:100]} is a file of another machine")
    return unquote(parts.path)
