"""Read: items become readings or rejections; decoding runs ahead in children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pinpoint.errors import NotFound, PinpointError
from pinpoint.ports import BlobStore, Decoder
from pinpoint.records import ClaimedItem, Reading, Rejected

SLICE = 32
"""Items handed on together: enough for one forward pass, few enough to bound memory."""

ReadItem = tuple[ClaimedItem, Reading | Rejected]


def read_items(
    items: Sequence[ClaimedItem], decoder: Decoder, blobs: BlobStore, *, threads: int
) -> Iterator[list[ReadItem]]:
    """Slices of items with what was read of them, in order; at most one slice waits decoded."""
    slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        ahead: list[list[Future[Reading | Rejected]]] = []
        for number, current in enumerate(slices):
            for later in slices[len(ahead) : number + 2]:
                ahead.append([pool.submit(_read, item, decoder, blobs) for item in later])
            done = [future.result() for future in ahead[number]]
            ahead[number] = []
            yield list(zip(current, done, strict=True))


def _read(item: ClaimedItem, decoder: Decoder, blobs: BlobStore) -> Reading | Rejected:
    try:
        path = path_of(item.locator, blobs)
    except NotFound as error:
        return Rejected(file=item.file, stage="read", reason="missing_file", detail=error.message)
    return decoder.read(item.file, path, item.hint)


def path_of(locator: str, blobs: BlobStore) -> str:
    """Path of what a locator names.

    Raises:
        NotFound: The blob is gone.
        PinpointError: The locator is of no known form.
    """
    if locator.startswith("blob:"):
        return blobs.path(locator)
    parts = urlsplit(locator)
    if parts.scheme != "file":
        raise PinpointError(f"locator {locator[:80]!r} is neither file: nor blob:")
    return str(Path(unquote(parts.path)))
