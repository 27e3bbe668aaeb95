"""Where a file's original goes, by its source's policy; bytes are moved outside any transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from pinpoint.errors import NotFound
from pinpoint.media.checks import Refused
from pinpoint.media.files import read_bytes, sha256
from pinpoint.media.jpeg import encode_jpeg
from pinpoint.ports import BlobStore
from pinpoint.records import ClaimedItem, Reading, Rejected

CHANGED: Final = "changed_meanwhile"
"""Reason of a file that was written to, moved or removed between reading and copying."""


class Originals:
    """`ports.OriginalKeeper` over a blob store.

    `reference` keeps the locator of a file where it is (an upload has no such place, so its bytes
    are kept). `copy` keeps the bytes. `rendition` keeps each face at the size that towers see.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._brought: dict[UUID, list[str]] = {}

    @property
    def brought(self) -> set[str]:
        """Blobs made so far; a row may name them or not."""
        return {locator for made in self._brought.values() for locator in made}

    def __call__(self, item: ClaimedItem, reading: Reading) -> list[str | None] | None:
        """One locator for each face of the reading; None: `bring` has to be called first."""
        if item.id in self._brought:
            return [*self._brought[item.id]]
        if item.source.originals == "rendition":
            return None
        if item.source.originals == "copy" and not item.locator.startswith("blob:"):
            return None
        return [item.locator] * len(reading.faces)

    def bring(self, readings: Sequence[tuple[ClaimedItem, Reading]]) -> dict[UUID, Rejected]:
        """Put what has to be kept of these files into the blob store.

        Returns:
            Verdicts on files that do not hold the bytes any more that were read; nothing of them
            is kept, since the row would state a hash that its original has not.

        Raises:
            Unavailable: The blob store takes nothing.
        """
        changed: dict[UUID, Rejected] = {}
        for item, reading in readings:
            if item.source.originals == "rendition":
                self._brought[item.id] = [
                    self._blobs.put(item.organization_id, encode_jpeg(face.pixels))
                    for face in reading.faces
                ]
                continue
            try:
                data = self._same_bytes(item, reading)
            except (NotFound, Refused) as error:
                changed[item.id] = Rejected(
                    file=item.file,
                    stage="store",
                    reason=CHANGED,
                    detail=f"it changed between reading and copying ({_why(error)}); once nothing "
                    "writes to it, `pinpoint batches retry` sends it again",
                )
                continue
            locator = self._blobs.put(item.organization_id, data)
            self._brought[item.id] = [locator] * len(reading.faces)
        return changed

    def _same_bytes(self, item: ClaimedItem, reading: Reading) -> bytes:
        """The file's bytes, if they are those that were read.

        Raises:
            NotFound: There is no such blob.
            Refused: The file is gone, or holds other bytes.
        """
        data = read_bytes(Path(self._blobs.path(item.locator)), reading.capture.size_bytes)
        if sha256(data) != reading.capture.sha256:
            raise Refused(CHANGED, "its SHA-256 is another")
        return data


def _why(error: NotFound | Refused) -> str:
    if isinstance(error, NotFound):
        return error.message
    return "it has grown" if error.reason == "too_large" else error.detail
