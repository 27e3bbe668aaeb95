"""Catalog access of workers (`ports.IngestRepository`); each call is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal
from uuid import UUID

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from pinpoint.ports import EncodePositions, OriginalStore
from pinpoint.records import (
    IMAGE_CHANNEL,
    ClaimedItem,
    Embedded,
    IndexPoint,
    PendingDeletion,
    Rejected,
    UpsertResult,
)
from pinpoint.records.limits import UnstorableError
from pinpoint.store.catalog.field_layers import with_stored_layers
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.rows import is_any_of, pack_vector
from pinpoint.store.db.tables import embeddings, images
from pinpoint.store.deletion import image_deletion
from pinpoint.store.ingest import dead_letters, gps_vectors, heartbeat, leases, upsert
from pinpoint.store.vectors.rebuild_source import select_points, to_points


class CatalogIngestRepository:
    """Catalog access of workers with the owner's role.

    Args:
        transactions: Units of work on the owner's engine.
        contract: Returns the digest of the current bundle; called only when rows are stored.
        lease_ttl_s: Duration of a lease without renewal, in seconds.
        max_attempts: Number of claims after which an item fails.
    """

    def __init__(
        self,
        transactions: Transactions,
        *,
        contract: Callable[[], str],
        lease_ttl_s: float,
        max_attempts: int,
    ) -> None:
        self._transactions = transactions
        self._contract = contract
        self._lease_ttl_s = lease_ttl_s
        self._max_attempts = max_attempts

    def claim(self, ids: Sequence[UUID], worker: str) -> list[ClaimedItem]:
        """Claim free items; items with too many attempts are failed instead.

        Items with unreadable rows are rejected with an error code, and are not returned.
        """
        with self._transactions.begin() as unit:
            rows = leases.claim_items(
                unit.connection,
                ids,
                worker,
                lease_ttl_s=self._lease_ttl_s,
                max_attempts=self._max_attempts,
            )
        items: list[ClaimedItem] = []
        unreadable: dict[UUID, Rejected] = {}
        for row in rows:
            try:
                items.append(leases.to_claimed(row))
            except UnstorableError as error:
                unreadable[row.item_id] = leases.rejection_of(row, error)
        self.finish_items(unreadable, "rejected")
        with self._transactions.begin() as unit:
            return with_stored_layers(unit.connection, items)

    def record_dead_letter(self, ids: Sequence[UUID]) -> None:
        """Record that the broker gave up the task of these items; see `dead_letters`."""
        with self._transactions.begin() as unit:
            dead_letters.record_dead_letter(unit.connection, ids, lease_ttl_s=self._lease_ttl_s)

    def lease_heartbeat(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Renew a worker's leases until the block ends, for at most one hour."""
        return heartbeat.lease_heartbeat(
            self._transactions, ids, worker, lease_ttl_s=self._lease_ttl_s
        )

    def finish_items(
        self, rejections: Mapping[UUID, Rejected], status: Literal["rejected", "failed"]
    ) -> None:
        """Set the final status of items."""
        if not rejections:
            return
        with self._transactions.begin() as unit:
            leases.finish_items(unit.connection, rejections, status)

    def upsert_images(
        self, readings: Sequence[upsert.Entry], originals: OriginalStore
    ) -> list[UpsertResult]:
        """Convert readings of one source to rows, thumbnails and counters, or to duplicates."""
        with self._transactions.begin() as unit:
            results = upsert.upsert_images(unit, readings, self._contract(), originals)
            duplicates = {
                result.item_id: result.duplicate
                for result in results
                if result.duplicate is not None
            }
            leases.finish_items(unit.connection, duplicates, "duplicate")
            return results

    def save_vectors(
        self,
        contract: str,
        vectors: Sequence[Embedded],
        *,
        again: bool = False,
        encode_positions: EncodePositions | None = None,
    ) -> None:
        """Store vectors as fp16; skip a vector if the bytes of its image changed."""
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(images.c.id, images.c.organization_id, images.c.sha256)
                .where(is_any_of(images.c.id, [vector.image_id for vector in vectors]))
                .order_by(images.c.id)
                .with_for_update()
            )
            current = {row.id: row for row in rows}
            values = [
                {
                    "image_id": embedded.image_id,
                    "contract": contract,
                    "channel": channel,
                    "organization_id": current[embedded.image_id].organization_id,
                    "vector": pack_vector(vector),
                }
                for embedded in vectors
                for channel, vector in embedded.vectors.items()
                if embedded.image_id in current
                and current[embedded.image_id].sha256.hex() == embedded.sha256
            ]
            if values:
                statement = insert(embeddings)
                if again:
                    # It may be computed from a rendition; a vector from a concurrent batch is not.
                    statement = statement.on_conflict_do_nothing()
                else:
                    statement = statement.on_conflict_do_update(
                        constraint="pk_embeddings", set_={"vector": statement.excluded.vector}
                    )
                unit.connection.execute(statement, values)
            if values and encode_positions is not None:
                is_saved = is_any_of(images.c.id, [value["image_id"] for value in values])
                rows_with_vectors = unit.connection.execute(
                    select_points(contract).where(is_saved)
                ).all()
                points = to_points(rows_with_vectors)
                gps_vectors.add_gps_vectors(unit.connection, points, contract, encode_positions)
            if values and again:
                unit.connection.execute(
                    update(images)
                    .where(is_any_of(images.c.id, [value["image_id"] for value in values]))
                    .values(modified_xid=images.c.modified_xid)  # a trigger sets it
                )

    @contextmanager
    def lock_pending_images(
        self, ids: Sequence[UUID], contract: str, encode_positions: EncodePositions | None = None
    ) -> Iterator[list[IndexPoint]]:
        """Yield pending images with a vector, locked; the end of the block marks them indexed.

        The rows stay locked while the index is written: a deletion, a move or a newer version
        happens before or after, never in between.
        """
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select_points(contract)
                .where(is_any_of(images.c.id, ids), images.c.state == "pending")
                .order_by(images.c.id)
                .with_for_update(of=images)
            ).all()
            points = to_points(rows)
            gps_vectors.delete_other_contracts(unit.connection, points, contract)
            points = gps_vectors.add_gps_vectors(
                unit.connection, points, contract, encode_positions
            )
            yield points
            indexed_ids = [point.id for point in points]
            unit.connection.execute(
                update(images)
                .where(is_any_of(images.c.id, indexed_ids))
                .values(state="indexed", error_message=None, updated_at=func.now())
            )
            leases.finish_indexed(unit.connection, ids)

    def release_unprocessed(self, ids: Sequence[UUID], worker: str) -> None:
        """Release items that could not be processed for external reasons."""
        with self._transactions.begin() as unit:
            leases.release_unprocessed(unit.connection, ids, worker)

    def release_after_error(self, rejections: Mapping[UUID, Rejected], worker: str) -> None:
        """Release items after an unexpected error; the attempt counts."""
        with self._transactions.begin() as unit:
            leases.release_after_error(unit.connection, rejections, worker)

    def fail_images(self, ids: Sequence[UUID], error_code: str, error_message: str) -> None:
        """Mark pending images that the index rejects, and their waiting items, as failed."""
        with self._transactions.begin() as unit:
            leases.fail_images(unit.connection, ids, error_code, error_message)

    def unused_blobs(self, uris: Sequence[str]) -> list[str]:
        """Filter the blobs without an image or open item; empty during a backup."""
        with self._transactions.begin() as unit:
            if not image_deletion.blob_deletion_allowed(unit.connection):
                return []
            return leases.unused_blobs(unit.connection, uris)

    def release_worker(self, worker: str) -> int:
        """Release all leases of a worker; returns the number of released items."""
        with self._transactions.begin() as unit:
            return leases.release_worker(unit.connection, worker)

    @contextmanager
    def lock_pending_deletions(
        self, ids: Sequence[UUID] | None
    ) -> Iterator[tuple[list[PendingDeletion], list[str]]]:
        """Yield deleted images, locked, and blobs only they need; the end deletes the rows.

        During a backup the result is empty: deletions wait for the next recovery.
        """
        with self._transactions.begin() as unit:
            if not image_deletion.blob_deletion_allowed(unit.connection):
                yield [], []
                return
            deletions = image_deletion.pending_deletions(unit.connection, ids)
            yield deletions, image_deletion.unreferenced_blobs(unit.connection, deletions)
            image_deletion.remove_rows(unit.connection, [deletion.id for deletion in deletions])

    @contextmanager
    def expired_tombstones(self, older_than_s: float) -> Iterator[list[UUID]]:
        """Yield ids of expired tombstones; the end without an error deletes them."""
        with self._transactions.begin() as unit:
            yield image_deletion.expired_tombstones(unit.connection, older_than_s)

    def active_workers(self) -> list[str]:
        """Names of workers that hold a lease."""
        with self._transactions.begin() as unit:
            return leases.active_workers(unit.connection)

    def expired_items(self, limit: int) -> list[tuple[UUID, int]]:
        """Open items without a valid lease, oldest first, with their attempts."""
        with self._transactions.begin() as unit:
            return leases.expired_items(unit.connection, limit, lease_ttl_s=self._lease_ttl_s)

    def unindexed_images(self, contract: str, limit: int) -> list[UUID]:
        """Pending images that have a vector and only wait for the index."""
        with self._transactions.begin() as unit:
            statement = (
                select(images.c.id)
                .join(embeddings, embeddings.c.image_id == images.c.id)
                .where(images.c.state == "pending", embeddings.c.contract == contract)
                .where(embeddings.c.channel == IMAGE_CHANNEL)
                .order_by(images.c.id)
                .limit(limit)
            )
            return list(unit.connection.execute(statement).scalars())

    def pending_deletions(self, limit: int) -> list[UUID]:
        """Deleted images that still have a row; also deletes erased sources without images."""
        with self._transactions.begin() as unit:
            image_deletion.remove_empty_sources(unit.connection)
            statement = select(images.c.id).where(images.c.state == "deleted")
            return list(
                unit.connection.execute(statement.order_by(images.c.id).limit(limit)).scalars()
            )

    def versions(self, after: UUID | None, limit: int, contract: str) -> list[tuple[UUID, int]]:
        """`(id, version)` of all rows that the index must contain, in id order."""
        statement = (
            select(images.c.id, images.c.version)
            .join(embeddings, embeddings.c.image_id == images.c.id)
            .where(images.c.state == "indexed", embeddings.c.contract == contract)
            .where(embeddings.c.channel == IMAGE_CHANNEL)
            .order_by(images.c.id)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(images.c.id > after)
        with self._transactions.begin() as unit:
            return [(row.id, row.version) for row in unit.connection.execute(statement)]

    def live_versions(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        """Versions of the ids with a row that is indexed or pending."""
        with self._transactions.begin() as unit:
            return image_deletion.live_versions(unit.connection, ids)

    @contextmanager
    def orphaned_points(
        self, source_id: UUID, ids: Sequence[UUID]
    ) -> Iterator[tuple[list[UUID], dict[UUID, int]]]:
        """Yield the ids of a source without a live row, and their tombstones, if any.

        No image is added to the source before the block ends, so none of them gets a row.
        """
        with self._transactions.begin() as unit:
            image_deletion.lock_source(unit.connection, source_id)
            yield image_deletion.orphaned_points(unit.connection, ids)

    def bump_versions(self, versions: Mapping[UUID, int]) -> None:
        """Raise live rows above these versions and process them in the index stage again."""
        if not versions:
            return
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(images)
                .where(
                    images.c.id == bindparam("image"),
                    images.c.version <= bindparam("index_version"),
                    images.c.state.in_(("pending", "indexed")),
                )
                .values(version=bindparam("next_version"), state="pending"),
                [
                    {"image": image, "index_version": version, "next_version": version + 1}
                    for image, version in sorted(versions.items())
                ],
            )

    def mark_pending(self, ids: Sequence[UUID]) -> None:
        """Process indexed images in the index stage again."""
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(images)
                .where(is_any_of(images.c.id, ids), images.c.state == "indexed")
                .values(state="pending")
            )
