"""Write access to one organization's rows and to its audit log.

The resulting tasks are sent after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import Text, and_, func, insert, or_, update
from sqlalchemy.exc import IntegrityError

from pinpoint import tasks
from pinpoint.errors import ConflictError, InvalidRequestError
from pinpoint.iteration import batched
from pinpoint.records import (
    SOURCE_KINDS,
    Answer,
    AuditEntry,
    Batch,
    CorrectionResult,
    Image,
    ImageCorrection,
    ImageUpdate,
    KeptQuery,
    NewItem,
    OriginalsPolicy,
    Source,
    SourceKind,
    SourceRoot,
    limits,
)
from pinpoint.store.catalog import audit_log, corrections, item_rows, kept_queries, listing_rows
from pinpoint.store.catalog.bulk_corrections import correct_images
from pinpoint.store.catalog.names import check_name
from pinpoint.store.catalog.source_changes import SourceChanges
from pinpoint.store.db.database import UnitOfWork
from pinpoint.store.db.tables import (
    batch_items,
    batches,
    images,
    sources,
)
from pinpoint.store.deletion import image_deletion
from pinpoint.store.ingest import source_roots
from pinpoint.store.webhooks.webhook_events import insert_event

_POLICIES = ("reference", "copy", "rendition")
_REMOVAL_PAGE = 10_000
"""Number of files removed by one statement."""


class Writer(SourceChanges):
    """Implements `ports.CatalogWriter` on one unit of work."""

    def __init__(self, unit: UnitOfWork, chunk: int) -> None:
        super().__init__(unit)
        self._chunk = chunk

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
            InvalidRequestError: Kind or policy is unknown, or the name is invalid (`store.names`).
        """
        check_name(name, "source")
        _check_texts(name=name, license=license, attribution=attribution)
        if kind not in SOURCE_KINDS:
            raise InvalidRequestError(
                f"source kind {kind!r} is unknown; valid are {', '.join(SOURCE_KINDS)}"
            )
        if originals not in _POLICIES:
            raise InvalidRequestError(
                f"originals policy {originals!r} is unknown; valid are {_POLICIES}"
            )
        values = {
            "id": uuid4(),
            "organization_id": self._organization_id,
            "name": name,
            "kind": kind,
            "license": license,
            "attribution": attribution,
            "originals": originals,
        }
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(sources), values)
        except IntegrityError as error:
            raise ConflictError(f"a source named {name!r} exists already") from error
        return self.source(name)

    def add_root(self, source_id: UUID, root: SourceRoot) -> Source:
        """Add a root folder to a source.

        Raises:
            ConflictError: The source already has a root with this name.
            InvalidRequestError: The name cannot be part of an id.
        """
        self.source(source_id)
        _check_texts(external_id=root.name, root=root.path)
        source_roots.add_root(self._connection, self._organization_id, source_id, root)
        return self.source(source_id)

    def move_root(self, source_id: UUID, name: str, path: str) -> int:
        """Change the path of a root; ids stay. Returns the number of files moved with it.

        Raises:
            NotFoundError: The source has no root with this name.
        """
        self.source(source_id)
        _check_texts(root=path)
        return source_roots.move_root(self._connection, source_id, name, path)

    def remove_files(self, source_id: UUID, external_ids: Sequence[str]) -> int:
        """Mark the images of these files as deleted; returns the number of images."""
        deleted: list[UUID] = []
        for page in batched(external_ids, _REMOVAL_PAGE):
            condition = and_(
                self._in_organization(images),
                images.c.source_id == source_id,
                images.c.external_id.in_(page),
            )
            deleted += image_deletion.mark_deleted(self._connection, condition)
        self._enqueue_tasks(tasks.ERASE_IMAGES, deleted)
        return len(deleted)

    def erase_source(self, source_id: UUID) -> int:
        """Mark all images as deleted; a worker removes them, then the source."""
        self.source(source_id)
        # The lock waits for writers of this source; later writers see that it is erased.
        image_deletion.lock_source(self._connection, source_id)
        self._connection.execute(
            update(batches)
            .where(self._in_organization(batches), batches.c.source_id == source_id)
            .values(closed_at=func.coalesce(batches.c.closed_at, func.now()))
        )
        self._connection.execute(
            update(sources)
            .where(self._in_organization(sources), sources.c.id == source_id)
            # The name becomes free at once; the row is deleted with its last image.
            .values(erased_at=func.now(), name=func.concat("erased:", sources.c.id.cast(Text)))
        )
        deleted = image_deletion.mark_deleted(self._connection, images.c.source_id == source_id)
        self._enqueue_tasks(tasks.ERASE_IMAGES, deleted)
        return len(deleted)

    def open_batch(self, source_id: UUID) -> Batch:
        """Create a batch."""
        source = self.source(source_id)
        batch_id = uuid4()
        self._connection.execute(
            insert(batches),
            {"id": batch_id, "organization_id": self._organization_id, "source_id": source.id},
        )
        return self.batch(batch_id)

    def add_items(
        self, batch_id: UUID, items: Sequence[NewItem], *, skip_existing: bool = False
    ) -> list[UUID]:
        """Insert files and request their ingest; returns item ids in order.

        With `skip_existing`, items whose external id the batch has are skipped: a repeated
        call adds nothing twice. This works for items that are not on this machine.

        Raises:
            ConflictError: The batch is closed.
        """
        values = item_rows.insert_items(
            self._connection, self._organization_id, batch_id, items, skip_existing=skip_existing
        )
        self._enqueue_tasks(
            tasks.INGEST_ITEMS, [value["id"] for value in values if value["status"] == "received"]
        )
        return [value["id"] for value in values]

    def add_listing(self, batch_id: UUID, url: str) -> UUID:
        """Request that a worker adds all images below a bucket or prefix; returns the listing's id.

        A listing of the same prefix that is not finished is continued.

        Raises:
            ConflictError: The batch is closed.
        """
        listing_id = listing_rows.insert_listing(
            self._connection, self._organization_id, batch_id, url
        )
        self._unit.after_commit(tasks.LIST_BUCKET, [listing_id])
        return listing_id

    def _enqueue_tasks(self, name: tasks.TaskName, ids: Sequence[UUID]) -> None:
        for chunk_ids in batched(ids, self._chunk):
            self._unit.after_commit(name, chunk_ids)

    def close_batch(self, batch_id: UUID) -> Batch:
        """Close a batch to new items; a second call changes nothing.

        A batch whose bucket listings are not finished closes when they are.
        """
        self.batch(batch_id)
        # Before the batch: a worker that ends a listing locks them in this order.
        if not listing_rows.request_close(self._connection, self._organization_id, batch_id):
            self._mark_closed(batch_id)
        return self.batch(batch_id)

    def _mark_closed(self, batch_id: UUID) -> None:
        closed = self._connection.execute(
            update(batches)
            .where(
                self._in_organization(batches),
                batches.c.id == batch_id,
                batches.c.closed_at.is_(None),
            )
            .values(closed_at=func.now())
        )
        if closed.rowcount:
            insert_event(
                self._unit, self._organization_id, "batch.closed", {"batch_id": str(batch_id)}
            )

    def cancel_batch(self, batch_id: UUID) -> int:
        """Close a batch and cancel the items that no worker has started; returns their number.

        Items under a lease, and items with stored rows, continue to their final status. A second
        call changes nothing. `prune` deletes the uploads of canceled items.
        """
        self.batch(batch_id)
        listing_rows.finish_listings(self._connection, self._organization_id, batch_id)
        self._mark_closed(batch_id)
        canceled = self._connection.execute(
            update(batch_items)
            .where(
                self._in_organization(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.status == "received",
                # Evaluated again on the locked row: a worker may have claimed it in between.
                or_(batch_items.c.lease_until.is_(None), batch_items.c.lease_until < func.now()),
            )
            .values(
                status="canceled",
                error_stage=None,
                error_code="canceled",
                error_message="canceled before it was read; `pinpoint batches retry` sends it "
                "again",
                lease_owner=None,
                lease_until=None,
            )
        )
        return int(canceled.rowcount)

    def retry_batch(self, batch_id: UUID) -> int:
        """Process failed and canceled items again, each once; returns their number.

        Items that wait for a worker or are claimed are skipped: the recovery task sends lost
        ones again.
        """
        self.batch(batch_id)
        retried = self._connection.execute(
            update(batch_items)
            .where(
                self._in_organization(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.status.in_(("failed", "canceled")),
                # An erased image has no file left to process.
                batch_items.c.uri != "",
            )
            .values(
                status="received",
                error_stage=None,
                error_code=None,
                error_message=None,
                notes=[],
                attempts=0,
                lease_owner=None,
                lease_until=None,
            )
            .returning(batch_items.c.id)
        )
        ids = sorted(retried.scalars())
        self._enqueue_tasks(tasks.INGEST_ITEMS, ids)
        return len(ids)

    def update_image(
        self, image_id: UUID, image_update: ImageUpdate, *, version: int | None = None
    ) -> Image:
        """Set or clear manual values; the version increases and a worker updates the index.

        Raises:
            InvalidRequestError: Nothing would change, or no position would remain.
        """
        _check_texts(
            creator=image_update.creator,
            sequence=image_update.sequence,
            license=image_update.license,
        )
        corrections.correct_image(
            self._connection, image_id, self._in_organization(images), image_update, version
        )
        self._enqueue_tasks(tasks.INDEX_IMAGES, [image_id])
        return self.image(image_id)

    def update_images(self, corrections: Sequence[ImageCorrection]) -> list[CorrectionResult]:
        """Set or clear manual values of many images; see `bulk_corrections.correct_images`.

        Raises:
            InvalidRequestError: There are more than `MAX_CORRECTIONS`.
        """
        results, changed = correct_images(self._connection, corrections, self._in_organization)
        self._enqueue_tasks(tasks.INDEX_IMAGES, changed)
        return results

    def delete_image(self, image_id: UUID) -> None:
        """Mark an image as deleted; a worker removes index point, blob and row."""
        self.image(image_id)
        self._enqueue_tasks(
            tasks.ERASE_IMAGES,
            image_deletion.mark_deleted(self._connection, images.c.id == image_id),
        )

    def log_access(self, *entries: AuditEntry) -> None:
        """Write rows of the audit log in this unit of work, so that a rollback discards them."""
        audit_log.insert_entries(self._connection, self._organization_id, entries)

    def keep_query(self, answer: Answer, retention_days: float) -> KeptQuery:
        """Keep an answer that has a point, without its photo, until it expires."""
        return kept_queries.keep_query(
            self._connection, self._organization_id, answer, retention_days
        )

    def delete_kept_query(self, query_id: UUID) -> None:
        """Delete a kept query.

        Raises:
            NotFoundError: It does not exist, or it is expired.
        """
        kept_queries.delete_kept_query(self._connection, self._organization_id, query_id)


def _check_texts(**texts: str | None) -> None:
    """Reject a text that does not fit its column.

    Raises:
        InvalidRequestError: The message names the field.
    """
    for column, text in texts.items():
        try:
            limits.check_text(column, text)
        except limits.UnstorableError as error:
            raise InvalidRequestError(error.detail, reason=error.reason) from error
