"""Statements and conversions of job rows that the API and workers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from pinpoint.records.jobs import INVALID_LINE, Job, JobCounts, JobItem, JobResult
from pinpoint.store.db.job_tables import job_items, jobs
from pinpoint.store.db.rows import is_any_of

ERROR_CODES_OF_LINES = (INVALID_LINE, "duplicate_custom_id", "url_inputs_disabled")
"""Error codes of items whose line was rejected when the job was created."""


def count_items(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, JobCounts]:
    """Count the items of jobs by state; jobs without items are omitted."""

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(condition)

    state = job_items.c.state
    rows = connection.execute(
        select(
            job_items.c.job_id,
            func.count().label("total"),
            count(state == "completed").label("completed"),
            count(state == "failed").label("failed"),
            count(state == "canceled").label("canceled"),
            count(state == "open").label("open"),
            count((state == "open") & job_items.c.uri.is_(None) & job_items.c.url.is_(None)).label(
                "waiting_for_upload"
            ),
            count(job_items.c.error_code.in_(ERROR_CODES_OF_LINES)).label("invalid_lines"),
        )
        .where(is_any_of(job_items.c.job_id, job_ids))
        .group_by(job_items.c.job_id)
    )
    return {
        row.job_id: JobCounts(
            total=row.total,
            completed=row.completed,
            failed=row.failed,
            canceled=row.canceled,
            open=row.open,
            waiting_for_upload=row.waiting_for_upload,
            invalid_lines=row.invalid_lines,
        )
        for row in rows
    }


def to_jobs(connection: Connection, rows: Sequence[Row[Any]]) -> list[Job]:
    """Convert rows of `jobs`, with the counts of their items."""
    counts = count_items(connection, [row.id for row in rows])
    empty = JobCounts(
        total=0,
        completed=0,
        failed=0,
        canceled=0,
        open=0,
        waiting_for_upload=0,
        invalid_lines=0,
    )
    return [
        Job(
            id=row.id,
            state=row.state,
            parameters=row.parameters,
            has_lines=row.has_lines,
            key_id=row.key_id,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            expires_at=row.expires_at,
            counts=counts.get(row.id, empty),
        )
        for row in rows
    ]


def select_visible_jobs(organization_id: UUID) -> Select[Any]:
    """Jobs of an organization that are not deleted."""
    return select(jobs).where(
        jobs.c.organization_id == organization_id, jobs.c.deleted_at.is_(None)
    )


def to_job_item(row: Row[Any]) -> JobItem:
    """Convert a row of `job_items`."""
    return JobItem(
        id=row.id,
        position=row.position,
        line_number=row.line_number,
        custom_id=row.custom_id,
        file=row.file,
        url=row.url,
        is_uploaded=row.uri is not None,
        state=row.state,
        error_code=row.error_code,
        error_message=row.error_message,
        attempts=row.attempts,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def to_result(row: Row[Any]) -> JobResult:
    """Convert a row of an ended item."""
    return JobResult(
        position=row.position,
        line_number=row.line_number,
        custom_id=row.custom_id,
        file=row.file,
        url=row.url,
        state=row.state,
        error_code=row.error_code,
        error_message=row.error_message,
        result=row.result,
        lat=row.lat,
        lon=row.lon,
    )
