"""Collections and items: a gallery as the Panoramax API shows it.

A collection is a sequence of a source, or the images of one day of a source that have no sequence.
An item is an image, or a panorama whose original is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pinpoint.records.areas import Box
from pinpoint.records.primitives import Point, SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCollection:
    """A collection with the extent of its items."""

    id: UUID
    source: str
    source_kind: SourceKind
    sequence: str | None
    """None: the images of one day (UTC) without a sequence, or of no known day."""
    num_items: int
    box: Box
    first_captured_at: datetime | None
    last_captured_at: datetime | None
    licenses: tuple[str, ...]
    attributions: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReference:
    """An item that another one links to."""

    id: UUID
    collection_id: UUID
    point: Point
    captured_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionItem:
    """An image or a stored panorama, with its neighbors in its collection."""

    id: UUID
    """Id of the image, or of the first face of a panorama."""
    collection_id: UUID
    is_panorama: bool
    external_id: str
    file_name: str
    source: str
    source_kind: SourceKind
    cubemap_face: str | None
    point: Point
    captured_at: datetime | None
    heading_deg: float | None
    """Compass direction of the center column."""
    field_of_view_deg: float | None
    """Horizontal."""
    camera: str | None
    creator: str | None
    license: str | None
    attribution: str | None
    width_px: int
    """Width of the ingested file, which is the panorama for a face."""
    height_px: int
    attributes: Mapping[str, object]
    created_at: datetime
    updated_at: datetime
    previous_item: ItemReference | None
    next_item: ItemReference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPosition:
    """Place of an item in the order of its collection: capture time, external id, id."""

    captured_at: datetime | None
    """Items without a time are the last ones."""
    external_id: str
    item_id: UUID
