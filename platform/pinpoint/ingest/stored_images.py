"""Decoded faces of images that are in the catalog, from their stored files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from pinpoint.media.checks import MODIFIED_SINCE_INDEXING
from pinpoint.records import DecodedImage, ImageFace, Rejected, StoredFile, StoredImage

MatchedImage = tuple[StoredFile, StoredImage, ImageFace]
"""A stored file, its image in the catalog, and the decoded face."""


class RateLimiter:
    """Limits the rate of a loop.

    Args:
        images_per_s: Maximum average number of images per second; None does not wait.
    """

    def __init__(self, images_per_s: float | None) -> None:
        self._images_per_s = images_per_s
        self._next_time = time.monotonic()

    def acquire(self, images: int) -> None:
        """Wait until the rate allows this many images since the last call."""
        if self._images_per_s is None:
            return
        # Time lost in slow calls is not made up for by a burst.
        self._next_time = max(self._next_time, time.monotonic() - 1.0) + images / self._images_per_s
        time.sleep(max(0.0, self._next_time - time.monotonic()))


def match_stored_images(
    read: Sequence[tuple[StoredFile, DecodedImage | Rejected]],
) -> tuple[list[MatchedImage], dict[UUID, Rejected]]:
    """Match images to decoded faces; also returns the rejections of images without one."""
    matched: list[MatchedImage] = []
    rejections: dict[UUID, Rejected] = {}
    for file, result in read:
        for image in file.images:
            face = result if isinstance(result, Rejected) else _find_face(file, image, result)
            if isinstance(face, Rejected):
                rejections[image.id] = face
            else:
                matched.append((file, image, face))
    return matched, rejections


def _find_face(file: StoredFile, image: StoredImage, reading: DecodedImage) -> ImageFace | Rejected:
    if file.whole and reading.capture.sha256 != image.sha256:
        return _reject_changed(file, "its SHA-256 differs from that of the ingested file")
    if not file.whole and len(reading.faces) == 1:
        return reading.faces[0]  # each face has a separate rendition
    for face in reading.faces:
        if face.name == image.cubemap_face:
            return face
    return _reject_changed(file, f"it has no face {image.cubemap_face or 'of a plain photo'}")


def _reject_changed(file: StoredFile, detail: str) -> Rejected:
    return Rejected(
        file=file.file, error_stage="read", error_code=MODIFIED_SINCE_INDEXING, error_message=detail
    )
