# ruff: noqa: A005 - the command is called inspect, and so is its flow
"""What would be read: every file of a folder or a manifest, accepted or refused, nothing stored."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pinpoint.media.checks import Refused, rejected
from pinpoint.media.files import check_name, find_files, tracks
from pinpoint.media.manifests import is_manifest, read_manifest
from pinpoint.ports import Decoder
from pinpoint.records import Capture, Hint, Rejected
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
    path: Path, decoder: Decoder, settings: MediaSettings, *, threads: int = 1
) -> Iterator[Inspected]:
    """Read one file, every file of a folder, or every row of a manifest, in order.

    One bad file never stops it.

    Args:
        path: What to look at.
        decoder: Who reads; give it as many children as there are `threads`.
        settings: The limits of manifests.
        threads: How many files are read at once.

    Raises:
        BadManifest: A manifest cannot be read at all.
        TooLarge: A manifest has too many rows.
    """
    work = _work(path, settings)
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


def _work(path: Path, settings: MediaSettings) -> Iterable[_Work]:
    if path.is_dir():
        return _folder(path)
    if is_manifest(path):
        return _manifest(path, settings)
    return [_Work(file=path.name, path=path, hint=_track_hint(tracks(path.parent)(path)))]


def _folder(root: Path) -> Iterator[_Work]:
    track_of = tracks(root)
    unreadable: list[_Work] = []

    def refuse(folder: Path, error: OSError) -> None:
        name = f"{folder.relative_to(root).as_posix()}/"
        detail = f"the folder cannot be opened ({error.strerror}); nothing below it was read"
        what = rejected(name, "unreadable_folder", detail)
        unreadable.append(_Work(file=what.file, rejected=what))

    for path in find_files(root, refuse):
        yield from unreadable
        unreadable.clear()
        name = path.relative_to(root).as_posix()
        try:
            check_name(name)
        except Refused as refused:
            what = rejected(name, refused.reason, refused.detail)
            yield _Work(file=what.file, rejected=what)
            continue
        yield _Work(file=name, path=path, hint=_track_hint(track_of(path)))
    yield from unreadable


def _manifest(path: Path, settings: MediaSettings) -> Iterator[_Work]:
    for row in read_manifest(path, settings):
        if isinstance(row, Rejected):
            yield _Work(file=row.file, rejected=row)
        else:
            yield _Work(file=row.name, path=row.file, hint=row.hint)


def _track_hint(track: Path | None) -> Hint | None:
    return None if track is None else Hint(track=str(track))


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
