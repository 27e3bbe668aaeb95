"""Files that batches name by URL: checked, listed, and downloaded to a temporary folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from pinpoint.atomic_files import PARTIAL_SUFFIX, open_atomic
from pinpoint.errors import ConfigurationError, RemoteFileError, UnavailableError
from pinpoint.outgoing.buckets import Buckets, ObjectStore
from pinpoint.outgoing.guard import Guard, RequestRules
from pinpoint.outgoing.name_resolution import Resolve, resolve_name
from pinpoint.outgoing.urls import URL_REFUSED, parse_url
from pinpoint.outgoing_settings import RemoteSettings, split_list
from pinpoint.records import KeyPage

_WEB_SCHEMES: Final = ("http://", "https://")
_OBJECT_SCHEMES: Final = ("s3://", "gs://")


class RemoteFiles:
    """Implements `ports.RemoteFileSource`; thread-safe.

    Args:
        settings: Allowed hosts, buckets and networks.
        folder: Folder of temporary files; created by the first download.
        max_bytes: Maximum size of a file, bytes.
        resolve: Resolves names.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        folder: Path,
        max_bytes: int,
        resolve: Resolve = resolve_name,
    ) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        rules = RequestRules(
            hosts=split_list(settings.allowed_hosts),
            schemes=settings.schemes,
            ports=settings.ports,
            networks=settings.networks,
        )
        self._guard = Guard(rules, timeout_s=settings.timeout_s, resolve=resolve)
        self._buckets = _open_buckets(settings, resolve)

    def check_locator(self, uri: str) -> str:
        """Check the URL of a file without a request; returns its normalized form.

        Raises:
            RemoteFileError: `url_refused`.
        """
        if uri.startswith(_OBJECT_SCHEMES):
            return str(self._buckets.check_object_url(uri))
        return str(self._guard.check_url(uri))

    def check_prefix(self, uri: str) -> str:
        """Check the URL of a bucket or prefix without a request; returns its normalized form.

        Raises:
            RemoteFileError: `url_refused`.
        """
        return str(self._buckets.check_object_url(uri))

    def list_keys(self, uri: str, after_key: str | None) -> KeyPage:
        """List a page of keys; see `Buckets.list_keys`."""
        return self._buckets.list_keys(uri, after_key)

    def fetch_bytes(self, uri: str, max_bytes: int | None = None) -> bytes:
        """Download a file into memory.

        Args:
            uri: `https://…`, `s3://bucket/key` or `gs://bucket/key`.
            max_bytes: Maximum size; default: that of a file of the gallery.

        Raises:
            RemoteFileError: The reason is the error code; see `Guard.fetch_to_file`.
            UnavailableError: The temporary folder cannot be written.
        """
        path = Path(self._download_file(uri, self._max_bytes if max_bytes is None else max_bytes))
        try:
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    def path(self, uri: str) -> str:
        """Path of a local copy; it stays until `discard` or `discard_older_than`.

        Raises:
            RemoteFileError: The reason is the error code; see `Guard.fetch_to_file`.
            UnavailableError: The temporary folder cannot be written.
        """
        path = self._path_of(uri)
        # Checked again: the settings may have changed since the copy was made.
        self.check_locator(uri)
        return str(path) if path.is_file() else self._download_file(uri, self._max_bytes, path)

    def discard(self, uri: str) -> None:
        """Delete the local copy of this process, if there is one."""
        self._path_of(uri).unlink(missing_ok=True)

    def discard_older_than(self, older_than_s: float) -> int:
        """Delete local copies of all processes that are older than this; returns their number."""
        cutoff, num_deleted = time.time() - older_than_s, 0
        for path in self._folder.glob("*"):
            try:
                if path.stat().st_mtime < cutoff:
                    path.unlink()
                    num_deleted += 1
            except FileNotFoundError:  # deleted after it was listed
                continue
        return num_deleted

    def _path_of(self, uri: str) -> Path:
        # One for each process: another worker may discard its copy at any time.
        digest = hashlib.sha256(uri.encode(errors="surrogatepass")).hexdigest()
        return self._folder / f"{digest}.{os.getpid()}"

    def _download_file(self, uri: str, max_bytes: int, path: Path | None = None) -> str:
        target = path or self._folder / f"{os.urandom(16).hex()}{PARTIAL_SUFFIX}"
        fetch = self._find_fetcher(uri)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open_atomic(target, durable=False, mode=0o600) as file:
                fetch(file, max_bytes)
        except OSError as error:
            raise UnavailableError(
                "the folder of downloads cannot be written; free space on its disk",
                reason="downloads_unavailable",
            ) from error
        return str(target)

    def _find_fetcher(self, uri: str) -> Callable[[IO[bytes], int], None]:
        if uri.startswith(_OBJECT_SCHEMES):
            return lambda file, limit: self._buckets.fetch_object(uri, file, max_bytes=limit)
        if uri.lower().startswith(_WEB_SCHEMES):
            return lambda file, limit: self._guard.fetch_to_file(uri, file, max_bytes=limit)
        raise RemoteFileError("the URL has another scheme", reason=URL_REFUSED)


def _open_buckets(settings: RemoteSettings, resolve: Resolve) -> Buckets:
    def open_store(
        endpoint: str,
        region: str,
        access_key: str | None,
        secret_key: str | None,
        session_token: str | None = None,
    ) -> ObjectStore:
        try:
            url = parse_url(endpoint)
        except RemoteFileError as error:
            raise ConfigurationError("the endpoint of an object store is no URL") from error
        rules = RequestRules(
            hosts=(url.host,),
            schemes=(url.scheme,),
            ports=(url.port,),
            networks=settings.networks,
        )
        return ObjectStore(
            endpoint=f"{url.scheme}://{url.authority}",
            region=region,
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
            guard=Guard(rules, timeout_s=settings.timeout_s, resolve=resolve),
        )

    s3_endpoint = settings.s3_endpoint_url or f"https://s3.{settings.s3_region}.amazonaws.com"
    return Buckets(
        {
            "s3": open_store(
                s3_endpoint,
                settings.s3_region,
                settings.s3_access_key,
                settings.s3_secret_key,
                settings.s3_session_token,
            ),
            "gs": open_store(
                settings.gs_endpoint_url, "auto", settings.gs_access_key, settings.gs_secret_key
            ),
        },
        split_list(settings.allowed_buckets),
    )
