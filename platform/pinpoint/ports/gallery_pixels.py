"""Port of geometric verification: pixels of gallery images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pinpoint.records import Image, Pixels


class GalleryPixels(Protocol):
    """Decodes stored originals and renditions of gallery images; thread-safe."""

    def read(self, uri: str, images: Sequence[Image]) -> dict[UUID, Pixels]:
        """Pixels `[H, W, 3]` of images that share one stored file, by image id.

        An image is omitted if its file is gone, cannot be decoded, or is not the one that was
        ingested.

        Args:
            uri: URI of the stored file.
            images: Rows of one organization.

        Raises:
            UnavailableError: No decoding child can be started.
        """
        ...
