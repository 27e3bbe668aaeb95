"""What doors and flows ask of one organisation's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from pinpoint.records import (
    Batch,
    BatchItem,
    Candidate,
    Evidence,
    Image,
    ImageFilter,
    ImageFix,
    ImageLabel,
    ImagePosition,
    NewItem,
    OriginalsPolicy,
    Source,
    SourceKind,
    SourceRoot,
)


class CatalogueReader(Protocol):
    """One organisation's rows; nothing of another's can be reached through it.

    Every method that takes an id raises `NotFound` where this organisation has none such.
    """

    def sources(self) -> list[Source]:
        """All sources by name, with their number of images."""
        ...

    def source(self, name_or_id: str | UUID) -> Source:
        """One source."""
        ...

    def source_files(self, source_id: UUID, prefix: str) -> Iterator[tuple[str, str | None]]:
        """External id and locator of each live file whose id begins with `prefix`, by id."""
        ...

    def refused_counts(self, batch_id: UUID) -> dict[str, int]:
        """Items of a batch that ended without an image, by reason, most frequent first."""
        ...

    def batches(
        self, limit: int = 50, before: UUID | None = None, id_prefix: str | None = None
    ) -> list[Batch]:
        """Newest first; `before` is the last id of the page before.

        `id_prefix` are the first hex digits of an id, without dashes.
        """
        ...

    def batch(self, batch_id: UUID) -> Batch:
        """One batch with its counts."""
        ...

    def batch_items(
        self, batch_id: UUID, *, state: str | None = None, after: int = 0, limit: int = 200
    ) -> list[BatchItem]:
        """Items in order of arrival with `seq > after`."""
        ...

    def image(self, image_id: UUID) -> Image:
        """One image; deleted ones are not found."""
        ...

    def images(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Images by id; missing ones are left out."""
        ...

    def list_images(
        self, wanted: ImageFilter, *, limit: int, after: ImagePosition | None = None
    ) -> list[Image]:
        """A page of images by source name, file name and id, from behind `after` on."""
        ...

    def image_labels(self, ids: Sequence[UUID]) -> dict[UUID, ImageLabel]:
        """What people know images by; missing ones are left out."""
        ...

    def copies(self, images: Sequence[Image]) -> dict[UUID, tuple[Image, ...]]:
        """By image the other images of identical bytes (and face), by source name and id.

        Images without such copies are left out, and so are copies that failed.
        """
        ...

    def thumbnail(self, image_id: UUID) -> bytes:
        """JPEG bytes."""
        ...

    def neighbours(
        self, image_id: UUID, *, radius_m: float, kinds: Sequence[SourceKind] = (), limit: int = 20
    ) -> list[tuple[Image, float]]:
        """Images near an image with their geodesic distance in metres, nearest first."""
        ...

    def evidence(
        self,
        candidates: Sequence[Candidate],
        *,
        contract: str,
        radius_m: float,
        per_kind: int,
        excluded: Collection[UUID] = (),
    ) -> list[Evidence]:
        """Neighbours of all candidates in one statement: up to `per_kind` of each kind.

        By candidate, nearest first, ties by id. Those `excluded` take nobody's place.
        """
        ...

    def ids_by(
        self, *, hashes: Sequence[str], creators: Sequence[str], sequences: Sequence[str]
    ) -> list[UUID]:
        """Images with one of these hashes (SHA-256, hex), creators or sequences, in no order."""
        ...


class CatalogueWriter(CatalogueReader, Protocol):
    """The same, and changes; jobs they ask for leave after the commit."""

    def add_source(
        self,
        name: str,
        kind: SourceKind,
        *,
        licence: str | None = None,
        attribution: str | None = None,
        originals: OriginalsPolicy = "copy",
    ) -> Source:
        """Add a source.

        Raises:
            Conflict: The name is taken.
            BadRequest: Kind or policy is unknown.
        """
        ...

    def add_root(self, source_id: UUID, root: SourceRoot) -> Source:
        """Add a folder to a source.

        Raises:
            Conflict: The source has a root of that name.
            BadRequest: The name cannot be part of an id.
        """
        ...

    def move_root(self, source_id: UUID, name: str, path: str) -> int:
        """Say where a root's folder is now; ids stay. Returns how many kept files move along.

        Raises:
            NotFound: The source has no root of that name.
        """
        ...

    def remove_files(self, source_id: UUID, external_ids: Sequence[str]) -> int:
        """Leave tombstones on the images of these files; returns how many images."""
        ...

    def erase_source(self, source_id: UUID) -> int:
        """Leave tombstones on all its images, which a worker removes; returns how many."""
        ...

    def open_batch(self, source_id: UUID) -> Batch:
        """Open an upload set."""
        ...

    def add_items(self, batch_id: UUID, items: Sequence[NewItem]) -> list[UUID]:
        """Record files and ask for their ingest; returns item ids in order.

        Raises:
            Conflict: The batch is closed.
        """
        ...

    def close_batch(self, batch_id: UUID) -> Batch:
        """Say that no more items come; closing twice changes nothing."""
        ...

    def cancel_batch(self, batch_id: UUID) -> int:
        """Close a batch and give up the items that no worker has begun; returns how many."""
        ...

    def retry_batch(self, batch_id: UUID) -> int:
        """Send failed and canceled items again, each once; returns how many."""
        ...

    def fix_image(self, image_id: UUID, fix: ImageFix) -> Image:
        """Set or clear manual values; the version rises and a worker carries it to the index.

        Raises:
            BadRequest: Nothing would change, or no position would be left.
        """
        ...

    def delete_image(self, image_id: UUID) -> None:
        """Leave a tombstone; a worker removes index point, blob and row."""
        ...

    def log_query(
        self,
        asked: str,
        *,
        key_id: UUID | None,
        photo_sha256: str | None,
        bundle: str,
        index_build: str | None,
    ) -> None:
        """Write one line of the audit: a hash of the photo, never the photo."""
        ...


class Database(Protocol):
    """Hands out units of work; leaving one without an error commits it and sends its jobs."""

    def read(self, organization_id: UUID) -> AbstractContextManager[CatalogueReader]:
        """A read-only look at one organisation."""
        ...

    def write(self, organization_id: UUID) -> AbstractContextManager[CatalogueWriter]:
        """A transaction in one organisation."""
        ...
