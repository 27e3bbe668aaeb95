"""Where a file's original goes, by its source's policy."""

from __future__ import annotations

from pathlib import Path

from pinpoint.media.jpeg import encode_jpeg
from pinpoint.ports import BlobStore
from pinpoint.records import ClaimedItem, Reading


class Originals:
    """`ports.OriginalKeeper` over a blob store.

    `reference` keeps the locator of a file where it is (an upload has no such place, so its bytes
    are kept). `copy` keeps the bytes. `rendition` keeps each face at the size that towers see.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def __call__(self, item: ClaimedItem, reading: Reading) -> list[str | None]:
        """One locator for each face of the reading."""
        if item.source.originals == "rendition":
            return [
                self._blobs.put(item.organization_id, encode_jpeg(face.pixels))
                for face in reading.faces
            ]
        locator = item.locator
        if item.source.originals == "copy" and not locator.startswith("blob:"):
            data = Path(self._blobs.path(locator)).read_bytes()
            locator = self._blobs.put(item.organization_id, data)
        return [locator] * len(reading.faces)
