"""User-visible records: sources, images and batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from pinpoint.records.field_layers import ManualField
from pinpoint.records.metadata import MetadataOverride, Rejected
from pinpoint.records.primitives import (
    ImageState,
    ItemStatus,
    OriginalsPolicy,
    Point,
    SourceKind,
)
from pinpoint.records.protected_areas import ImageAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRoot:
    """A folder of this machine whose files belong to a source."""

    name: str
    """First part of the ids of its files; empty: an id is only the path below the root."""
    path: str

    def external_id(self, relative: str) -> str:
        """Id of the file at a POSIX path below the root."""
        return f"{self.name}/{relative}" if self.name else relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A collection of images of one kind, with its license and originals policy."""

    id: UUID
    name: str
    kind: SourceKind
    license: str | None
    attribution: str | None
    originals: OriginalsPolicy
    created_at: datetime
    images: int = 0
    image_access: ImageAccess = "full"
    """What API keys may see of its images."""
    roots: tuple[SourceRoot, ...] = ()
    """Folders that were ingested on the stack's machine, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A gallery row for users."""

    id: UUID
    source_id: UUID
    source: str
    source_kind: SourceKind
    external_id: str
    cubemap_face: str | None
    panorama_id: str | None
    point: Point
    captured_at: datetime | None
    heading_deg: float | None
    field_of_view_deg: float | None
    """Horizontal field of view, degrees; None unless known."""
    altitude_m: float | None
    camera: str | None
    creator: str | None
    sequence: str | None
    license: str | None
    attribution: str | None
    sha256: str
    format: str
    width_px: int
    height_px: int
    uri: str | None
    state: ImageState
    error_message: str | None
    """Why the image is `failed`."""
    version: int
    attributes: Mapping[str, object]
    created_at: datetime
    updated_at: datetime
    position_source: str = "none"
    time_source: str | None = None
    field_sources: Mapping[str, str] = field(default_factory=dict)
    """Field → origin of its value, for each field that has one."""
    warnings: tuple[str, ...] = ()
    """One sentence for each value that was chosen over another one or ignored."""
    image_access: ImageAccess = "full"
    """That of its source."""

    @property
    def file_name(self) -> str:
        """Name of the file: the last part of its path in the source."""
        return self.external_id.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLabel:
    """File name, source, license and position of an image."""

    file_name: str
    source: str
    license: str | None
    attribution: str | None
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptQuery:
    """An answer that its caller asked to keep, without the photo."""

    id: UUID
    created_at: datetime
    expires_at: datetime
    """From this time on, it is not readable."""
    point: Point
    radius_m: float | None
    """Radius around the point that contains the ground truth with `probability`."""
    probability: float | None
    """A share of the ranker's weights if not calibrated."""
    calibrated: bool
    abstention_reason: str | None
    bundle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePosition:
    """A row's position in the order of a list: file name, id."""

    file_name: str
    image_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """A gallery row for training."""

    external_id: str
    cubemap_face: str | None
    panorama_id: str | None
    """Without the prefix of the source's id, if the catalog generated the name."""
    source_kind: SourceKind
    point: Point
    creator: str | None
    sequence: str | None
    sha256: str | None
    """Hash of the file at `path`; None for a rendition, which has no stored hash."""
    size_bytes: int
    """Size of the ingested file."""
    path: str | None
    """Path of the stored file on this machine; None if no file is stored or it is missing."""
    state: ImageState


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """A source's rows for training, without deleted ones."""

    organization: str
    name: str
    rows: tuple[TrainingRow, ...]
    """By external id and face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUpdate:
    """A manual correction; None leaves a field unchanged."""

    clear: frozenset[ManualField] = frozenset()
    """Fields whose manual value is removed; the value with the next precedence applies."""

    point: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    creator: str | None = None
    sequence: str | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A set of files and the states of its items; `received + stored + processed == items`."""

    id: UUID
    source_id: UUID
    source: str
    state: Literal["open", "closed"]
    """`closed`: accepts no more items."""
    created_at: datetime
    closed_at: datetime | None
    items: int
    received: int
    stored: int
    indexed: int
    updated: int
    duplicate: int
    rejected: int
    failed: int
    canceled: int = 0

    @property
    def processed(self) -> int:
        """Number of items with a final status."""
        accepted = self.indexed + self.updated + self.duplicate
        return accepted + self.rejected + self.failed + self.canceled

    @property
    def is_processed(self) -> bool:
        """Whether the batch is closed and every item has a final status."""
        return self.state == "closed" and self.processed == self.items


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One file of a batch."""

    id: UUID
    position: int
    """Order of arrival in the batch; the cursor of its pages."""
    file: str
    status: ItemStatus
    error_stage: str | None
    error_code: str | None
    error_message: str | None
    image_ids: tuple[UUID, ...]
    attempts: int
    notes: tuple[str, ...] = ()
    """Notes for the user, independent of the final status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """A file to be ingested, before it was read."""

    external_id: str
    file: str
    """Name shown to users."""
    uri: str
    """`file:///path`, `blob:<organization>/<name>`, or `https`, `s3` or `gs` with their `://`."""
    metadata_override: MetadataOverride | None = None
    rejected: Rejected | None = None
    """Set if the file was rejected before registration (a bad manifest row, a refused URL)."""
