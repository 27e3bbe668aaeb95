"""Blobs as plain files: one folder for each organisation, one file for each blob."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from pinpoint.errors import NotFound

_LOCATOR = re.compile(r"blob:([0-9a-f-]{36})/([0-9a-f]{32})")


class FolderBlobs:
    """`ports.BlobStore` below a folder.

    Args:
        folder: Made at the first `put`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their locator."""
        name = uuid4().hex
        path = self._file(str(organization_id), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        return f"blob:{organization_id}/{name}"

    def path(self, locator: str) -> str:
        """Path of the bytes of a blob, or of a file that is kept by reference.

        Raises:
            NotFound: Nothing under that locator.
        """
        parts = urlsplit(locator)
        if parts.scheme == "file":
            return unquote(parts.path)
        path = self._named(locator)
        if not path.is_file():
            raise NotFound(f"no blob {locator}")
        return str(path)

    def get(self, locator: str) -> bytes:
        """Read bytes back.

        Raises:
            NotFound: Nothing under that locator.
        """
        return Path(self.path(locator)).read_bytes()

    def delete(self, locator: str) -> None:
        """Remove bytes; removing what is not there is no error."""
        self._named(locator).unlink(missing_ok=True)

    def _named(self, locator: str) -> Path:
        match = _LOCATOR.fullmatch(locator)
        if match is None:
            raise NotFound(f"{locator!r} is no blob locator")
        return self._file(match[1], match[2])

    def _file(self, organization: str, name: str) -> Path:
        # 256 folders, so that none holds millions of entries.
        return self._folder / organization / name[:2] / name
