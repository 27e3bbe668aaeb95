"""Stored: pictures of images that the catalogue has already, from what is kept of their files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pinpoint.records import Face, Reading, Rejected, StoredFile, StoredImage

CHANGED: Final = "changed_since"
"""Reason of a kept file that holds other bytes, or other faces, than were ingested."""

Seen = tuple[StoredFile, StoredImage, Face]
"""An image of the catalogue and its picture, as ingest saw it."""


class Pace:
    """Holds a loop to a rate.

    Args:
        images_per_s: Most images a second on average; None does not wait.
    """

    def __init__(self, images_per_s: float | None) -> None:
        self._images_per_s = images_per_s
        self._due = time.monotonic()

    def take(self, images: int) -> None:
        """Wait until so many images may have been done since the last call."""
        if self._images_per_s is None:
            return
        # What was lost while others were slow is not made up for in a burst.
        self._due = max(self._due, time.monotonic() - 1.0) + images / self._images_per_s
        time.sleep(max(0.0, self._due - time.monotonic()))


def pictures(
    read: Sequence[tuple[StoredFile, Reading | Rejected]],
) -> tuple[list[Seen], dict[UUID, Rejected]]:
    """Each image's picture, and for the others why there is none."""
    seen: list[Seen] = []
    unreachable: dict[UUID, Rejected] = {}
    for file, result in read:
        for image in file.images:
            found = result if isinstance(result, Rejected) else _face(file, image, result)
            if isinstance(found, Rejected):
                unreachable[image.id] = found
            else:
                seen.append((file, image, found))
    return seen, unreachable


def _face(file: StoredFile, image: StoredImage, reading: Reading) -> Face | Rejected:
    if file.whole and reading.capture.sha256 != image.sha256:
        return _changed(file, "its SHA-256 is another than that of the file that was ingested")
    if not file.whole and len(reading.faces) == 1:
        return reading.faces[0]  # each face has a rendition of its own
    for face in reading.faces:
        if face.name == image.face:
            return face
    return _changed(file, f"it has no face {image.face or 'of a plain photo'}")


def _changed(file: StoredFile, detail: str) -> Rejected:
    return Rejected(file=file.file, stage="read", reason=CHANGED, detail=detail)
