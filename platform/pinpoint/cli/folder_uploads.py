"""Reads a folder or a manifest for an upload: files, metadata from rows, sidecars and options.

`pinpoint_client.uploads` sends the files. A file that cannot be sent does not stop the others; it
is returned as rejected, with an error code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from pinpoint.cli.override_fields import collect_fields
from pinpoint.errors import BadRequestError
from pinpoint.media.checks import rejected
from pinpoint.media.files import find_photos, find_sibling_tracks
from pinpoint.media.manifests.manifest_choice import find_one_manifest
from pinpoint.media.manifests.manifest_files import is_manifest, read_manifest
from pinpoint.media.sidecar_files import sidecar_finder
from pinpoint.records import ReadOptions, Rejected
from pinpoint.settings_file import load_settings
from pinpoint_client import uploads
from pinpoint_client.calls.call import Flow
from pinpoint_client.transport import Json
from pinpoint_client.uploads import BatchCallback, RejectedUpload, Upload


def upload_folder(  # noqa: PLR0913 - see long_functions.toml
    path: Path,
    *,
    source: str,
    wait: bool,
    on_progress: BatchCallback,
    manifest: Path | None = None,
    use_manifest: bool = True,
    root: str | None = None,
    options: ReadOptions | None = None,
) -> Flow[Json]:
    """Upload a folder; see `ApiClient.ingest_folder`.

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
    files = find_uploads(path, manifest, only_rows=only_rows, root=root, options=options)
    batch = yield from upload_files(files, source=source, wait=wait, on_progress=on_progress)
    return {**batch, "manifest": None if manifest is None else manifest.name}


def upload_files(
    files: Iterable[Upload | Rejected], *, source: str, wait: bool, on_progress: BatchCallback
) -> Flow[Json]:
    """Upload files as one batch; see `upload_folder`. Returns the batch without `manifest`."""
    sendable: list[Upload] = []
    rejections: list[RejectedUpload] = []
    for file in files:
        if isinstance(file, Upload):
            sendable.append(file)
        else:
            rejections.append(RejectedUpload(**dataclasses.asdict(file)))
    return (
        yield from uploads.upload_files(
            sendable, source, rejections=rejections, wait=wait, on_progress=on_progress
        )
    )


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
