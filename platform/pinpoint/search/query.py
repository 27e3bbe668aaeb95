"""The question: what a caller gave, as a picture to encode or a vector the index holds already."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pinpoint.errors import BadPhoto, Conflict, TooLarge
from pinpoint.ports import Database, Decoder, VectorIndex
from pinpoint.records import IndexPoint, Pixels, Rejected

_OVER_A_LIMIT: Final = ("too_large", "too_many")
"""How the decoder's reasons begin where a limit was passed."""


def pixels(data: bytes, *, file: str, decoder: Decoder) -> Pixels:
    """The picture in hostile bytes, `[H, W, 3]`; of a panorama its first face.

    Args:
        data: The bytes.
        file: Their name, for messages.
        decoder: Reads them.

    Raises:
        BadPhoto: The decoder rejects them; the reason is the decoder's.
        TooLarge: The decoder rejects them for a limit.
    """
    reading = decoder.read(file, data, query=True)
    if isinstance(reading, Rejected):
        error = TooLarge if reading.reason.startswith(_OVER_A_LIMIT) else BadPhoto
        raise error(f"{reading.file}: {reading.detail}", reason=reading.reason)
    return reading.faces[0].pixels


def of_image(
    image_id: UUID, organization_id: UUID, *, index: VectorIndex, database: Database
) -> IndexPoint:
    """An organisation's image as the index holds it, vectors included.

    The catalogue is asked first: it knows whose an id is, and who may know that it exists.

    Args:
        image_id: Which image.
        organization_id: Whose.
        index: Holds the vectors.
        database: Holds the truth.

    Raises:
        NotFound: This organisation has no such image.
        Conflict: It has, but the index has not.
    """
    with database.read(organization_id) as reader:
        image = reader.image(image_id)
    points = index.fetch([image_id], vectors=True)
    if not points or points[0].organization_id != organization_id:
        raise Conflict(
            f"image {image_id} is {image.state} and not in the index; try again once it is indexed",
            reason="not_indexed",
        )
    return points[0]
