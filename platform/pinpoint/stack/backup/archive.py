"""File format of a backup: one folder, or one plain tar archive, with the same names in both.

    manifest.json      versions, counts, bundle; written last
    SHA256SUMS         digests of all other files, in the format of `sha256sum -c`
    database.dump      PostgreSQL's custom format
    webhook.key        key that encrypts the secrets of webhooks, if there is one
    blobs/…  bundles/…  verification/…

A backup is untrusted input: its names are checked against the names that we write, and only
regular files are opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, Final, Protocol

from pinpoint.atomic_files import open_atomic
from pinpoint.errors import BadRequestError, ConflictError

MANIFEST: Final = "manifest.json"
CHECKSUMS: Final = "SHA256SUMS"
DUMP: Final = "database.dump"
WEBHOOK_KEY: Final = "webhook.key"
_MAX_MANIFEST_BYTES: Final = 10_000_000
_CHUNK_BYTES: Final = 1 << 20

_MEMBER_NAME: Final = re.compile(
    r"database\.dump|webhook\.key"
    r"|blobs/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{2}/[0-9a-f]{32}"
    r"|verification/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json"
    r"|bundles/[A-Za-z0-9][A-Za-z0-9._-]{0,127}/[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
)


class ArchiveWriter(Protocol):
    """Writer of a backup."""

    def put(self, name: str, data: IO[bytes], size: int) -> str:
        """Add a file; return its SHA-256 in hex."""
        ...

    def close(self) -> None:
        """Make the written files durable."""
        ...


class _HashingReader:
    """Stream that computes the digest of the bytes it has read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


class FolderArchiveWriter:
    """Writes a backup into a new folder.

    Args:
        folder: Created here; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder

    def put(self, name: str, data: IO[bytes], size: int) -> str:
        """Add a file; return its SHA-256 in hex."""
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hashing = _HashingReader(data)
        with _create_private_file(path) as file:
            shutil.copyfileobj(hashing, file, _CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())
        return hashing.digest.hexdigest()

    def close(self) -> None:
        """Make the written files durable."""


class TarArchiveWriter:
    """Writes a backup into one tar archive, uncompressed because images are compressed already.

    Args:
        path: Created here; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = _create_private_file(path)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)

    def put(self, name: str, data: IO[bytes], size: int) -> str:
        """Add a file; return its SHA-256 in hex."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        hashing = _HashingReader(data)
        self._tar.addfile(member, hashing)
        return hashing.digest.hexdigest()

    def close(self) -> None:
        """Make the written files durable."""
        with self._file:
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())


class ArchiveReader:
    """A backup on disk.

    Args:
        path: Folder or archive.

    Raises:
        BadRequestError: It is neither, or contains a file that no backup contains.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        self._tar: tarfile.TarFile | None = None
        if path.is_file():
            try:
                self._tar = tarfile.TarFile(path)
                self._list_members(self._tar)
            except (tarfile.TarError, OSError) as error:
                self.close()
                raise BadRequestError(f"{path} is not a complete tar archive") from error
        elif not path.is_dir():
            raise BadRequestError(f"no backup at {path}: give the folder or file that was written")

    def _list_members(self, tar: tarfile.TarFile) -> None:
        for member in tar:
            if not member.isreg() or member.name in self._members:
                self.close()
                raise BadRequestError(
                    f"{self._path} is no backup: {member.name!r} cannot be in one"
                )
            self._members[member.name] = member

    def open(self, name: str) -> IO[bytes]:
        """Open one file of the backup.

        Raises:
            BadRequestError: The file is missing or is not a regular file.
        """
        if self._tar is not None:
            member = self._members.get(name)
            data = None if member is None else self._tar.extractfile(member)
            if data is None:
                raise BadRequestError(f"{self._path} has no {name}: the backup is incomplete")
            return data
        path = self._path / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise BadRequestError(f"{path} is not a regular file")
            return path.open("rb")
        except OSError as error:
            raise BadRequestError(f"{path} cannot be read ({error.strerror})") from error

    def text(self, name: str) -> str:
        """Read a small file as text."""
        with self.open(name) as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
        if len(data) > _MAX_MANIFEST_BYTES:
            raise BadRequestError(f"{name} of {self._path} is too large")
        return data.decode("utf-8", errors="replace")

    def sums(self) -> dict[str, str]:
        """SHA-256 by file name, as listed in the backup.

        Raises:
            BadRequestError: A line of the list is malformed, repeated or names an unknown file.
        """
        digests: dict[str, str] = {}
        with self.open(CHECKSUMS) as file:
            for line in file:
                match = re.fullmatch(r"([0-9a-f]{64})  (\S+)\n?", line.decode(errors="replace"))
                if match is None or not is_backup_file(match[2]) or match[2] in digests:
                    raise BadRequestError(
                        f"{CHECKSUMS} of {self._path} has an invalid line: {line!r}"
                    )
                digests[match[2]] = match[1]
        return digests

    def close(self) -> None:
        """Close the archive."""
        if self._tar is not None:
            self._tar.close()


def is_backup_file(name: str) -> bool:
    """Whether a backup can contain a file with this name."""
    return _MEMBER_NAME.fullmatch(name) is not None


def hash_stream(data: IO[bytes]) -> str:
    """SHA-256 in hex of the remaining bytes of a stream."""
    hashing = _HashingReader(data)
    while hashing.read(_CHUNK_BYTES):
        pass
    return hashing.digest.hexdigest()


def copy_file(data: IO[bytes], target: Path) -> str:
    """Copy a stream to a file durably and atomically; return its SHA-256 in hex."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hashing = _HashingReader(data)
    with open_atomic(target, durable=True, mode=0o600) as file:
        shutil.copyfileobj(hashing, file, _CHUNK_BYTES)
    return hashing.digest.hexdigest()


def require_free_path(path: Path) -> None:
    """Raise `ConflictError` if the path exists: a backup never replaces another file."""
    if os.path.lexists(path):
        raise ConflictError(f"{path} already exists; choose another name")
    if not path.parent.is_dir():
        raise BadRequestError(f"there is no folder {path.parent}")


def _create_private_file(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
