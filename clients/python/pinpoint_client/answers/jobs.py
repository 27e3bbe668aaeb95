"""Answers of jobs, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel


class JobCounts(AnswerModel):
    """Number of items by state: `total` = `completed` + `failed` + `canceled` + `open`."""

    total: int
    completed: int
    failed: int
    canceled: int
    open: int
    waiting_for_upload: int
    """Open items whose photo is not uploaded yet."""
    invalid_lines: int
    """Failed items whose line is invalid."""


class Job(AnswerModel):
    """A locate job."""

    id: UUID
    state: str
    """`validating`: it accepts uploads. `in_progress`: its photos are located. `finalizing`:
    all items have ended, and the last photos are deleted. `completed`; `failed`: no item was
    completed. `expired`: it was not finished in time. `canceling`: items in progress end.
    `canceled`: results so far are kept."""
    counts: JobCounts
    parameters: dict[str, Any]
    """Fields of `/v1/locate` for all items."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    """Time at which the unfinished job expires; of an ended job, time at which it is deleted
    with its results."""


class JobUpload(AnswerModel):
    """Status of one uploaded file."""

    file: str
    status: str
    """`repeated`: the job has a photo of this name already. `not_referenced`: no line refers to
    this name. Both are not stored."""


class JobUploads(AnswerModel):
    """A job after an upload, and the status of each file."""

    job: Job
    uploads: list[JobUpload]


class Jobs(AnswerModel):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next: str | None
    """Link of the next page; null on the last page."""


class JobItem(AnswerModel):
    """One item of a job."""

    id: UUID
    position: int
    """Ordinal of the item in its job, from 1."""
    line_number: int | None
    """Line of the JSONL file; null for a file."""
    custom_id: str | None
    """Name by the caller; of a file, its file name."""
    file: str | None
    url: str | None
    is_uploaded: bool
    """Whether the photo is stored now. It is deleted when the item ends."""
    state: str
    error_code: str | None
    error_message: str | None
    attempts: int
    created_at: datetime
    ended_at: datetime | None


class JobItems(AnswerModel):
    """A page of items in order."""

    items: list[JobItem]
    next: int | None
    """Value of `after` for the next page; null on the last page."""
