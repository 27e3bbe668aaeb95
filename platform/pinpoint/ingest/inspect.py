# ruff: noqa: A005 - named after the command
"""Reads every photo of a folder or manifest and reports the result; stores nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinpoint.iteration import map_in_threads
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.files import check_file_name, find_photos
from pinpoint.media.manifests.manifest_choice import find_one_manifest
from pinpoint.media.manifests.manifest_files import is_manifest, read_manifest
from pinpoint.media.sidecar_files import sidecar_finder
from pinpoint.media.tracks import add_options, find_tracks
from pinpoint.ports import Decoder
from pinpoint.records import CaptureMetadata, MetadataOverride, ReadOptions, Rejected
from pinpoint.settings import MediaSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One file and the result of reading it: either a capture or a rejection."""

    file: str
    """Path relative to the folder or manifest."""
    capture: CaptureMetadata | None
    rejected: Rejected | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A file to read, or a manifest row that is already rejected."""

    file: str
    path: Path | None = None
    metadata_override: MetadataOverride | None = None
    rejected: Rejected | None = None


def inspect_files(
    path: Path,
    decoder: Decoder,
    settings: MediaSettings,
    *,
    manifest: Path | None = None,
    only_rows: bool = False,
    options: ReadOptions | None = None,
    threads: int = 1,
) -> Iterator[Inspected]:
    """Read one file, every photo of a folder, or every row of a manifest, in order.

    A bad file does not stop the iteration. Files that are known not to be photos are skipped; see
    `media.sidecars`.

    Args:
        path: A file, a folder or a manifest.
        decoder: Decodes the files; should have as many child processes as `threads`.
        settings: Limits of manifests.
        manifest: Manifest of the folder at `path`, in it or elsewhere. Its rows are read first,
            then the photos that it does not name. `used_manifest` finds one.
        only_rows: Whether to omit photos that the manifest does not name.
        options: Track, clock, time zone and columns, as given by the caller.
        threads: Number of files read concurrently.

    Raises:
        BadManifestError: A manifest cannot be read at all.
        TooLargeError: A manifest has too many rows.
    """
    work_items = _list_work(path, manifest, settings, options or ReadOptions(), only_rows=only_rows)
    if threads == 1:
        yield from (_inspect_file(work_item, decoder) for work_item in work_items)
        return
    yield from map_in_threads(
        lambda work_item: _inspect_file(work_item, decoder),
        work_items,
        threads=threads,
        ahead=4 * threads,
    )


def used_manifest(path: Path) -> Path | None:
    """The manifest of a path: the path itself, or the only manifest in the folder.

    Raises:
        BadRequestError: The folder contains several manifests.
    """
    if path.is_dir():
        return find_one_manifest(path)
    return path if is_manifest(path) else None


def _list_work(
    path: Path,
    manifest: Path | None,
    settings: MediaSettings,
    options: ReadOptions,
    *,
    only_rows: bool,
) -> Iterable[_Work]:
    if path.is_dir():
        named_files: set[str] = set()
        if manifest is not None:
            yield from _list_rows(manifest, path, settings, options, named_files)
        if not only_rows:
            yield from _list_folder(path, options, named_files)
    elif is_manifest(path):
        yield from _list_rows(path, path.parent, settings, options, set())
    else:
        track = find_tracks(path.parent, options.track)(path)
        sidecars = sidecar_finder(path.parent)(path)
        yield _Work(
            file=path.name,
            path=path,
            metadata_override=add_options(None, track, options, sidecars),
        )


def _list_folder(root: Path, options: ReadOptions, named_files: set[str]) -> Iterator[_Work]:
    """Photos below a folder that are not named by a manifest."""
    find_track, find_sidecars = find_tracks(root, options.track), sidecar_finder(root)
    unreadable: list[_Work] = []

    def reject_folder(folder: Path, error: OSError) -> None:
        name = f"{folder.relative_to(root).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        rejection = rejected(name, "unreadable_folder", detail)
        unreadable.append(_Work(file=rejection.file, rejected=rejection))

    for path in find_photos(root, reject_folder):
        yield from unreadable
        unreadable.clear()
        name = path.relative_to(root).as_posix()
        if name in named_files:
            continue
        try:
            check_file_name(name)
        except RejectedFileError as error:
            rejection = rejected(name, error.reason, error.detail)
            yield _Work(file=rejection.file, rejected=rejection)
            continue
        yield _Work(
            file=name,
            path=path,
            metadata_override=add_options(None, find_track(path), options, find_sidecars(path)),
        )
    yield from unreadable


def _list_rows(
    path: Path, root: Path, settings: MediaSettings, options: ReadOptions, named_files: set[str]
) -> Iterator[_Work]:
    """Rows of a manifest; adds the files that they name to `named`, also rejected ones."""
    find_track, find_sidecars = find_tracks(root, options.track), sidecar_finder(root)
    for row in read_manifest(path, settings, options, folder=root):
        if isinstance(row, Rejected):
            named_files.add(row.file)
            yield _Work(file=row.file, rejected=row)
        else:
            named_files.add(row.name)
            metadata_override = add_options(
                row.metadata_override, find_track(row.file), options, find_sidecars(row.file)
            )
            yield _Work(file=row.name, path=row.file, metadata_override=metadata_override)


def _inspect_file(work: _Work, decoder: Decoder) -> Inspected:
    start = time.perf_counter()
    if work.path is None:
        rejection = work.rejected or rejected(work.file, "missing_file", "the row names no file")
        return Inspected(file=work.file, capture=None, rejected=rejection, seconds=0.0)
    result = decoder.read(work.file, str(work.path), work.metadata_override)
    seconds = time.perf_counter() - start
    if isinstance(result, Rejected):
        return Inspected(file=work.file, capture=None, rejected=result, seconds=seconds)
    return Inspected(file=work.file, capture=result.capture, rejected=None, seconds=seconds)
