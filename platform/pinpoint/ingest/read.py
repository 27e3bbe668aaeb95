"""Read: turns items into readings or rejections; child processes decode one slice ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeVar

from pinpoint import logs
from pinpoint.errors import NotFoundError, RemoteFileError
from pinpoint.fault_isolation import INTERNAL_ERROR, OUTAGES
from pinpoint.iteration import batched, map_in_threads
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
    def uri(self) -> str:
        """URI of the bytes."""
        ...

    @property
    def metadata_override(self) -> MetadataOverride | None:
        """Metadata from outside the file."""
        ...


Item = TypeVar("Item", bound=Readable)


def read_items(
    items: Sequence[Item], decoder: Decoder, blobs: BlobStore, *, threads: int
) -> Iterator[list[tuple[Item, DecodedImage | Rejected]]]:
    """Slices of items with their results, in order; at most one decoded slice is buffered."""
    results = map_in_threads(
        lambda item: _read_item(item, decoder, blobs), items, threads=threads, ahead=SLICE
    )
    yield from batched(zip(items, results, strict=True), SLICE)


def read_stored_files(
    files: Sequence[Item], decoder: Decoder, blobs: BlobStore, *, threads: int
) -> Iterator[list[tuple[Item, DecodedImage | Rejected]]]:
    """As `read_items`, for files that are read once: the downloads of each slice are deleted."""
    for read in read_items(files, decoder, blobs, threads=threads):
        yield read
        blobs.discard_downloads([file.uri for file, _ in read])


def _read_item(item: Readable, decoder: Decoder, blobs: BlobStore) -> DecodedImage | Rejected:
    try:
        path = blobs.path(item.uri)
        result = decoder.read(item.file, path, item.metadata_override)
        if isinstance(result, DecodedImage):
            limits.check_capture(result.capture)
    except NotFoundError as error:
        return Rejected(
            file=item.file,
            error_stage="read",
            error_code=error.reason if isinstance(error, RemoteFileError) else "missing_file",
            error_message=error.message,
        )
    except UnstorableError as error:
        return Rejected(
            file=item.file, error_stage="check", error_code=error.reason, error_message=error.detail
        )
    except OUTAGES:
        raise
    except Exception:
        # The error is caused by this file; other files are read by other calls.
        _log.exception("file not read", uri=item.uri)
        return make_internal_rejection(item.file, "read")
    return result


def make_internal_rejection(file: str, stage: Literal["read", "store"]) -> Rejected:
    """The rejection shown to users for an unexpected error; the log has the details."""
    return Rejected(
        file=file,
        error_stage=stage,
        error_code=INTERNAL_ERROR,
        error_message="an unexpected error; the workers' log contains it",
    )
