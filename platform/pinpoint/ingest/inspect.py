# ruff: noqa: A005 - the command is called inspect, and so is its flow
"""What would be read: every photo of a folder or manifest, accepted or refused; stores nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pinpoint.media.checks import Refused, rejected
from pinpoint.media.files import check_name, find_photos
from pinpoint.media.manifest_choice import find_one_manifest
from pinpoint.media.manifests import is_manifest, read_manifest
from pinpoint.media.tracks import add_options, find_tracks
from pinpoint.ports import Decoder
from pinpoint.records import Capture, Hint, ReadOptions, Rejected
from pinpoint.settings import MediaSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One file and what reading it gave: a capture or a rejection, never both."""

    file: str
    """Relative to the folder or manifest asked about."""
    capture: Capture | None
    rejected: Rejected | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A file to read, or a manifest row refused already."""

    file: str
    path: Path | None = None
    hint: Hint | None = None
    rejected: Rejected | None = None


def inspect(
    path: Path,
    decoder: Decoder,
    settings: MediaSettings,
    *,
    manifest: Path | None = None,
    options: ReadOptions | None = None,
    threads: int = 1,
) -> Iterator[Inspected]:
    """Read one file, every photo of a folder, or every row of a manifest, in order.

    One bad file never stops it. Files that are known not to be photos are left out; see
    `media.sidecars`.

    Args:
        path: What to look at.
        decoder: Who reads; give it as many children as there are `threads`.
        settings: The limits of manifests.
        manifest: Of the folder at `path`: its rows come first, then the photos that it does not
            name. `used_manifest` finds one.
        options: Track, clock, time zone and columns, as a person said.
        threads: How many files are read at once.

    Raises:
        BadManifest: A manifest cannot be read at all.
        TooLarge: A manifest has too many rows.
    """
    work = _list_work(path, manifest, settings, options or ReadOptions())
    if threads == 1:
        yield from (_look(one, decoder) for one in work)
        return
    waiting: deque[Future[Inspected]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for one in work:
                waiting.append(pool.submit(_look, one, decoder))
                if len(waiting) > 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def used_manifest(path: Path) -> Path | None:
    """The manifest that holds for a path: itself, or the only one of a folder.

    Raises:
        BadRequest: The folder holds several.
    """
    if path.is_dir():
        return find_one_manifest(path)
    return path if is_manifest(path) else None


def _list_work(
    path: Path, manifest: Path | None, settings: MediaSettings, options: ReadOptions
) -> Iterable[_Work]:
    if path.is_dir():
        named: set[str] = set()
        if manifest is not None:
            yield from _list_rows(manifest, settings, options, named)
        yield from _list_folder(path, options, named)
    elif is_manifest(path):
        yield from _list_rows(path, settings, options, set())
    else:
        track = find_tracks(path.parent, options.track)(path)
        yield _Work(file=path.name, path=path, hint=add_options(None, track, options))


def _list_folder(root: Path, options: ReadOptions, named: set[str]) -> Iterator[_Work]:
    """Photos below a folder that no manifest has named."""
    track_of = find_tracks(root, options.track)
    unreadable: list[_Work] = []

    def refuse(folder: Path, error: OSError) -> None:
        name = f"{folder.relative_to(root).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        what = rejected(name, "unreadable_folder", detail)
        unreadable.append(_Work(file=what.file, rejected=what))

    for path in find_photos(root, refuse):
        yield from unreadable
        unreadable.clear()
        name = path.relative_to(root).as_posix()
        if name in named:
            continue
        try:
            check_name(name)
        except Refused as refused:
            what = rejected(name, refused.reason, refused.detail)
            yield _Work(file=what.file, rejected=what)
            continue
        yield _Work(file=name, path=path, hint=add_options(None, track_of(path), options))
    yield from unreadable


def _list_rows(
    path: Path, settings: MediaSettings, options: ReadOptions, named: set[str]
) -> Iterator[_Work]:
    """Rows of a manifest; adds to `named` the files that they name, refused ones too."""
    root = path.parent
    track_of = find_tracks(root, options.track)
    for row in read_manifest(path, settings, options):
        if isinstance(row, Rejected):
            named.add(row.file)
            yield _Work(file=row.file, rejected=row)
        else:
            named.add(row.name)
            hint = add_options(row.hint, track_of(row.file), options)
            yield _Work(file=row.name, path=row.file, hint=hint)


def _look(work: _Work, decoder: Decoder) -> Inspected:
    start = time.perf_counter()
    if work.path is None:
        refused = work.rejected or rejected(work.file, "missing_file", "the row names no file")
        return Inspected(file=work.file, capture=None, rejected=refused, seconds=0.0)
    result = decoder.read(work.file, str(work.path), work.hint)
    bad = result if isinstance(result, Rejected) else None
    capture = None if isinstance(result, Rejected) else result.capture
    seconds = time.perf_counter() - start
    return Inspected(file=work.file, capture=capture, rejected=bad, seconds=seconds)
