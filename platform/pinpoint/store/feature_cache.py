"""Bounded cache of local features on the disk of one host.

One file for each image, version and matcher:
`<folder>/<organization>/<2 digits>/<image>.<version>.<matcher>`. A file is written under another
name and renamed, so that readers see whole files only. Its modification time is the time of its
creation and its access time the time of its last use; both are set explicitly, because file systems
are mounted without access times.

The worker that erases an image deletes its files on its host (`delete`). Other hosts do not learn
of the deletion. Therefore a file lives at most `max_age_s` since its creation, however often it is
used: `get` refuses older ones, and a thread of each process (`start_pruning`) deletes them every
ten minutes, the first time at its start. So the features of a deleted image leave every host that
runs Pinpoint within `max_age_s` and ten minutes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.atomic_files import PARTIAL_SUFFIX, write_atomic
from pinpoint.file_locks import try_lock
from pinpoint.records import LocalFeatures
from pinpoint.store.feature_format import BadFeaturesError, decode_features, encode_features

_log = logs.get_logger(__name__)

_DIGEST_DIGITS: Final = 16
_PRUNE_INTERVAL_S: Final = 600.0
_FULL_SHARE: Final = 0.85
"""Share of the maximum size from which `prune` deletes files that are not old."""
_PRUNED_SHARE: Final = 0.75
"""Share of the maximum size that it leaves then."""
_WRITTEN_SHARE: Final = 0.05
"""Share of the maximum size that a process writes before it prunes; three processes that write at
once stay within the maximum."""
_PARTIAL_AGE_S: Final = 600.0
"""Age at which a partial file belongs to a process that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CachedFile:
    """A file of the cache."""

    path: Path
    size: int
    created_at: float
    used_at: float


class FolderFeatureCache:
    """Implements `ports.FeatureCache` below a folder; thread-safe and safe between processes.

    Args:
        folder: Created by the first `put`.
        matcher_digest: Digest of the matcher that computes the features.
        max_bytes: Maximum size of all files; 0 stores nothing.
        max_age_s: Maximum age of a file, seconds.
    """

    def __init__(
        self, folder: Path, *, matcher_digest: str, max_bytes: int, max_age_s: float
    ) -> None:
        self._folder = folder
        self._digest = matcher_digest[:_DIGEST_DIGITS]
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._written_bytes = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start_pruning(self) -> None:
        """Start the thread that prunes now and every ten minutes, or more often for young files."""
        self._thread = threading.Thread(
            target=self._prune_repeatedly, name="feature cache", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; the files stay."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def get(self, organization_id: UUID, image_id: UUID, version: int) -> LocalFeatures | None:
        """Cached features of this version of an image; None if there are none.

        A damaged or old file is deleted. A file that cannot be read is logged: the cache only saves
        time.
        """
        path = self._path_of(organization_id, image_id, version)
        try:
            created_at = path.stat().st_mtime
            data = path.read_bytes()
            if abs(time.time() - created_at) > self._max_age_s:
                path.unlink(missing_ok=True)
                return None
            features = decode_features(data)
            os.utime(path, (time.time(), created_at))
        except FileNotFoundError:
            return None
        except BadFeaturesError as error:
            _log.warning("cached features are damaged", file=str(path), detail=str(error))
            path.unlink(missing_ok=True)
            return None
        except OSError as error:
            _log.warning("cached features were not read", detail=str(error))
            return None
        return features

    def put(
        self, organization_id: UUID, image_id: UUID, version: int, features: LocalFeatures
    ) -> None:
        """Store features and delete those of other versions of the image.

        A full or missing disk is logged: the cache only saves time.
        """
        data = encode_features(features)
        if len(data) > self._max_bytes * _WRITTEN_SHARE:
            return
        path = self._path_of(organization_id, image_id, version)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, data, durable=False, mode=0o600)
            for other in path.parent.glob(f"{image_id}.*"):
                if other != path:
                    other.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("local features were not cached", detail=str(error))
            return
        with self._lock:
            self._written_bytes += len(data)
            is_due = self._written_bytes > self._max_bytes * _WRITTEN_SHARE
        if is_due:
            self.prune()

    def delete(self, image_ids: Iterable[UUID]) -> None:
        """Delete all versions of images; missing ones are no error."""
        for image_id in image_ids:
            for path in self._folder.glob(f"*/{_subfolder_name(image_id)}/{image_id}.*"):
                path.unlink(missing_ok=True)

    def prune(self) -> int:
        """Delete old files, then the least recently used ones over the maximum size.

        One process prunes at a time; the others return at once.

        Returns:
            The number of deleted files.
        """
        with self._lock:
            self._written_bytes = 0
        if not self._folder.is_dir():
            return 0
        with try_lock(self._folder / "prune.lock") as is_locked:
            if not is_locked:
                return 0
            files, deleted, now = [], 0, time.time()
            for file in self._list_files():
                # A file from the future was written before the clock was set back.
                if abs(now - file.created_at) > self._max_age_for(file.path):
                    file.path.unlink(missing_ok=True)
                    deleted += 1
                else:
                    files.append(file)
            size = sum(file.size for file in files)
            if size <= self._max_bytes * _FULL_SHARE:
                return deleted
            for file in sorted(files, key=lambda file: (file.used_at, file.path)):
                file.path.unlink(missing_ok=True)
                deleted, size = deleted + 1, size - file.size
                if size <= self._max_bytes * _PRUNED_SHARE:
                    break
        return deleted

    def _prune_repeatedly(self) -> None:
        while True:
            try:
                self.prune()
            except OSError as error:
                _log.warning("the feature cache was not pruned", detail=str(error))
            if self._closed.wait(min(_PRUNE_INTERVAL_S, self._max_age_s)):
                return

    def _list_files(self) -> Iterator[_CachedFile]:
        for path in self._folder.glob("*/*/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # deleted after it was listed
                continue
            yield _CachedFile(
                path=path,
                size=status.st_size,
                created_at=status.st_mtime,
                used_at=status.st_atime,
            )

    def _max_age_for(self, path: Path) -> float:
        is_partial = path.name.endswith(PARTIAL_SUFFIX)
        return min(self._max_age_s, _PARTIAL_AGE_S) if is_partial else self._max_age_s

    def _path_of(self, organization_id: UUID, image_id: UUID, version: int) -> Path:
        name = f"{image_id}.{version}.{self._digest}"
        return self._folder / str(organization_id) / _subfolder_name(image_id) / name


def _subfolder_name(image_id: UUID) -> str:
    """One of 256 subfolders, so that none holds millions of entries."""
    return str(image_id)[:2]
