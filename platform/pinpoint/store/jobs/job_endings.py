"""Ends of jobs: photos to delete, final states, expiry and retention.

A job ends in three steps, each of which can be repeated: it has no open item (`finalizing`), the
photos of its items are deleted, and it gets its final state.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, case, delete, exists, func, literal, or_, select, update

from pinpoint.records.jobs import OPEN_JOB_STATES, JobEvent
from pinpoint.store.db.access_tables import api_keys
from pinpoint.store.db.job_tables import job_items, jobs
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.ingest.leases import has_no_valid_lease

_other_items = job_items.alias("other_items")
_HAS_OPEN_ITEM: Final = (
    exists().where(job_items.c.job_id == jobs.c.id, job_items.c.state == "open").correlate(jobs)
)
_HAS_PHOTO: Final = (
    exists().where(job_items.c.job_id == jobs.c.id, job_items.c.uri.is_not(None)).correlate(jobs)
)
_REVOKED_KEY_IDS: Final = select(api_keys.c.id).where(api_keys.c.revoked_at.is_not(None))
_HAS_STATE: Final = {
    state: exists()
    .where(job_items.c.job_id == jobs.c.id, job_items.c.state == state)
    .correlate(jobs)
    for state in ("completed", "failed")
}


def expire_jobs(connection: Connection) -> list[UUID]:
    """Cancel the open items of unfinished jobs that are too old; returns the jobs."""
    expired = list(
        connection.execute(
            update(jobs)
            .where(jobs.c.state.in_(("validating", "in_progress")), jobs.c.expires_at < func.now())
            .values(state="expired")
            .returning(jobs.c.id)
        ).scalars()
    )
    connection.execute(
        update(job_items)
        .where(is_any_of(job_items.c.job_id, expired), job_items.c.state == "open")
        .values(
            state="canceled",
            error_code="expired",
            error_message="the job expired before the photo was located",
            lease_owner=None,
            lease_until=None,
            ended_at=func.now(),
        )
    )
    return expired


def cancel_jobs_of_revoked_keys(
    connection: Connection, lease_ttl_s: float, job_id: UUID | None = None
) -> bool:
    """Cancel unfinished jobs whose key was revoked; results so far are kept.

    Args:
        connection: Connection of the transaction.
        lease_ttl_s: Duration of leases, seconds; items with a valid lease end by themselves.
        job_id: Only this job; None for all.

    Returns:
        Whether a job was canceled.
    """
    statement = update(jobs).where(
        jobs.c.state.in_(("validating", "in_progress")), jobs.c.key_id.in_(_REVOKED_KEY_IDS)
    )
    if job_id is not None:
        statement = statement.where(jobs.c.id == job_id)
    canceled = connection.execute(statement.values(state="canceling"))
    if canceled.rowcount:
        cancel_released_items(connection, lease_ttl_s)
    return bool(canceled.rowcount)


def cancel_released_items(connection: Connection, lease_ttl_s: float) -> None:
    """Cancel items of canceled jobs that no worker holds; the error is the reason of the job."""
    canceling = select(jobs.c.id).where(jobs.c.state == "canceling")
    of_revoked_key = job_items.c.job_id.in_(
        select(jobs.c.id).where(jobs.c.key_id.in_(_REVOKED_KEY_IDS))
    )
    connection.execute(
        update(job_items)
        .where(
            job_items.c.job_id.in_(canceling),
            job_items.c.state == "open",
            has_no_valid_lease(job_items.c.lease_until, lease_ttl_s),
        )
        .values(
            state="canceled",
            error_code=case((of_revoked_key, "key_revoked"), else_="canceled"),
            error_message=case(
                (of_revoked_key, "the key that created the job was revoked"),
                else_="canceled by its caller",
            ),
            lease_owner=None,
            lease_until=None,
            ended_at=func.now(),
        )
    )


def list_deletable_photos(connection: Connection, job_ids: Sequence[UUID], limit: int) -> list[str]:
    """URIs of photos whose items have all ended: several lines may refer to one photo."""
    needed = (
        select(literal(1))
        .where(_other_items.c.uri == job_items.c.uri, _other_items.c.state == "open")
        .exists()
    )
    return list(
        connection.execute(
            select(job_items.c.uri)
            .where(
                is_any_of(job_items.c.job_id, job_ids),
                job_items.c.uri.is_not(None),
                job_items.c.state != "open",
                ~needed,
            )
            .distinct()
            .limit(limit)
        ).scalars()
    )


def forget_photos(connection: Connection, uris: Sequence[str]) -> None:
    """Record that photos are deleted."""
    connection.execute(update(job_items).where(job_items.c.uri.in_(list(uris))).values(uri=None))


def start_finalizing(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Mark running jobs without open items as `finalizing`."""
    connection.execute(
        update(jobs)
        .where(is_any_of(jobs.c.id, job_ids), jobs.c.state == "in_progress", ~_HAS_OPEN_ITEM)
        .values(state="finalizing")
    )


def end_jobs(connection: Connection, job_ids: Sequence[UUID], retention_s: float) -> list[JobEvent]:
    """Give jobs without open items and photos their final state; returns one event for each.

    This is the only place where a job ends: an event is returned once for each job, by the
    transaction that ends it.
    """
    is_failed = _HAS_STATE["failed"] & ~_HAS_STATE["completed"]
    rows = connection.execute(
        update(jobs)
        .where(
            is_any_of(jobs.c.id, job_ids),
            jobs.c.state.in_(("finalizing", "canceling", "expired")),
            jobs.c.ended_at.is_(None),
            ~_HAS_OPEN_ITEM,
            ~_HAS_PHOTO,
        )
        .values(
            state=case(
                (jobs.c.state == "canceling", "canceled"),
                (jobs.c.state == "expired", "expired"),
                (is_failed, "failed"),
                else_="completed",
            ),
            ended_at=func.now(),
            expires_at=func.now() + timedelta(seconds=retention_s),
        )
        .returning(jobs.c.id, jobs.c.organization_id, jobs.c.state, jobs.c.deleted_at)
    )
    return [
        JobEvent(organization_id=row.organization_id, job_id=row.id, state=row.state)
        for row in rows
        if row.deleted_at is None
    ]


def remove_deleted_jobs(connection: Connection, job_ids: Sequence[UUID]) -> int:
    """Delete the rows of deleted jobs without photos; returns their number."""
    removed = connection.execute(
        delete(jobs).where(
            is_any_of(jobs.c.id, job_ids), jobs.c.deleted_at.is_not(None), ~_HAS_PHOTO
        )
    )
    return int(removed.rowcount)


def find_next_job(connection: Connection, lease_ttl_s: float) -> UUID | None:
    """The running job whose turn it is: it has an item that no worker holds, and waited longest."""
    is_claimable = (
        exists()
        .where(
            job_items.c.job_id == jobs.c.id,
            job_items.c.state == "open",
            has_no_valid_lease(job_items.c.lease_until, lease_ttl_s),
        )
        .correlate(jobs)
    )
    job_id: UUID | None = connection.execute(
        select(jobs.c.id)
        .where(jobs.c.state == "in_progress", is_claimable)
        .order_by(jobs.c.claimed_at.nulls_first(), jobs.c.created_at)
        .limit(1)
    ).scalar_one_or_none()
    return job_id


def list_endable_jobs(connection: Connection, limit: int) -> list[UUID]:
    """Jobs with work left at their end, oldest first: a state, photos or rows to delete."""
    with_ended_photo = select(job_items.c.job_id).where(
        job_items.c.uri.is_not(None), job_items.c.state != "open"
    )
    is_unended = or_(
        jobs.c.state.in_(OPEN_JOB_STATES[1:]),
        (jobs.c.state == "expired") & jobs.c.ended_at.is_(None),
    )
    return list(
        connection.execute(
            select(jobs.c.id)
            .where(
                or_(
                    is_unended & ~_HAS_OPEN_ITEM,
                    jobs.c.id.in_(with_ended_photo),
                    jobs.c.deleted_at.is_not(None),
                )
            )
            .order_by(jobs.c.created_at)
            .limit(limit)
        ).scalars()
    )


def remove_old_jobs(connection: Connection) -> int:
    """Delete ended jobs whose retention is over; returns their number."""
    removed = connection.execute(
        delete(jobs).where(
            jobs.c.ended_at.is_not(None), jobs.c.expires_at < func.now(), ~_HAS_PHOTO
        )
    )
    return int(removed.rowcount)
