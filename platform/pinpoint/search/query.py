"""The query: a photo to encode, or a gallery image whose vector is in the index."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pinpoint.errors import (
    BadPhotoError,
    BadRequestError,
    ConflictError,
    InvalidRequestError,
    TooLargeError,
)
from pinpoint.ports import Database, Decoder, VectorIndex
from pinpoint.records import CaptureClaim, Crop, IndexPoint, Pixels, Rejected

_LIMIT_REASON_PREFIXES: Final = ("too_large", "too_many")
"""Prefixes of the decoder's reasons that state an exceeded limit."""


_CROP_REASON_PREFIX: Final = "crop_"


def decode_query(
    data: bytes, *, file: str, decoder: Decoder, crop: Crop | None = None
) -> tuple[Pixels, CaptureClaim]:
    """Decode untrusted bytes to pixels `[H, W, 3]`, of a panorama the first face, and the claim.

    Args:
        data: The bytes.
        file: File name, for messages.
        decoder: Decodes the bytes.
        crop: Region to decode; None for the whole image.

    Raises:
        InvalidRequestError: The crop does not fit the image; the error has the decoder's reason.
        BadPhotoError: The decoder rejects the bytes; the error has the decoder's reason.
        TooLargeError: The decoder rejects the bytes because of a limit.
    """
    reading = decoder.read(file, data, query=True, crop=crop)
    if isinstance(reading, Rejected):
        error_class: type[BadRequestError] = BadPhotoError
        if reading.error_code.startswith(_LIMIT_REASON_PREFIXES):
            error_class = TooLargeError
        elif reading.error_code.startswith(_CROP_REASON_PREFIX):
            error_class = InvalidRequestError
        raise error_class(f"{reading.file}: {reading.error_message}", reason=reading.error_code)
    return reading.faces[0].pixels, reading.claim or CaptureClaim()


def fetch_image_query(
    image_id: UUID, organization_id: UUID, *, index: VectorIndex, database: Database
) -> IndexPoint:
    """Fetch the index point of an organization's image, with its vectors.

    The catalog is read first, because it decides whether the organization may see the image.

    Args:
        image_id: Id of the image.
        organization_id: Organization of the image.
        index: Index with the vectors.
        database: The catalog.

    Raises:
        NotFoundError: The organization has no such image.
        ConflictError: The image exists, but it is not in the index.
    """
    with database.read(organization_id) as reader:
        image = reader.image(image_id)
    points = index.fetch([image_id], vectors=True)
    if not points or points[0].organization_id != organization_id:
        raise ConflictError(
            f"image {image_id} is {image.state} and not in the index; try again once it is indexed",
            reason="not_indexed",
        )
    return points[0]
