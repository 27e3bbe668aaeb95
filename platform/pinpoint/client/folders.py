"""Uploads a folder in requests that stay under the server's limits, and waits for its verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pinpoint.errors import BadRequest
from pinpoint.media.files import find_photos

if TYPE_CHECKING:
    from pinpoint.client.client import Client

FILES: Final = 64
BYTES: Final = 64_000_000
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0

Json = dict[str, Any]
Progress = Callable[[Json], None] | None


def ingest(
    client: Client,
    path: Path,
    *,
    source: str,
    wait: bool,
    on_progress: Progress,
    hints: Mapping[str, Mapping[str, Any]] | None = None,
) -> Json:
    """See `Client.ingest_folder`; `hints` go by the path below the folder.

    Raises:
        BadRequest: There is nothing to upload.
    """
    files = dict(find(path))
    if not files:
        raise BadRequest(f"no files to upload in {path}", reason="no_files")
    batch = client.open_batch(source)
    for chunk in chunks(files):
        known = {name: dict(hints[name]) for name in chunk if hints and name in hints}
        batch = client.upload(batch["id"], chunk, known or None)["batch"]
        if on_progress is not None:
            on_progress(batch)
    batch = client.complete(batch["id"])
    return settle(client, batch, on_progress) if wait else batch


def find(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file to upload with its name below `path`, in a stable order.

    Raises:
        BadRequest: There is no such path.
    """
    if path.is_file():
        yield path.name, path
        return
    if not path.is_dir():
        raise BadRequest(f"there is no file or folder {path}", reason="no_files")
    for file in find_photos(path):
        yield file.relative_to(path).as_posix(), file


def chunks(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Requests of at most `FILES` files and, where one file allows it, `BYTES` bytes."""
    chunk: dict[str, Path] = {}
    size = 0
    for name, file in files.items():
        own = file.stat().st_size
        if chunk and (len(chunk) == FILES or size + own > BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[name] = file
        size += own
    if chunk:
        yield chunk


def settle(client: Client, batch: Json, on_progress: Progress) -> Json:
    """Ask again and again, ever more slowly, until every file of a batch has its verdict."""
    pause_s = _FIRST_WAIT_S
    while not batch["complete"]:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_WAIT_S)
        batch = client.batch(batch["id"])
        if on_progress is not None:
            on_progress(batch)
    return batch
