"""Read: turns items into readings or rejections; child processes decode one slice ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol, TypeVar

from pinpoint import logs
from pinpoint.errors import NotFoundError
from pinpoint.fault_isolation import INTERNAL_ERROR, OUTAGES
from pinpoint.ports import BlobStore, Decoder
from pinpoint.records import ClaimedItem, DecodedImage, MetadataOverride, Rejected, limits
from pinpoint.records.limits import UnstorableError

SLICE = 32
"""Items per slice: enough for one forward pass, few enough to bound memory."""

_log = logs.get_logger(__name__)

ReadItem = tuple[ClaimedItem, DecodedImage | Rejected]


class Readable(Protocol):
    """A file to read: an item of a batch, or a stored file of the catalog."""

    @property
    def file(self) -> str:
        """File name, for messages."""
        ...

    @property
    def locator(self) -> str:
        """URI of the bytes."""
        ...

    @property
    def hint(self) -> MetadataOverride | None:
        """Metadata from outside the file."""
        ...


Item = TypeVar("Item", bound=Readable)


def read_items(
    items: Sequence[Item], decoder: Decoder, blobs: BlobStore, *, threads: int
) -> Iterator[list[tuple[Item, DecodedImage | Rejected]]]:
    """Slices of items with their results, in order; at most one decoded slice is buffered."""
    slices = [items[start : start + SLICE] for start in range(0, len(items), SLICE)]
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        futures: list[list[Future[DecodedImage | Rejected]]] = []
        for number, current in enumerate(slices):
            for slice_ahead in slices[len(futures) : number + 2]:
                futures.append(
                    [pool.submit(_read_item, item, decoder, blobs) for item in slice_ahead]
                )
            results = [future.result() for future in futures[number]]
            futures[number] = []
            yield list(zip(current, results, strict=True))


def _read_item(item: Readable, decoder: Decoder, blobs: BlobStore) -> DecodedImage | Rejected:
    try:
        path = blobs.path(item.locator)
        result = decoder.read(item.file, path, item.hint)
        if isinstance(result, DecodedImage):
            limits.check_capture(result.capture)
    except NotFoundError as error:
        return Rejected(file=item.file, stage="read", reason="missing_file", detail=error.message)
    except UnstorableError as error:
        return Rejected(file=item.file, stage="check", reason=error.reason, detail=error.detail)
    except OUTAGES:
        raise
    except Exception:
        # The error is caused by this file; other files are read by other calls.
        _log.exception("file not read", locator=item.locator)
        return make_internal_rejection(item.file, "read")
    return result


def make_internal_rejection(file: str, stage: Literal["read", "store"]) -> Rejected:
    """The rejection shown to users for an unexpected error; the log has the details."""
    return Rejected(
        file=file,
        stage=stage,
        reason=INTERNAL_ERROR,
        detail="an unexpected error; the workers' log contains it",
    )
