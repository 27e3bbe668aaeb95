"""Files that the catalog has and the folder has not any more."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pinpoint.ports import CatalogueReader
from pinpoint.records import Source, SourceRoot

ASK_ABOVE: Final = 0.1
"""Share of the known files above which a removal is confirmed by a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFiles:
    """What became of the files that were ingested from a folder."""

    external_ids: tuple[str, ...]
    """Those whose file is gone, by id."""
    known: int
    """How many files the catalog has below the folder."""

    @property
    def many(self) -> bool:
        """Whether so many are gone that the folder itself may be the wrong one."""
        return len(self.external_ids) > ASK_ABOVE * self.known


def find_missing_files(
    catalogue: CatalogueReader, source: Source, root: SourceRoot, folder: Path
) -> MissingFiles:
    """Files of the catalog that were ingested from below a folder and are not there any more.

    A file counts as gone only where the system says that there is none; in a folder that cannot
    be opened nothing is.

    Args:
        catalogue: The organization's rows.
        source: The source.
        root: One of its roots.
        folder: The root's folder, or one below it.
    """
    below = folder.relative_to(root.path).as_posix()
    prefix = root.external_id("" if below == "." else f"{below}/")
    others = tuple(f"{other.name}/" for other in source.roots if other.name and other != root)
    num_known, missing = 0, []
    for external_id, locator in catalogue.source_files(source.id, prefix):
        stored_path = file_of_locator(locator)
        # Under a root without a name an id of somebody's choice looks like a path.
        if not root.name and (stored_path is None or external_id.startswith(others)):
            continue
        num_known += 1
        relative = external_id.removeprefix(f"{root.name}/") if root.name else external_id
        names = {relative, *(unicodedata.normalize(form, relative) for form in ("NFC", "NFD"))}
        paths = [Path(root.path) / name for name in names] + ([stored_path] if stored_path else [])
        if all(is_gone(path) for path in paths):
            missing.append(external_id)
    return MissingFiles(external_ids=tuple(missing), known=num_known)


def has_visible_entries(folder: Path) -> bool:
    """Whether a folder can be opened and holds anything: one that is not mounted holds nothing."""
    try:
        return any(not name.startswith(".") for name in os.listdir(folder))
    except OSError:
        return False


def is_gone(path: Path) -> bool:
    """Whether there is surely nothing at a path; False where that cannot be known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def file_of_locator(locator: str | None) -> Path | None:
    """The path of a `file:` locator, None for every other."""
    if locator is None or not locator.startswith("file:"):
        return None
    return Path(unquote(urlsplit(locator).path))
