"""Rows of bucket listings: requests to add all images below a prefix to a batch."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from pinpoint.store.catalog.item_rows import lock_open_batch
from pinpoint.store.db.listing_tables import bucket_listings


def insert_listing(connection: Connection, organization_id: UUID, batch_id: UUID, url: str) -> UUID:
    """Insert a listing, or find the unfinished one of the same prefix; returns its id.

    Raises:
        NotFoundError: The organization has no such batch.
        ConflictError: The batch is closed.
    """
    lock_open_batch(connection, organization_id, batch_id)
    existing: UUID | None = connection.execute(
        select(bucket_listings.c.id).where(
            is_unfinished(organization_id, batch_id), bucket_listings.c.url == url
        )
    ).scalar_one_or_none()
    if existing is not None:
        return existing
    listing_id = uuid4()
    connection.execute(
        insert(bucket_listings),
        {"id": listing_id, "organization_id": organization_id, "batch_id": batch_id, "url": url},
    )
    return listing_id


def request_close(connection: Connection, organization_id: UUID, batch_id: UUID) -> bool:
    """Have the last unfinished listing of a batch close it; False if there is none."""
    requested = connection.execute(
        update(bucket_listings)
        .where(is_unfinished(organization_id, batch_id))
        .values(closes_batch=True)
    )
    return requested.rowcount > 0


def finish_listings(connection: Connection, organization_id: UUID, batch_id: UUID) -> None:
    """End all listings of a batch; pages that were added stay."""
    connection.execute(
        update(bucket_listings)
        .where(is_unfinished(organization_id, batch_id))
        .values(finished_at=func.now())
    )


def is_unfinished(organization_id: UUID, batch_id: UUID) -> ColumnElement[bool]:
    """Condition for the unfinished listings of a batch."""
    return and_(
        bucket_listings.c.organization_id == organization_id,
        bucket_listings.c.batch_id == batch_id,
        bucket_listings.c.finished_at.is_(None),
    )
