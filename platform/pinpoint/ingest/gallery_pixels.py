"""Pixels of gallery images from their stored files, for geometric verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import NotFoundError
from pinpoint.ports import BlobStore, Decoder
from pinpoint.records import DecodedImage, Image, Pixels, Rejected

_BLOB_SCHEME: Final = "blob:"

_log = logs.get_logger(__name__)


class StoredPixels:
    """`ports.GalleryPixels` over the blob store and the limited decoding children.

    Args:
        blobs: The blob store.
        decoder: Decodes files; thread-safe.
    """

    def __init__(self, blobs: BlobStore, decoder: Decoder) -> None:
        self._blobs, self._decoder = blobs, decoder

    def read(self, uri: str, images: Sequence[Image]) -> dict[UUID, Pixels]:
        """Pixels by image id; see `ports.GalleryPixels.read`.

        Raises:
            UnavailableError: No decoding child can be started.
        """
        try:
            path = self._blobs.path(uri)
        except NotFoundError:
            _log.info("stored file not found", images=[str(image.id) for image in images])
            return {}
        reading = self._decoder.read(images[0].file_name, path, query=True)
        if isinstance(reading, Rejected):
            _log.info(
                "stored file not decoded",
                reason=reading.error_code,
                images=[str(image.id) for image in images],
            )
            return {}
        pixels = {image.id: _find_pixels(uri, image, reading) for image in images}
        return {image_id: face for image_id, face in pixels.items() if face is not None}


def _find_pixels(uri: str, image: Image, reading: DecodedImage) -> Pixels | None:
    """Pixels of an image in a stored file; None if the file is not the ingested one."""
    if reading.capture.sha256 == image.sha256:
        faces = {face.name: face.pixels for face in reading.faces}
        return faces.get(image.cubemap_face)
    # A rendition has other bytes than the ingested file, and each face has one of its own. A
    # referenced file with other bytes was changed after it was ingested.
    if uri.startswith(_BLOB_SCHEME) and len(reading.faces) == 1:
        return reading.faces[0].pixels
    return None
