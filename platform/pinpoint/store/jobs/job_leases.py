"""Leases of job items: claim, end, renew and release; the rules are those of `ingest.leases`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, exists, func, select, text, update

from pinpoint.fault_isolation import INTERNAL_ERROR
from pinpoint.records.jobs import ClaimedJobItem
from pinpoint.store.db.access_tables import api_keys, organizations
from pinpoint.store.db.job_tables import job_items, jobs
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.ingest.leases import has_no_valid_lease

IS_OPEN: Final = text("job_items.state = 'open'")
"""Literal, so that the planner can prove that partial indexes apply."""


def claim_job_items(
    connection: Connection,
    job_id: UUID,
    worker: str,
    *,
    chunk_size: int,
    lease_ttl_s: float,
    max_attempts: int,
) -> list[ClaimedJobItem]:
    """Claim the next items of a job; fail items with too many attempts.

    Items without an attempt come first, in their order. If there are none, one item is claimed
    alone, the one with the fewest attempts: a worker that dies with several items gives no
    information about a single photo.
    """
    free = select(job_items.c.id).where(
        job_items.c.job_id == job_id,
        IS_OPEN,
        has_no_valid_lease(job_items.c.lease_until, lease_ttl_s),
        exists().where(
            jobs.c.id == job_id, jobs.c.state == "in_progress", jobs.c.deleted_at.is_(None)
        ),
    )
    first = free.where(job_items.c.attempts == 0).order_by(job_items.c.position).limit(chunk_size)
    ids = _lock_ids(connection, first)
    if not ids:
        _fail_exhausted(connection, job_id, max_attempts, lease_ttl_s)
        repeated = free.order_by(job_items.c.attempts, job_items.c.position).limit(1)
        ids = _lock_ids(connection, repeated)
    connection.execute(
        update(job_items)
        .where(is_any_of(job_items.c.id, ids), IS_OPEN)
        .values(
            attempts=job_items.c.attempts + 1,
            lease_owner=worker,
            lease_until=func.now() + timedelta(seconds=lease_ttl_s),
        )
    )
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(claimed_at=func.now()))
    return _select_claimed(connection, ids)


def _lock_ids(connection: Connection, statement: Any) -> list[UUID]:
    locked = statement.with_for_update(skip_locked=True, of=job_items)
    return list(connection.execute(locked).scalars())


def _fail_exhausted(
    connection: Connection, job_id: UUID, max_attempts: int, lease_ttl_s: float
) -> None:
    """Fail items with too many attempts."""
    connection.execute(
        update(job_items)
        .where(
            job_items.c.job_id == job_id,
            IS_OPEN,
            job_items.c.attempts >= max_attempts,
            has_no_valid_lease(job_items.c.lease_until, lease_ttl_s),
        )
        .values(
            state="failed",
            error_code=func.coalesce(job_items.c.error_code, "too_many_attempts"),
            error_message=func.coalesce(
                job_items.c.error_message,
                f"given up: {max_attempts} workers stopped before the photo was located",
            ),
            lease_owner=None,
            lease_until=None,
            ended_at=func.now(),
        )
    )


def _select_claimed(connection: Connection, ids: Sequence[UUID]) -> list[ClaimedJobItem]:
    rows = connection.execute(
        select(
            job_items.c.id,
            job_items.c.job_id,
            job_items.c.organization_id,
            organizations.c.name.label("organization"),
            jobs.c.key_id,
            func.coalesce(api_keys.c.granularity, "exact").label("granularity"),
            func.coalesce(api_keys.c.min_radius_m, 0.0).label("min_radius_m"),
            job_items.c.custom_id,
            job_items.c.file,
            job_items.c.url,
            job_items.c.uri,
            jobs.c.parameters.label("job_parameters"),
            job_items.c.parameters,
            job_items.c.attempts,
        )
        .join(jobs, jobs.c.id == job_items.c.job_id)
        .join(organizations, organizations.c.id == jobs.c.organization_id)
        .outerjoin(api_keys, api_keys.c.id == jobs.c.key_id)
        .where(is_any_of(job_items.c.id, ids), IS_OPEN)
        .order_by(job_items.c.position)
    )
    return [
        ClaimedJobItem(
            id=row.id,
            job_id=row.job_id,
            organization_id=row.organization_id,
            organization=row.organization,
            key_id=row.key_id,
            granularity=row.granularity,
            min_radius_m=row.min_radius_m,
            file=row.file or row.custom_id or "photo",
            url=row.url,
            uri=row.uri,
            parameters={**row.job_parameters, **row.parameters},
            attempts=row.attempts,
        )
        for row in rows
    ]


def end_item(connection: Connection, item_id: UUID, worker: str, values: dict[str, Any]) -> bool:
    """End an item that the worker still holds; returns whether it did."""
    ended = connection.execute(
        update(job_items)
        .where(_is_held([item_id], worker))
        .values(**values, lease_owner=None, lease_until=None, ended_at=func.now())
    )
    return int(ended.rowcount) == 1


def renew_job_leases(
    connection: Connection, ids: Sequence[UUID], worker: str, *, lease_ttl_s: float
) -> None:
    """Extend a worker's leases; lost or ended items are not changed, locked ones are skipped."""
    held_items = select(job_items.c.id).where(_is_held(ids, worker))
    locked_ids = list(connection.execute(held_items.with_for_update(skip_locked=True)).scalars())
    connection.execute(
        update(job_items)
        .where(is_any_of(job_items.c.id, locked_ids))
        .values(lease_until=func.now() + timedelta(seconds=lease_ttl_s))
    )


def release_unprocessed_job_items(connection: Connection, ids: Sequence[UUID], worker: str) -> None:
    """Release a worker's open items and uncount the attempt of their claim."""
    connection.execute(
        update(job_items)
        .where(_is_held(ids, worker))
        .values(
            attempts=func.greatest(job_items.c.attempts - 1, 0),
            lease_owner=None,
            lease_until=None,
        )
    )


def release_job_item_after_error(
    connection: Connection, item_id: UUID, worker: str, message: str
) -> None:
    """Release an open item after an unexpected error; the attempt counts."""
    connection.execute(
        update(job_items)
        .where(_is_held([item_id], worker))
        .values(
            error_code=INTERNAL_ERROR, error_message=message, lease_owner=None, lease_until=None
        )
    )


def release_job_leases(connection: Connection, worker: str) -> int:
    """Release all leases of a worker."""
    released = connection.execute(
        update(job_items)
        .where(job_items.c.lease_owner == worker, IS_OPEN)
        .values(lease_owner=None, lease_until=None)
    )
    return int(released.rowcount)


def list_lease_holders(connection: Connection) -> list[str]:
    """Names of workers that hold a lease."""
    return list(
        connection.execute(
            select(job_items.c.lease_owner)
            .where(IS_OPEN, job_items.c.lease_owner.is_not(None))
            .distinct()
        ).scalars()
    )


def _is_held(ids: Sequence[UUID], worker: str) -> ColumnElement[bool]:
    return (
        is_any_of(job_items.c.id, ids)
        & (job_items.c.lease_owner == worker)
        & (job_items.c.state == "open")
    )
