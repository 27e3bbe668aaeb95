"""Bucket listings of all organizations, for workers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select, update

from pinpoint import tasks
from pinpoint.errors import ConflictError
from pinpoint.records import BucketListing, NewItem, Rejected
from pinpoint.store.catalog.catalog_writer import Writer
from pinpoint.store.catalog.listing_rows import is_unfinished
from pinpoint.store.db.database import Transactions, UnitOfWork
from pinpoint.store.db.listing_tables import bucket_listings


class CatalogBucketListings:
    """Implements `ports.BucketListings`; each call is one transaction.

    Args:
        transactions: Units of work of the owner.
        chunk: Maximum number of items in one task.
    """

    def __init__(self, transactions: Transactions, chunk: int) -> None:
        self._transactions, self._chunk = transactions, chunk

    def start(self, listing_id: UUID) -> BucketListing | None:
        """Count an attempt and return the listing; None if it is finished or does not exist."""
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                update(bucket_listings)
                .where(bucket_listings.c.id == listing_id, bucket_listings.c.finished_at.is_(None))
                .values(attempts=bucket_listings.c.attempts + 1)
                .returning(bucket_listings)
            ).one_or_none()
        if row is None:
            return None
        return BucketListing(
            id=row.id,
            organization_id=row.organization_id,
            batch_id=row.batch_id,
            url=row.url,
            after_key=row.after_key,
            attempts=row.attempts,
        )

    def add_page(
        self,
        listing: BucketListing,
        after_key: str | None,
        items: Sequence[NewItem],
        last_key: str | None,
        *,
        send_next: bool,
    ) -> bool:
        """Add a page of items to the batch and store the position; see the port."""
        with self._transactions.begin(listing.organization_id) as unit:
            row = _lock_listing(unit.connection, listing.id)
            if row is None or row.after_key != after_key:
                return False
            try:
                Writer(unit, self._chunk).add_items(listing.batch_id, items, skip_existing=True)
            except ConflictError:
                # The batch was closed by the deletion of its source.
                self._finish_listing(unit, listing, closes_batch=False)
                return False
            if last_key is None:
                self._finish_listing(unit, listing, closes_batch=row.closes_batch)
                return True
            unit.connection.execute(
                update(bucket_listings)
                .where(bucket_listings.c.id == listing.id)
                .values(after_key=last_key, attempts=0)
            )
            if send_next:
                unit.after_commit(tasks.LIST_BUCKET, [listing.id])
            return True

    def fail(self, listing: BucketListing, rejection: Rejected) -> None:
        """End a listing with an item that states the error."""
        item = NewItem(external_id=rejection.file, file=rejection.file, uri="", rejected=rejection)
        with self._transactions.begin(listing.organization_id) as unit:
            row = _lock_listing(unit.connection, listing.id)
            if row is None:
                return
            # A batch that was closed by the deletion of its source takes no item.
            with suppress(ConflictError):
                Writer(unit, self._chunk).add_items(listing.batch_id, [item])
            self._finish_listing(unit, listing, closes_batch=row.closes_batch)

    def unfinished(self, limit: int) -> list[UUID]:
        """Listings that are not finished, oldest first."""
        with self._transactions.begin() as unit:
            return list(
                unit.connection.execute(
                    select(bucket_listings.c.id)
                    .where(bucket_listings.c.finished_at.is_(None))
                    .order_by(bucket_listings.c.created_at, bucket_listings.c.id)
                    .limit(limit)
                ).scalars()
            )

    def _finish_listing(
        self, unit: UnitOfWork, listing: BucketListing, *, closes_batch: bool
    ) -> None:
        """End a listing; the last one of a batch closes it if its caller asked for that."""
        unit.connection.execute(
            update(bucket_listings)
            .where(bucket_listings.c.id == listing.id)
            .values(finished_at=func.now())
        )
        others = unit.connection.execute(
            select(func.count()).where(is_unfinished(listing.organization_id, listing.batch_id))
        ).scalar_one()
        if closes_batch and not others:
            Writer(unit, self._chunk).close_batch(listing.batch_id)


def _lock_listing(connection: Connection, listing_id: UUID) -> Any:
    """The row of an unfinished listing, locked; None if it is finished."""
    return connection.execute(
        select(bucket_listings)
        .where(bucket_listings.c.id == listing_id, bucket_listings.c.finished_at.is_(None))
        .with_for_update()
    ).one_or_none()
