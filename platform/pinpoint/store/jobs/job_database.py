"""Access of the API to one organization's locate jobs; each call is one transaction."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, insert, or_, select, tuple_, update

from pinpoint import tasks
from pinpoint.errors import ConflictError, NotFoundError, TooLargeError
from pinpoint.iteration import batched
from pinpoint.records.jobs import (
    OPEN_JOB_STATES,
    Job,
    JobItem,
    JobItemState,
    JobResult,
    NewJob,
    NewJobItem,
    UploadStatus,
)
from pinpoint.store.db.database import Transactions, UnitOfWork
from pinpoint.store.db.job_tables import job_items, jobs
from pinpoint.store.jobs.job_rows import select_visible_jobs, to_job_item, to_jobs, to_result
from pinpoint.store.jobs.job_uploads import add_uploads

_ROWS_PER_STATEMENT: Final = 1_000
_RESULTS_PER_PAGE: Final = 200


class JobDatabase:
    """Creates, reads and changes locate jobs.

    Args:
        transactions: Units of work; their tasks are sent after the commit.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(
        self,
        new_job: NewJob,
        items: Iterable[NewJobItem],
        uploads: Mapping[str, str],
    ) -> tuple[Job, dict[str, UploadStatus]]:
        """Create a job with its items, add uploads, and start it on request.

        Args:
            new_job: The job.
            items: Lines of a JSONL file in order; they are read once, in parts.
            uploads: URI of each uploaded photo by its name.

        Returns:
            The job, and the status of each upload.

        Raises:
            ConflictError: The job would start without an item.
        """
        job_id, organization_id = uuid4(), new_job.organization_id
        with self._transactions.begin(organization_id) as unit:
            unit.connection.execute(
                insert(jobs).values(
                    id=job_id,
                    organization_id=organization_id,
                    key_id=new_job.key_id,
                    state="validating",
                    parameters=dict(new_job.parameters),
                    has_lines=new_job.has_lines,
                    expires_at=func.now() + timedelta(seconds=new_job.expiry_s),
                )
            )
            position = 0
            for page in batched(items, _ROWS_PER_STATEMENT):
                _insert_items(unit.connection, organization_id, job_id, page, position)
                position += len(page)
            statuses = add_uploads(
                unit.connection, organization_id, job_id, uploads, has_lines=new_job.has_lines
            )
            if new_job.start:
                _start(unit, job_id)
            return _find(unit.connection, organization_id, job_id), statuses

    def add_files(
        self, organization_id: UUID, job_id: UUID, uploads: Mapping[str, str], *, max_items: int
    ) -> tuple[Job, dict[str, UploadStatus]]:
        """Add uploaded photos to a job that has not started.

        Args:
            organization_id: Organization of the job.
            job_id: The job.
            uploads: URI of each photo by its name.
            max_items: Maximum number of items of the job.

        Returns:
            The job, and a status for each name; only photos with status `stored` are used.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: The job has started.
            TooLargeError: The job would have too many items.
        """
        with self._transactions.begin(organization_id) as unit:
            job = _lock(unit.connection, organization_id, job_id)
            _require_validating(job.state)
            statuses = add_uploads(
                unit.connection, organization_id, job_id, uploads, has_lines=job.has_lines
            )
            job = _find(unit.connection, organization_id, job_id)
            if job.counts.total > max_items:
                raise TooLargeError(
                    f"a job has at most {max_items:,} items (PINPOINT_JOB_MAX_ITEMS)"
                )
            return job, statuses

    def start(self, organization_id: UUID, job_id: UUID) -> Job:
        """Start a job; a second call changes nothing.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has no item.
        """
        with self._transactions.begin(organization_id) as unit:
            job = _lock(unit.connection, organization_id, job_id)
            if job.state == "validating":
                _start(unit, job_id)
            return _find(unit.connection, organization_id, job_id)

    def job(self, organization_id: UUID, job_id: UUID) -> Job:
        """Find one job with its counts.

        Raises:
            NotFoundError: There is no such job.
        """
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return _find(unit.connection, organization_id, job_id)

    def count_open_jobs(self, organization_id: UUID, key_id: UUID | None) -> int:
        """Number of jobs of a key that have not ended."""
        with self._transactions.begin(organization_id, read_only=True) as unit:
            count = select(func.count()).where(
                jobs.c.organization_id == organization_id,
                jobs.c.key_id.is_not_distinct_from(key_id),
                jobs.c.state.in_(OPEN_JOB_STATES),
            )
            return int(unit.connection.execute(count).scalar_one())

    def list_jobs(
        self,
        organization_id: UUID,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
        key_id: UUID | None = None,
    ) -> list[Job]:
        """List jobs, newest first.

        Args:
            organization_id: Their organization.
            limit: Maximum number.
            before: Time and id of the last one of a page.
            key_id: Only jobs of this key; None for all.
        """
        statement = select_visible_jobs(organization_id)
        if key_id is not None:
            statement = statement.where(jobs.c.key_id == key_id)
        if before is not None:
            statement = statement.where(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(*before))
        with self._transactions.begin(organization_id, read_only=True) as unit:
            rows = unit.connection.execute(
                statement.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
            ).all()
            return to_jobs(unit.connection, rows)

    def items(
        self,
        organization_id: UUID,
        job_id: UUID,
        *,
        state: JobItemState | None,
        after: int,
        limit: int,
    ) -> list[JobItem]:
        """Items with `position > after`, in order.

        Raises:
            NotFoundError: There is no such job.
        """
        statement = select(job_items).where(
            job_items.c.organization_id == organization_id,
            job_items.c.job_id == job_id,
            job_items.c.position > after,
        )
        if state is not None:
            statement = statement.where(job_items.c.state == state)
        with self._transactions.begin(organization_id, read_only=True) as unit:
            _find(unit.connection, organization_id, job_id)
            rows = unit.connection.execute(statement.order_by(job_items.c.position).limit(limit))
            return [to_job_item(row) for row in rows]

    @contextmanager
    def results(
        self,
        organization_id: UUID,
        job_id: UUID,
        states: Sequence[JobItemState],
        *,
        with_point: bool = False,
        timeout_s: float,
    ) -> Iterator[tuple[int, Generator[list[JobResult]]]]:
        """Open one state of the ended items, in order; pages are read while they are used.

        Args:
            organization_id: Organization of the job.
            job_id: The job.
            states: States of the items.
            with_point: Whether to omit items whose answer has no position.
            timeout_s: Time limit of each statement, seconds.

        Yields:
            The number of items, and their pages.

        Raises:
            NotFoundError: There is no such job.
        """
        conditions = [
            job_items.c.organization_id == organization_id,
            job_items.c.job_id == job_id,
            job_items.c.state.in_(states),
        ]
        if with_point:
            conditions.append(job_items.c.lat.is_not(None))
        with self._transactions.begin(organization_id, snapshot=True, timeout_s=timeout_s) as unit:
            _find(unit.connection, organization_id, job_id)
            num_items = unit.connection.execute(
                select(func.count()).select_from(job_items).where(*conditions)
            ).scalar_one()

            def read_pages() -> Generator[list[JobResult]]:
                position = 0
                while True:
                    rows = unit.connection.execute(
                        select(job_items)
                        .where(*conditions, job_items.c.position > position)
                        .order_by(job_items.c.position)
                        .limit(_RESULTS_PER_PAGE)
                    ).all()
                    if not rows:
                        return
                    position = rows[-1].position
                    yield [to_result(row) for row in rows]

            yield num_items, read_pages()

    def cancel(self, organization_id: UUID, job_id: UUID) -> Job:
        """Cancel the items that no worker has started; the others end, and results are kept.

        A second call changes nothing.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has ended otherwise.
        """
        with self._transactions.begin(organization_id) as unit:
            job = _lock(unit.connection, organization_id, job_id)
            if job.state in ("completed", "failed", "expired"):
                raise ConflictError(f"the job is {job.state}; it cannot be canceled")
            if job.state in ("validating", "in_progress"):
                _set_state(unit.connection, job_id, "canceling")
                _cancel_items(unit.connection, job_id, "canceled by its caller", is_free=True)
            unit.after_commit(tasks.FINISH_JOBS, [job_id])
            return _find(unit.connection, organization_id, job_id)

    def delete(self, organization_id: UUID, job_id: UUID) -> None:
        """Delete a job with its results; a worker deletes its photos, then its rows.

        Raises:
            NotFoundError: There is no such job.
        """
        with self._transactions.begin(organization_id) as unit:
            job = _lock(unit.connection, organization_id, job_id)
            if job.state in OPEN_JOB_STATES:
                _set_state(unit.connection, job_id, "canceling")
                _cancel_items(unit.connection, job_id, "the job was deleted", is_free=False)
            unit.connection.execute(
                update(jobs).where(jobs.c.id == job_id).values(deleted_at=func.now())
            )
            unit.after_commit(tasks.FINISH_JOBS, [job_id])


def _insert_items(
    connection: Connection,
    organization_id: UUID,
    job_id: UUID,
    items: Sequence[NewJobItem],
    last_position: int,
) -> None:
    """Insert items after a position; those with an error code are failed."""
    now = connection.execute(select(func.now())).scalar_one()
    values = [
        {
            "id": uuid4(),
            "organization_id": organization_id,
            "job_id": job_id,
            "position": position,
            "line_number": item.line_number,
            "custom_id": item.custom_id,
            "file": item.file,
            "url": item.url,
            "parameters": dict(item.parameters),
            "state": "open" if item.error_code is None else "failed",
            "error_code": item.error_code,
            "error_message": item.error_message,
            "ended_at": None if item.error_code is None else now,
        }
        for position, item in enumerate(items, start=last_position + 1)
    ]
    connection.execute(insert(job_items), values)


def _lock(connection: Connection, organization_id: UUID, job_id: UUID) -> Any:
    """Row of a job, locked against concurrent changes.

    Raises:
        NotFoundError: There is no such job.
    """
    row = connection.execute(
        select_visible_jobs(organization_id).where(jobs.c.id == job_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no job {job_id}")
    return row


def _find(connection: Connection, organization_id: UUID, job_id: UUID) -> Job:
    rows = connection.execute(select_visible_jobs(organization_id).where(jobs.c.id == job_id)).all()
    if not rows:
        raise NotFoundError(f"no job {job_id}")
    return to_jobs(connection, rows)[0]


def _require_validating(state: str) -> None:
    if state != "validating":
        raise ConflictError(f"the job is {state} and accepts no more files; create another one")


def _set_state(connection: Connection, job_id: UUID, state: str) -> None:
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=state))


def _start(unit: UnitOfWork, job_id: UUID) -> None:
    """Start a job: items without a photo fail."""
    has_items = unit.connection.execute(
        select(job_items.c.id).where(job_items.c.job_id == job_id).limit(1)
    ).one_or_none()
    if has_items is None:
        raise ConflictError("the job has no items; upload files first", reason="no_items")
    unit.connection.execute(
        update(job_items)
        .where(
            job_items.c.job_id == job_id,
            job_items.c.state == "open",
            job_items.c.uri.is_(None),
            job_items.c.url.is_(None),
        )
        .values(
            state="failed",
            error_code="upload_missing",
            error_message="the file was not uploaded before the job started",
            ended_at=func.now(),
        )
    )
    unit.connection.execute(
        update(jobs).where(jobs.c.id == job_id).values(state="in_progress", started_at=func.now())
    )
    unit.after_commit(tasks.LOCATE_JOB_ITEMS, [job_id])


def _cancel_items(connection: Connection, job_id: UUID, message: str, *, is_free: bool) -> None:
    """Cancel open items; `is_free` only those without a lease."""
    statement = update(job_items).where(job_items.c.job_id == job_id, job_items.c.state == "open")
    if is_free:
        # Evaluated again on the locked row: a worker may have claimed it in between.
        statement = statement.where(
            or_(job_items.c.lease_until.is_(None), job_items.c.lease_until < func.now())
        )
    connection.execute(
        statement.values(
            state="canceled",
            error_code="canceled",
            error_message=message,
            lease_owner=None,
            lease_until=None,
            ended_at=func.now(),
        )
    )
