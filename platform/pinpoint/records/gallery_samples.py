"""Gallery images that are drawn as queries."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pinpoint.records.primitives import Point, SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySample:
    """A gallery image as a query, with counts of the images of its kind in its area.

    The area is its H3 cell of resolution 5, about 250 km².
    """

    image_id: UUID
    source_id: UUID
    source: str
    """Name of the source."""
    source_kind: SourceKind
    point: Point
    creator: str | None
    sequence: str | None
    sha256: str
    """SHA-256 of the file, hex."""
    images_in_cell: int
    creator_images_in_cell: int
    """Images of its creator in the cell; 0 if the creator is unknown."""
    sequence_images_in_cell: int
    """Images of its sequence in the cell; 0 without a sequence."""
