"""Blob store on plain files: one folder per organization, one file per blob."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from pinpoint.atomic_files import PARTIAL_SUFFIX, open_atomic
from pinpoint.errors import NotFoundError, UnavailableError
from pinpoint.ports.remote_files import REMOTE_SCHEMES, RemoteFileSource

_COPY_CHUNK_BYTES: Final = 1_000_000
_BLOB_URI = re.compile(r"blob:([0-9a-f-]{36})/([0-9a-f]{32})")


class FolderBlobs:
    """`ports.BlobStore` below a folder.

    Args:
        folder: Created by the first `put`.
        remote_files: Downloads files at URLs; None for processes that may not.
    """

    def __init__(self, folder: Path, remote_files: RemoteFileSource | None = None) -> None:
        self._folder = folder
        self._remote_files = remote_files

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their URI.

        Raises:
            UnavailableError: The folder cannot be written: its disk is full or missing.
        """
        return self.put_file(organization_id, io.BytesIO(data))

    def put_file(self, organization_id: UUID, source: BinaryIO) -> str:
        """Like `put`, but copies a file in chunks, so that it is never entirely in memory."""
        name = uuid4().hex
        path = self._path_of(str(organization_id), name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path, durable=True) as file:
                shutil.copyfileobj(source, file, _COPY_CHUNK_BYTES)
        except OSError as error:
            raise UnavailableError(
                "the blob folder cannot be written; free space on its disk",
                reason="blobs_unavailable",
            ) from error
        return f"blob:{organization_id}/{name}"

    def path(self, uri: str) -> str:
        """Path of a blob, or of a file that is stored by reference.

        A file at a URL is downloaded first.

        Raises:
            NotFoundError: The URI has no blob.
            RemoteFileError: The URL is refused, or its file cannot be fetched.
        """
        if uri.startswith(REMOTE_SCHEMES):
            if self._remote_files is None:
                raise NotFoundError("the file is stored at its URL only")
            return self._remote_files.path(uri)
        parts = urlsplit(uri)
        if parts.scheme == "file":
            return unquote(parts.path)
        path = self._blob_path(uri)
        if not path.is_file():
            raise NotFoundError(f"no blob {uri}")
        return str(path)

    def get(self, uri: str) -> bytes:
        """Read bytes back.

        Raises:
            NotFoundError: The URI has no blob.
        """
        return Path(self.path(uri)).read_bytes()

    def delete(self, uri: str) -> None:
        """Delete a blob; a missing blob or an invalid name is no error."""
        try:
            path = self._blob_path(uri)
        except NotFoundError:
            return
        path.unlink(missing_ok=True)

    def discard_downloads(self, uris: Sequence[str]) -> None:
        """Delete the local copies of files at URLs; other URIs change nothing."""
        if self._remote_files is not None:
            for uri in uris:
                if uri.startswith(REMOTE_SCHEMES):
                    self._remote_files.discard(uri)

    def list_older_than(self, older_than_s: float) -> Iterator[str]:
        """URIs of all blobs that are older than this."""
        for path in self._find_older_than("*", older_than_s):
            uri = f"blob:{path.parents[1].name}/{path.name}"
            if _BLOB_URI.fullmatch(uri):
                yield uri

    def delete_partial(self, older_than_s: float) -> int:
        """Delete partial files of interrupted `put` calls, and downloads; returns their number."""
        partial_files = list(self._find_older_than(f"*{PARTIAL_SUFFIX}", older_than_s))
        for path in partial_files:
            path.unlink(missing_ok=True)
        if self._remote_files is None:
            return len(partial_files)
        return len(partial_files) + self._remote_files.discard_older_than(older_than_s)

    def _find_older_than(self, pattern: str, older_than_s: float) -> Iterator[Path]:
        cutoff = time.time() - older_than_s
        for path in self._folder.glob(f"*/*/{pattern}"):
            try:
                if path.is_file() and path.stat().st_mtime < cutoff:
                    yield path
            except FileNotFoundError:  # deleted after it was listed
                continue

    def erase(self, organization_id: UUID) -> None:
        """Delete all blobs of an organization; a missing folder is no error."""
        folder = self._folder / str(organization_id)
        if folder.exists():
            shutil.rmtree(folder)

    def _blob_path(self, uri: str) -> Path:
        match = _BLOB_URI.fullmatch(uri)
        if match is None:
            raise NotFoundError(f"{uri!r} is not the URI of a blob")
        return self._path_of(match[1], match[2])

    def _path_of(self, organization: str, name: str) -> Path:
        # 256 subfolders, so that none holds millions of entries.
        return self._folder / organization / name[:2] / name
