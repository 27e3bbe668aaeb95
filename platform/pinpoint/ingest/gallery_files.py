"""Files of gallery images for users: original or rendition as a JPEG without metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pinpoint.errors import ConflictError, NotFoundError
from pinpoint.media.checks import MODIFIED_SINCE_INDEXING, RejectedFileError
from pinpoint.media.files import read_bytes, sha256
from pinpoint.ports import BlobStore, JpegConverter
from pinpoint.ports.remote_files import REMOTE_SCHEMES
from pinpoint.records import Image, Rejected

NOT_STORED: Final = "original_not_stored"
"""Reason for an image without a stored file, or a face without its panorama."""
NOT_A_PANORAMA: Final = "not_a_panorama"
"""Reason for the panorama of an image that is no cube-map face."""

_BLOB_SCHEME: Final = "blob:"


class GalleryFiles:
    """Reads the stored files of gallery images; thread-safe.

    Args:
        blobs: The blob store.
        converter: Converts files in limited children.
        max_bytes: Maximum size of a stored file, bytes.
    """

    def __init__(self, blobs: BlobStore, converter: JpegConverter, max_bytes: int) -> None:
        self._blobs, self._converter, self._max_bytes = blobs, converter, max_bytes

    def read_jpeg(self, image: Image, *, width: int | None = None, panorama: bool = False) -> bytes:
        """The original or rendition of an image as a JPEG without metadata.

        Args:
            image: A row of the catalog.
            width: Maximum width in pixels; None for the full size.
            panorama: Whether to return the panorama that a face was cut from, not the face.

        Raises:
            NotFoundError: `original_not_stored`, `missing_file` or `not_a_panorama`.
            ConflictError: The file was modified since indexing, or cannot be decoded; the reason
                is the error code.
            UnavailableError: No decoding child can be started.
        """
        if panorama and image.cubemap_face is None:
            raise NotFoundError(f"image {image.id} is no face of a panorama", reason=NOT_A_PANORAMA)
        data = self._read_file(image)
        is_original = sha256(data) == image.sha256
        # A rendition has other bytes than the ingested file, and each face has one of its own. A
        # referenced file with other bytes was changed after it was ingested.
        if not is_original and not str(image.uri).startswith(_BLOB_SCHEME):
            raise ConflictError(
                f"the file of image {image.id} was modified since it was indexed; ingest its "
                "folder again",
                reason=MODIFIED_SINCE_INDEXING,
            )
        if panorama and not is_original:
            raise NotFoundError(
                f"the panorama of image {image.id} is not stored: its source keeps renditions only",
                reason=NOT_STORED,
            )
        face = image.cubemap_face if is_original and not panorama else None
        jpeg = self._converter.convert_to_jpeg(image.file_name, data, width=width, face=face)
        if isinstance(jpeg, Rejected):
            raise ConflictError(
                f"the file of image {image.id} cannot be converted: {jpeg.error_message}",
                reason=jpeg.error_code,
            )
        return jpeg

    def _read_file(self, image: Image) -> bytes:
        if image.uri is None:
            raise NotFoundError(f"no file of image {image.id} is stored", reason=NOT_STORED)
        if image.uri.startswith(REMOTE_SCHEMES):
            raise NotFoundError(
                f"the file of image {image.id} is stored at its URL only", reason=NOT_STORED
            )
        try:
            return read_bytes(Path(self._blobs.path(image.uri)), self._max_bytes)
        except (NotFoundError, RejectedFileError) as error:
            reason = error.reason if isinstance(error, RejectedFileError) else "missing_file"
            # The text of the error may contain a path of the server.
            if reason in ("missing_file", "empty_file"):
                raise NotFoundError(
                    f"the file of image {image.id} is missing or cannot be opened",
                    reason="missing_file",
                ) from error
            raise ConflictError(
                f"the file of image {image.id} is larger than PINPOINT_MEDIA_MAX_BYTES",
                reason=reason,
            ) from error
