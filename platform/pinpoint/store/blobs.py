"""Blobs as plain files: one folder for each organisation, one file for each blob."""

from __future__ import annotations

import io
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from pinpoint.errors import NotFound, Unavailable

_PIECE_BYTES: Final = 1_000_000
_LOCATOR = re.compile(r"blob:([0-9a-f-]{36})/([0-9a-f]{32})")


class FolderBlobs:
    """`ports.BlobStore` below a folder.

    Args:
        folder: Made at the first `put`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their locator.

        Raises:
            Unavailable: The folder takes nothing now: its disk is full, or gone.
        """
        return self.put_file(organization_id, io.BytesIO(data))

    def put_file(self, organization_id: UUID, source: BinaryIO) -> str:
        """As `put`, read from a file piece by piece, so that memory never holds it whole."""
        name = uuid4().hex
        path = self._file(str(organization_id), name)
        half = path.with_suffix(".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb") as file:
                shutil.copyfileobj(source, file, _PIECE_BYTES)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError as error:
            with suppress(OSError):  # its folder may be what is missing
                half.unlink()
            raise Unavailable(
                "the folder for blobs takes no bytes; make room on its disk",
                reason="blobs_unavailable",
            ) from error
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
        """Remove bytes; removing what is not there is no error, nor is a name that no blob has."""
        try:
            path = self._named(locator)
        except NotFound:
            return
        path.unlink(missing_ok=True)

    def old(self, older_than_s: float) -> Iterator[str]:
        """Locators of all blobs that were put longer ago than this."""
        for path in self._files("*", older_than_s):
            locator = f"blob:{path.parents[1].name}/{path.name}"
            if _LOCATOR.fullmatch(locator):
                yield locator

    def drop_halves(self, older_than_s: float) -> int:
        """Remove what a `put` that was killed has left; returns how many files."""
        halves = list(self._files("*.part", older_than_s))
        for path in halves:
            path.unlink(missing_ok=True)
        return len(halves)

    def _files(self, pattern: str, older_than_s: float) -> Iterator[Path]:
        before = time.time() - older_than_s
        for path in self._folder.glob(f"*/*/{pattern}"):
            try:
                if path.is_file() and path.stat().st_mtime < before:
                    yield path
            except FileNotFoundError:  # deleted since it was listed
                continue

    def erase(self, organization_id: UUID) -> None:
        """Remove all bytes of an organisation; removing what is not there is no error."""
        folder = self._folder / str(organization_id)
        if folder.exists():
            shutil.rmtree(folder)

    def _named(self, locator: str) -> Path:
        match = _LOCATOR.fullmatch(locator)
        if match is None:
            raise NotFound(f"{locator!r} is no blob locator")
        return self._file(match[1], match[2])

    def _file(self, organization: str, name: str) -> Path:
        # 256 folders, so that none holds millions of entries.
        return self._folder / organization / name[:2] / name
