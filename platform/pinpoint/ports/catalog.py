"""Port of entry points and flows: one organization's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pinpoint.records import (
    Answer,
    AuditEntry,
    Batch,
    BatchItem,
    Candidate,
    Circle,
    CorrectionResult,
    Evidence,
    GallerySample,
    IdempotentRequest,
    Image,
    ImageCorrection,
    ImageFilter,
    ImageLabel,
    ImagePosition,
    ImageUpdate,
    KeptQuery,
    NewItem,
    OriginalsPolicy,
    Point,
    Source,
    SourceKind,
    SourceRoot,
    StoredAnswer,
)
from pinpoint.records.audit import AuditFilter, AuditRow
from pinpoint.records.protected_areas import AreaHit, ImageAccess


class CatalogReader(Protocol):
    """One organization's rows; rows of other organizations cannot be reached through it.

    Every method with an id raises `NotFoundError` if this organization has no row with that id.
    """

    def sources(self, *, limit: int | None = None, after: str | None = None) -> list[Source]:
        """Sources by name, with their number of images.

        Args:
            limit: Maximum number of sources; None for all.
            after: Name after which the sources begin.
        """
        ...

    def source(self, name_or_id: str | UUID) -> Source:
        """Find a source by name or id."""
        ...

    def source_files(self, source_id: UUID, prefix: str) -> Iterator[tuple[str, str | None]]:
        """External id and URI of each live file with an id that begins with `prefix`, by id."""
        ...

    def error_counts(self, batch_id: UUID) -> dict[str, int]:
        """Number of items without an image by error code, most frequent first."""
        ...

    def batches(
        self, limit: int = 50, before: UUID | None = None, id_prefix: str | None = None
    ) -> list[Batch]:
        """Batches, newest first; `before` is the last id of the previous page.

        `id_prefix` is the beginning of an id in hex digits, without dashes.
        """
        ...

    def batch(self, batch_id: UUID) -> Batch:
        """One batch with its counts."""
        ...

    def batch_items(
        self, batch_id: UUID, *, status: str | None = None, after: int = 0, limit: int = 200
    ) -> list[BatchItem]:
        """Items with `position > after`, in order of arrival."""
        ...

    def image(self, image_id: UUID) -> Image:
        """Find one image; deleted images are not found."""
        ...

    def images(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Images by id; missing images are omitted."""
        ...

    def list_images(
        self, image_filter: ImageFilter, *, limit: int, after: ImagePosition | None = None
    ) -> list[Image]:
        """A page of images after `after`, by source name, file name and id."""
        ...

    def image_labels(self, ids: Sequence[UUID]) -> dict[UUID, ImageLabel]:
        """File name, source, license and position of images; missing images are omitted."""
        ...

    def kept_queries(
        self, *, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[KeptQuery]:
        """Answers that callers asked to keep, newest first, without expired ones.

        `before` is time and id of the last one of the previous page.
        """
        ...

    def audit_rows(
        self,
        audit_filter: AuditFilter,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[AuditRow]:
        """Rows of the audit log, newest first.

        `before` is time and id of the last one of the previous page.
        """
        ...

    def copies(self, images: Sequence[Image]) -> dict[UUID, tuple[Image, ...]]:
        """For each image, the other images of identical bytes (and face), by source name and id.

        Images without copies, and failed copies, are omitted.
        """
        ...

    def thumbnail(self, image_id: UUID) -> bytes:
        """JPEG bytes."""
        ...

    def neighbors(
        self,
        image_id: UUID,
        *,
        radius_m: float,
        source_kinds: Sequence[SourceKind] = (),
        limit: int = 20,
    ) -> list[tuple[Image, float]]:
        """Images near an image with their geodesic distance in meters, nearest first."""
        ...

    def evidence(
        self,
        candidates: Sequence[Candidate],
        *,
        contract: str,
        radius_m: float,
        per_kind: int,
        excluded: Collection[UUID] = (),
        exclude_circle: Circle | None = None,
    ) -> list[Evidence]:
        """Neighbors of all candidates in one statement: up to `per_kind` of each kind.

        Ordered by candidate, nearest first, ties by content. `excluded` images and those inside
        `exclude_circle` do not count toward `per_kind`.
        """
        ...

    def ids_by(
        self, *, hashes: Sequence[str], creators: Sequence[str], sequences: Sequence[str]
    ) -> list[UUID]:
        """Images with one of these hashes (SHA-256, hex), creators or sequences, in no order."""
        ...

    def sample_images(
        self,
        *,
        per_kind: int,
        seed: int,
        source_kinds: Sequence[SourceKind] = (),
        source_ids: Sequence[UUID] = (),
    ) -> list[GallerySample]:
        """Draw up to `per_kind` indexed images of each kind; the same ones for the same seed.

        The strata (source, sequence and cell) take turns.
        """
        ...

    def has_protected_areas(self) -> bool:
        """Whether any protected area applies to the organization."""
        ...

    def protected_areas_at(self, points: Sequence[Point]) -> list[AreaHit | None]:
        """For each point, the coarsest protected area that contains it; None outside of all."""
        ...

    def hidden_images(self, ids: Sequence[UUID]) -> set[UUID]:
        """Which of these images the caller may not see, or do not exist."""
        ...

    def same_capture_ids(self, image_id: UUID, seconds: float) -> list[UUID]:
        """Ids of the image, of its panorama, and of its neighbors in time, in order."""
        ...


class CatalogWriter(CatalogReader, Protocol):
    """Adds changes; the tasks of a change are sent after the commit."""

    def add_source(
        self,
        name: str,
        kind: SourceKind,
        *,
        license: str | None = None,
        attribution: str | None = None,
        originals: OriginalsPolicy = "copy",
    ) -> Source:
        """Create a source.

        Raises:
            ConflictError: The name is taken.
            BadRequestError: Kind or policy is unknown.
        """
        ...

    def set_image_access(self, source_id: UUID, image_access: ImageAccess) -> Source:
        """Set what API keys may see of the images of a source."""
        ...

    def add_root(self, source_id: UUID, root: SourceRoot) -> Source:
        """Add a root folder to a source.

        Raises:
            ConflictError: The source already has a root with this name.
            BadRequestError: The name cannot be part of an id.
        """
        ...

    def move_root(self, source_id: UUID, name: str, path: str) -> int:
        """Change the path of a root; ids stay. Returns the number of files moved with it.

        Raises:
            NotFoundError: The source has no root with this name.
        """
        ...

    def remove_files(self, source_id: UUID, external_ids: Sequence[str]) -> int:
        """Mark the images of these files as deleted; returns the number of images."""
        ...

    def erase_source(self, source_id: UUID) -> int:
        """Mark all images as deleted; a worker removes them. Returns their number."""
        ...

    def open_batch(self, source_id: UUID) -> Batch:
        """Create a batch."""
        ...

    def add_items(
        self, batch_id: UUID, items: Sequence[NewItem], *, skip_existing: bool = False
    ) -> list[UUID]:
        """Insert files and request their ingest; returns item ids in order.

        With `skip_existing`, items whose external id the batch has are skipped.

        Raises:
            ConflictError: The batch is closed.
        """
        ...

    def add_listing(self, batch_id: UUID, url: str) -> UUID:
        """Request that a worker adds all images below a bucket or prefix; returns the listing's id.

        Raises:
            ConflictError: The batch is closed.
        """
        ...

    def close_batch(self, batch_id: UUID) -> Batch:
        """Close a batch to new items, or as soon as its bucket listings are finished."""
        ...

    def cancel_batch(self, batch_id: UUID) -> int:
        """Close a batch and cancel the items that no worker has started; returns their number."""
        ...

    def retry_batch(self, batch_id: UUID) -> int:
        """Process failed and canceled items again, each once; returns their number."""
        ...

    def update_image(
        self, image_id: UUID, image_update: ImageUpdate, *, version: int | None = None
    ) -> Image:
        """Set or clear manual values; the version increases and a worker updates the index.

        Args:
            image_id: Id of the image.
            image_update: Values to set and fields to clear.
            version: Version that the caller read; None accepts every version.

        Raises:
            InvalidRequestError: Nothing would change, or no position would remain.
            PreconditionError: The image has another version.
        """
        ...

    def update_images(self, corrections: Sequence[ImageCorrection]) -> list[CorrectionResult]:
        """Apply corrections in their order; each has a result, and a rejected one changes nothing.

        Raises:
            BadRequestError: There are too many for one transaction.
        """
        ...

    def delete_image(self, image_id: UUID) -> None:
        """Mark an image as deleted; a worker removes index point, blob and row."""
        ...

    def log_access(self, *entries: AuditEntry) -> None:
        """Write rows of the audit log in this unit of work, so that a rollback discards them.

        Each row gets the id of the current request. Photos are never stored; their hashes are.
        """
        ...

    def keep_query(self, answer: Answer, retention_days: float) -> KeptQuery:
        """Keep an answer that has a point, without its photo, until it expires."""
        ...

    def delete_kept_query(self, query_id: UUID) -> None:
        """Delete a kept query that is not expired."""
        ...


class AnswerStore(Protocol):
    """Answers of requests with `Idempotency-Key`, in one transaction of one organization."""

    def find_answer(self, request: IdempotentRequest) -> StoredAnswer | None:
        """Lock the key of a request until the end of the transaction and find its answer.

        Returns:
            The answer of an earlier request with this key; None if there is none.

        Raises:
            ConflictError: A request with this key is running (`idempotency_key_in_use`).
            InvalidRequestError: The key belongs to another request (`idempotency_key_reused`).
        """
        ...

    def store_answer(self, request: IdempotentRequest, answer: StoredAnswer, ttl_s: float) -> None:
        """Store the answer of a request whose key is locked; it expires after `ttl_s` seconds."""
        ...


class Database(Protocol):
    """Opens units of work; one that ends without an error is committed, and its tasks are sent."""

    def read(self, organization_id: UUID) -> AbstractContextManager[CatalogReader]:
        """A read-only transaction in one organization."""
        ...

    def write(self, organization_id: UUID) -> AbstractContextManager[CatalogWriter]:
        """A transaction in one organization."""
        ...

    def write_once(self, organization_id: UUID) -> AbstractContextManager[AnswerStore]:
        """One transaction for everything that this thread reads and writes in the block."""
        ...
