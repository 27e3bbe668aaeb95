"""Files in the catalog that no longer exist in their folder."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pinpoint.ports import CatalogReader
from pinpoint.records import Source, SourceRoot

CONFIRM_ABOVE_SHARE: Final = 0.1
"""Share of missing files above which a user must confirm their removal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFiles:
    """Missing files among those that were ingested from a folder."""

    external_ids: tuple[str, ...]
    """Ids of the missing files."""
    num_ingested: int
    """Number of files that the catalog has below the folder."""

    @property
    def is_suspicious(self) -> bool:
        """Whether so many files are missing that the folder may be the wrong one."""
        return len(self.external_ids) > CONFIRM_ABOVE_SHARE * self.num_ingested


def find_missing_files(
    catalog: CatalogReader, source: Source, root: SourceRoot, folder: Path
) -> MissingFiles:
    """Files in the catalog that were ingested from below a folder and no longer exist.

    A file is missing only if the system reports that it does not exist. In a folder that cannot be
    opened, no file is missing.

    Args:
        catalog: Catalog rows of the organization.
        source: The source.
        root: One of its roots.
        folder: The root's folder, or one below it.
    """
    below = folder.relative_to(root.path).as_posix()
    prefix = root.external_id("" if below == "." else f"{below}/")
    others = tuple(f"{other.name}/" for other in source.roots if other.name and other != root)
    num_ingested, missing = 0, []
    for external_id, uri in catalog.source_files(source.id, prefix):
        stored_path = path_of_uri(uri)
        # Under a root without a name, an id chosen by a user looks like a path.
        if not root.name and (stored_path is None or external_id.startswith(others)):
            continue
        num_ingested += 1
        relative = external_id.removeprefix(f"{root.name}/") if root.name else external_id
        names = {relative, *(unicodedata.normalize(form, relative) for form in ("NFC", "NFD"))}
        paths = [Path(root.path) / name for name in names] + ([stored_path] if stored_path else [])
        if all(is_gone(path) for path in paths):
            missing.append(external_id)
    return MissingFiles(external_ids=tuple(missing), num_ingested=num_ingested)


def has_visible_entries(folder: Path) -> bool:
    """Whether a folder can be opened and is not empty; an unmounted folder is empty."""
    try:
        return any(not name.startswith(".") for name in os.listdir(folder))
    except OSError:
        return False


def is_gone(path: Path) -> bool:
    """Whether a path certainly does not exist; False if that is unknown."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def path_of_uri(uri: str | None) -> Path | None:
    """The path of a `file:` URI, None for any other."""
    if uri is None or not uri.startswith("file:"):
        return None
    return Path(unquote(urlsplit(uri).path))
