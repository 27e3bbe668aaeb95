"""Records of the ingest for workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pinpoint.records.catalog import Source
from pinpoint.records.metadata import MetadataOverride, Rejected
from pinpoint.records.primitives import Point, SourceKind, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedItem:
    """A batch item under this worker's lease, with all data for its processing."""

    id: UUID
    organization_id: UUID
    source: Source
    external_id: str
    file: str
    uri: str
    metadata_override: MetadataOverride | None
    attempts: int
    ingest_seq: int
    """Order of arrival of all items, over all batches."""
    batch_id: UUID | None = None
    """For log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertedImage:
    """An image row of an item; `face` is an index into the reading's faces."""

    id: UUID
    face: int
    needs_vector: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertResult:
    """Result of the upsert of one reading."""

    item_id: UUID
    duplicate: Rejected | None
    """Set if nothing was to be done, with the error code."""
    images: tuple[UpsertedImage, ...]
    replaced: tuple[str, ...] = ()
    """URIs of earlier bytes without a row."""
    waits: bool = False
    """Nothing was written yet: an original must be stored first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors of an image, valid only for the bytes they were computed from."""

    image_id: UUID
    sha256: str
    vectors: Mapping[str, Vector]
    """`[D]` by channel: `image`, and `raw` if the bundle has it. Not `gps`: that vector depends on
    the row's position, and the index stage computes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """A row of the catalog without vectors of a contract."""

    id: UUID
    source_kind: SourceKind
    cubemap_face: str | None
    point: Point
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A stored file and its image rows."""

    file: str
    uri: str
    """Empty if no file was stored."""
    metadata_override: MetadataOverride
    """The position in the catalog: the file need not contain it."""
    whole: bool
    """Whether the bytes match the hash in the rows; those of a rendition do not."""
    images: tuple[StoredImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedReport:
    """Result of a pass over images without vectors; every image is in one of the two fields."""

    done: int
    unreachable: Mapping[UUID, Rejected]
    """Images with a missing, changed or invalid file, with the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDeletion:
    """A deleted image whose index point and blob still exist."""

    id: UUID
    version: int
    uri: str | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A page of the keys of a bucket."""

    keys: tuple[str, ...]
    last_key: str | None
    """Continues the listing; None at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketListing:
    """A bucket or prefix whose objects are being added to a batch."""

    id: UUID
    organization_id: UUID
    batch_id: UUID
    url: str
    after_key: str | None
    """Last key that was added; None before the first page."""
    attempts: int
    """Attempts since the last page that was added."""
