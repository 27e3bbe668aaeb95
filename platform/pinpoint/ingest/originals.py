"""Stores originals by the policy of their source; bytes are copied outside transactions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from pinpoint.errors import NotFoundError
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import read_bytes, sha256
from pinpoint.media.jpeg_encoder import encode_jpeg
from pinpoint.ports import BlobStore
from pinpoint.records import ClaimedItem, DecodedImage, Rejected

MODIFIED_DURING_INGEST: Final = "changed_meanwhile"
"""Reason for a file that was changed, moved or deleted between reading and copying."""


class Originals:
    """`ports.OriginalStore` over a blob store.

    `reference` stores the URI of the file; the bytes of an upload are stored, as it has no other
    copy. `copy` stores the bytes. `rendition` stores each face at the input size of towers.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._stored: dict[UUID, list[str]] = {}

    @property
    def stored(self) -> set[str]:
        """Blobs stored so far; a row may reference them or not."""
        return {locator for locators in self._stored.values() for locator in locators}

    def __call__(self, item: ClaimedItem, reading: DecodedImage) -> list[str | None] | None:
        """One URI for each face of the reading; None: call `store_originals` first."""
        if item.id in self._stored:
            return [*self._stored[item.id]]
        if item.source.originals == "rendition":
            return None
        if item.source.originals == "copy" and not item.locator.startswith("blob:"):
            return None
        return [item.locator] * len(reading.faces)

    def store_originals(
        self, readings: Sequence[tuple[ClaimedItem, DecodedImage]]
    ) -> dict[UUID, Rejected]:
        """Store the required bytes of these files in the blob store.

        Returns:
            Rejections of files that changed since they were read. They are not stored,
            because the hash in the row would not match the original.

        Raises:
            UnavailableError: The blob store cannot be written.
        """
        rejections: dict[UUID, Rejected] = {}
        for item, reading in readings:
            if item.source.originals == "rendition":
                self._stored[item.id] = [
                    self._blobs.put(item.organization_id, encode_jpeg(face.pixels))
                    for face in reading.faces
                ]
                continue
            try:
                data = self._read_unchanged(item, reading)
            except (NotFoundError, RejectedFileError) as error:
                rejections[item.id] = Rejected(
                    file=item.file,
                    stage="store",
                    reason=MODIFIED_DURING_INGEST,
                    detail=f"it changed between reading and copying ({_describe_change(error)}); "
                    "when nothing writes to it, run `pinpoint batches retry`",
                )
                continue
            locator = self._blobs.put(item.organization_id, data)
            self._stored[item.id] = [locator] * len(reading.faces)
        return rejections

    def _read_unchanged(self, item: ClaimedItem, reading: DecodedImage) -> bytes:
        """The file's bytes, if they did not change since they were read.

        Raises:
            NotFoundError: There is no such blob.
            RejectedFileError: The file is missing, or its bytes changed.
        """
        data = read_bytes(Path(self._blobs.path(item.locator)), reading.capture.size_bytes)
        if sha256(data) != reading.capture.sha256:
            raise RejectedFileError(MODIFIED_DURING_INGEST, "its SHA-256 is different")
        return data


def _describe_change(error: NotFoundError | RejectedFileError) -> str:
    if isinstance(error, NotFoundError):
        return error.message
    return "it has grown" if error.reason == "too_large" else error.detail
