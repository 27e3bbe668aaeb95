"""Read: items become readings or rejections; decoding runs ahead in children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Literal, Protocol, TypeVar

from pinpoint import logs
from pinpoint.errors import NotFound
from pinpoint.fault_isolation import OUTAGES
from pinpoint.ports import BlobStore, Decoder
from pinpoint.records import ClaimedItem, Hint, Reading, Rejected, limits
from pinpoint.records.limits import Unstorable

SLICE = 32
"""Items handed on together: enough for one forward pass, few enough to bound memory."""

INTERNAL: Final = "internal_error"
"""Reason of a file whose reading or storing ended with an error that nobody foresaw."""
_log = logs.get(__name__)

ReadItem = tuple[ClaimedItem, Reading | Rejected]


class Readable(Protocol):
    """What is to be read: an item of a batch, or a file that the catalogue keeps."""

    @property
    def file(self) -> str:
        """Name for messages."""
        ...

    @property
    def locator(self) -> str:
        """Where the bytes lie."""
        ...

    @property
    def hint(self) -> Hint | None:
        """What is known from outside."""
        ...


Item = TypeVar("Item", bound=Readable)


def read_items(
    items: Sequence[Item], decoder: Decoder, blobs: BlobStore, *, threads: int
) -> Iterator[list[tuple[Item, Reading | Rejected]]]:
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


def _read(item: Readable, decoder: Decoder, blobs: BlobStore) -> Reading | Rejected:
    try:
        path = blobs.path(item.locator)
        result = decoder.read(item.file, path, item.hint)
        if isinstance(result, Reading):
            limits.check_capture(result.capture)
    except NotFound as error:
        return Rejected(file=item.file, stage="read", reason="missing_file", detail=error.message)
    except Unstorable as error:
        return Rejected(file=item.file, stage="check", reason=error.reason, detail=error.detail)
    except OUTAGES:
        raise
    except Exception:
        # Whatever it is, it is this file's: the others are read by other calls.
        _log.exception("file not read", locator=item.locator)
        return unforeseen(item.file, "read")
    return result


def unforeseen(file: str, stage: Literal["read", "store"]) -> Rejected:
    """What users learn of an error that nobody foresaw; the log has the rest."""
    return Rejected(
        file=file,
        stage=stage,
        reason=INTERNAL,
        detail="an unexpected error; the log of the workers names it",
    )
