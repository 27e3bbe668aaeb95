"""Uploads a folder or a manifest in requests within the server's limits.

A file that cannot be sent does not stop the others; it is returned as rejected, with an error code.
After a lost response, the request is repeated without the files that the server has received. A
second upload of the same file has no effect, because name and bytes are its identity.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

from pinpoint.client.override_fields import collect_fields
from pinpoint.client.retry import RetryPolicy
from pinpoint.client.transport import Json
from pinpoint.errors import BadRequestError, ForbiddenError, TooLargeError
from pinpoint.media.checks import rejected
from pinpoint.media.files import find_photos, find_sibling_tracks
from pinpoint.media.manifests.manifest_choice import find_one_manifest
from pinpoint.media.manifests.manifest_files import is_manifest, read_manifest
from pinpoint.media.sidecar_files import sidecar_finder
from pinpoint.records import ReadOptions, Rejected
from pinpoint.settings_file import load_settings

MAX_FILES_PER_REQUEST: Final = 64
MAX_BYTES_PER_REQUEST: Final = 64_000_000
MAX_NAME_LENGTH: Final = 512
_MIN_POLL_S: Final = 0.1
_MAX_POLL_S: Final = 2.0

BatchCallback = Callable[[Json], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file to send with known metadata; `name` is its identity in the source."""

    name: str
    path: Path
    metadata_override: Json = field(default_factory=dict)


class BatchClient(Protocol):
    """The methods of `Client` that an upload needs."""

    def open_batch(self, source: str, /) -> Json:
        """Open a batch in a source."""
        ...

    def upload(
        self,
        batch_id: str | UUID,
        files: Mapping[str, Path | bytes],
        metadata_overrides: Mapping[str, Mapping[str, Any]] | None = None,
        /,
    ) -> Json:
        """Add files to a batch."""
        ...

    def close_batch(self, batch_id: str | UUID, /) -> Json:
        """Close a batch to further files."""
        ...

    def batch(self, batch_id: str | UUID, /) -> Json:
        """Return a batch with the counts of its items."""
        ...

    def items(self, batch_id: str | UUID, /, *, after_position: int = 0, limit: int = 200) -> Json:
        """Return a page of the items of a batch."""
        ...


def upload_folder(  # noqa: PLR0913 - see long_functions.toml
    client: BatchClient,
    path: Path,
    *,
    source: str,
    wait: bool,
    on_progress: BatchCallback,
    manifest: Path | None = None,
    use_manifest: bool = True,
    root: str | None = None,
    options: ReadOptions | None = None,
) -> Json:
    """Upload a folder; see `Client.ingest_folder`.

    Raises:
        BadRequestError: There is nothing to upload.
        BadManifestError: The manifest cannot be read at all.
        UnavailableError: The server was unavailable for longer than the retry policy allows.
    """
    check_root_name(root)
    if manifest is None:
        manifest = choose_manifest(path, use_manifest=use_manifest)
        only_rows = manifest == path
    else:
        only_rows = True
    uploads = find_uploads(path, manifest, only_rows=only_rows, root=root, options=options)
    batch = upload_files(client, uploads, source=source, wait=wait, on_progress=on_progress)
    return {**batch, "manifest": None if manifest is None else manifest.name}


def upload_files(
    client: BatchClient,
    uploads: Iterable[Upload | Rejected],
    *,
    source: str,
    wait: bool,
    on_progress: BatchCallback,
) -> Json:
    """Upload files as one batch; see `upload_folder`. Returns the batch without `manifest`."""
    sendable, rejections = _partition_uploads(uploads)
    if not sendable and not rejections:
        raise BadRequestError("no files to upload", reason="no_files")
    # Not repeated: after a lost response, an empty batch would stay open.
    batch = client.open_batch(source)
    patience = RetryPolicy()
    uploader = _BatchUploader(client, batch["id"], patience)
    for chunk in split_into_requests(sendable):
        rejections += uploader.send(chunk)
        if on_progress is not None:
            on_progress(patience.call(lambda: client.batch(batch["id"])))
    batch = patience.call(lambda: client.close_batch(batch["id"]))
    batch = wait_until_processed(client.batch, batch, on_progress, patience) if wait else batch
    return {
        **batch,
        "not_sent": [dataclasses.asdict(rejection) for rejection in rejections],
        "repeated": patience.repeated,
    }


def choose_manifest(path: Path, *, use_manifest: bool) -> Path | None:
    """Choose the manifest to read: `path` itself or the one in the folder.

    Raises:
        BadRequestError: The folder contains several manifests.
    """
    if path.is_file() and is_manifest(path):
        return path
    return find_one_manifest(path) if use_manifest and path.is_dir() else None


def check_root_name(root: str | None) -> None:
    """Raise `BadRequestError` for a root name that cannot be the first part of an id."""
    if root is not None and (not root.strip() or "/" in root or root in (".", "..")):
        raise BadRequestError(f"{root!r} cannot name a root: give one folder name without a /")


def find_uploads(
    path: Path,
    manifest: Path | None = None,
    *,
    only_rows: bool = True,
    root: str | None = None,
    options: ReadOptions | None = None,
) -> Iterator[Upload | Rejected]:
    """List all files to upload in a stable order; an invalid manifest row is a `Rejected`.

    Args:
        path: A folder, a file or a manifest; names are paths below the folder.
        manifest: A manifest of files below `path`, in that folder or elsewhere.
        only_rows: Whether to omit files that the manifest does not name.
        root: Prefix of the names, except for names from a manifest.
        options: Clock, time zone and columns from the user; tracks are not sent.

    Raises:
        BadRequestError: The path does not exist.
    """
    options = options or ReadOptions()
    named: set[str] = set()
    if manifest is not None:
        folder = path if path.is_dir() else path.parent
        yield from _iterate_manifest(manifest, folder, root, options, named)
        if only_rows:
            return
    if path.is_file():
        sidecars = sidecar_finder(path.parent)(path)
        yield Upload(
            name=_below_root(path.name, root),
            path=path,
            metadata_override=collect_fields(None, options, sidecars),
        )
    elif path.is_dir():
        yield from _walk_folder(path, root, options, named)
    else:
        raise BadRequestError(f"there is no file or folder {path}", reason="no_files")


def _walk_folder(
    folder: Path, root: str | None, options: ReadOptions, named: set[str]
) -> Iterator[Upload | Rejected]:
    """List files below the folder, except those that a manifest has named."""
    find_sidecars = sidecar_finder(folder)
    unreadable: list[Rejected] = []

    def record_unreadable(below: Path, error: OSError) -> None:
        name = f"{below.relative_to(folder).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        unreadable.append(rejected(name, "unreadable_folder", detail))

    for file in find_photos(folder, record_unreadable):
        yield from unreadable
        unreadable.clear()
        name = file.relative_to(folder).as_posix()
        if name not in named:
            metadata_override = collect_fields(None, options, find_sidecars(file))
            yield Upload(
                name=_below_root(name, root), path=file, metadata_override=metadata_override
            )
    yield from unreadable


def _below_root(name: str, root: str | None) -> str:
    return name if root is None else f"{root}/{name}"


def check_upload(path: Path, *, manifest: Path | None, use_manifest: bool) -> None:
    """Raise `BadRequestError` if there is nothing to upload, before anything is created."""
    only_rows = manifest is not None
    manifest = manifest or choose_manifest(path, use_manifest=use_manifest)
    if next(find_uploads(path, manifest, only_rows=only_rows or manifest == path), None) is None:
        raise BadRequestError(f"no files to upload in {manifest or path}", reason="no_files")


def count_photos_with_track(path: Path) -> int:
    """Count photos below a folder that have a GPX track; tracks are not uploaded."""
    if not path.is_dir():
        return 0
    find_track = find_sibling_tracks(path)
    return sum(find_track(photo) is not None for photo in find_photos(path))


def split_into_requests(files: Iterable[Upload]) -> Iterator[list[Upload]]:
    """Split files into requests within `MAX_FILES_PER_REQUEST` and `MAX_BYTES_PER_REQUEST`.

    A larger file is sent alone. A name occurs once per request, because it is the key of the
    overrides.
    """
    chunk: list[Upload] = []
    names: set[str] = set()
    size = 0
    for file in files:
        file_bytes = file.path.stat().st_size
        if chunk and (
            len(chunk) == MAX_FILES_PER_REQUEST
            or size + file_bytes > MAX_BYTES_PER_REQUEST
            or file.name in names
        ):
            yield chunk
            chunk, names, size = [], set(), 0
        chunk.append(file)
        names.add(file.name)
        size += file_bytes
    if chunk:
        yield chunk


def wait_until_processed(
    fetch_batch: Callable[[str], Json],
    batch: Json,
    on_progress: BatchCallback,
    patience: RetryPolicy,
) -> Json:
    """Poll with increasing intervals until each file of a batch has a final status."""
    pause_s, batch_id = _MIN_POLL_S, batch["id"]
    while not batch["is_processed"]:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_POLL_S)
        batch = patience.call(lambda: fetch_batch(batch_id))
        if on_progress is not None:
            on_progress(batch)
    return batch


class _BatchUploader:
    """Sends files to one batch that no other client uses."""

    def __init__(self, client: BatchClient, batch_id: str, patience: RetryPolicy) -> None:
        self._client = client
        self._batch_id = batch_id
        self._patience = patience
        self._num_items = 0
        """Lower bound of the number of files in the batch; their positions start at 1."""
        self._earlier_names: set[str] = set()
        """Names in earlier requests; a manifest may repeat a name with other metadata."""

    def send(self, chunk: list[Upload]) -> list[Rejected]:
        """Send files in one request, or in halves if the request is too large.

        Returns:
            Files that the server rejects because of their size.
        """
        try:
            self._send_chunk(chunk)
        except TooLargeError as error:
            if len(chunk) == 1:
                return [rejected(chunk[0].name, "too_large", error.message)]
            middle = len(chunk) // 2
            return [*self.send(chunk[:middle]), *self.send(chunk[middle:])]
        except OSError as error:
            raise BadRequestError(f"cannot read {error.filename}: {error.strerror}") from error
        return []

    def _send_chunk(self, chunk: list[Upload]) -> None:
        """Send one request; after a lost response, repeat it with the files not yet received."""
        is_retry = False

        def send_remaining() -> None:
            nonlocal is_retry
            uploaded = self._list_uploaded_names() - self._earlier_names if is_retry else set()
            is_retry = True
            remaining = [file for file in chunk if file.name not in uploaded]
            if not remaining:
                return
            response = self._client.upload(
                self._batch_id,
                {file.name: file.path for file in remaining},
                {file.name: file.metadata_override for file in remaining if file.metadata_override}
                or None,
            )
            self._num_items = int(response["batch"]["items"])

        self._patience.call(send_remaining)
        self._earlier_names.update(file.name for file in chunk)

    def _list_uploaded_names(self) -> set[str]:
        """Names of files that the server has received since its last response."""
        try:
            page = self._client.items(self._batch_id, after_position=self._num_items, limit=1_000)
        except ForbiddenError:  # an ingest-only key: repeat all files, which is safe
            return set()
        return {item["file"] for item in page["items"]}


def _iterate_manifest(
    manifest: Path, folder: Path, root: str | None, options: ReadOptions, named: set[str]
) -> Iterator[Upload | Rejected]:
    """List rows of a manifest and add the files that they name to `named`."""
    resolved_folder, find_sidecars = folder.resolve(), sidecar_finder(folder)
    for row in read_manifest(manifest, load_settings().media, options, folder=folder):
        if isinstance(row, Rejected):
            named.add(row.file)
            yield row
            continue
        named.add(row.file.relative_to(resolved_folder).as_posix())
        has_external_id = row.external_id != row.name
        name = row.external_id if has_external_id else _below_root(row.name, root)
        metadata_override = collect_fields(row.metadata_override, options, find_sidecars(row.file))
        yield Upload(name=name, path=row.file, metadata_override=metadata_override)


def _partition_uploads(uploads: Iterable[Upload | Rejected]) -> tuple[list[Upload], list[Rejected]]:
    """Split files into those that can be sent and rejections."""
    sendable: list[Upload] = []
    rejections: list[Rejected] = []
    for upload in uploads:
        rejection = upload if isinstance(upload, Rejected) else _reject_unsendable(upload)
        if rejection is not None:
            rejections.append(rejection)
        elif isinstance(upload, Upload):
            sendable.append(upload)
    return sendable, rejections


def _reject_unsendable(file: Upload) -> Rejected | None:
    display_name = file.name.encode("utf-8", "replace").decode()[:300]
    if not file.name.isprintable() or len(file.name) > MAX_NAME_LENGTH:
        detail = (
            f"its name has control characters or more than {MAX_NAME_LENGTH} characters; rename it"
        )
        return rejected(display_name, "missing_file", detail)
    if "\\" in file.name or "%22" in file.name:
        # Over HTTP a backslash may mean a slash, and %22 means a quotation mark.
        detail = "a backslash or %22 would be changed during upload; rename it"
        return rejected(display_name, "bad_name", detail)
    try:
        with file.path.open("rb"):
            return None
    except OSError as error:
        return rejected(display_name, "missing_file", f"it cannot be opened: {error.strerror}")
