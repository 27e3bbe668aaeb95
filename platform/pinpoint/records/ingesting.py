"""An ingest as a worker sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pinpoint.records.basics import Point, SourceKind, Vector
from pinpoint.records.catalogue import Source
from pinpoint.records.reading import Hint, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedItem:
    """A batch item under this worker's lease, with all that reading it needs."""

    id: UUID
    organization_id: UUID
    source: Source
    external_id: str
    file: str
    locator: str
    hint: Hint | None
    attempts: int
    arrival: int
    """Rises with every item that is registered, over all batches."""
    batch_id: UUID | None = None
    """For log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """A row that an item has become; `face` points into the reading's faces."""

    id: UUID
    face: int
    needs_vector: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the catalogue made of one reading."""

    item_id: UUID
    duplicate: Rejected | None
    """Set where nothing was to be done, with the reason."""
    images: tuple[KeptImage, ...]
    replaced: tuple[str, ...] = ()
    """Locators of earlier bytes that no row names any more."""
    waits: bool = False
    """Nothing was done yet: an original must be brought to its place first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A vector for an image, good only for the bytes it was made from."""

    image_id: UUID
    sha256: str
    vector: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """A row of the catalogue that lacks vectors of a contract."""

    id: UUID
    kind: SourceKind
    face: str | None
    point: Point
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What is kept of a file, and the rows that its pictures are."""

    file: str
    locator: str
    """Empty where nothing was kept."""
    hint: Hint
    """The position that the catalogue has: the file need not say it again."""
    whole: bool
    """Whether the bytes are those that the rows' hash is of; a rendition's are not."""
    images: tuple[StoredImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reembedded:
    """What a pass over images without vectors came to; every image is in one of the two."""

    done: int
    unreachable: Mapping[UUID, Rejected]
    """Images whose picture is gone, changed or cannot be encoded, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grave:
    """A deleted image whose index point and blob still stand."""

    id: UUID
    version: int
    locator: str | None
