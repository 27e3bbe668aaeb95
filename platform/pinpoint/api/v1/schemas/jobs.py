"""Schemas of locate jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.records.jobs import Job, JobItem, JobItemState, JobState, UploadStatus


class _ResponseModel(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class JobForm(BaseModel):
    """Form fields of a new job."""

    model_config = ConfigDict(extra="forbid")

    parameters: str | None = Field(
        default=None,
        description="JSON object with fields of `/v1/locate` for all items, without `keep`.",
        examples=['{"top": 3, "source_kinds": ["photo"]}'],
    )
    start: bool = Field(
        default=True,
        description="Whether the job is complete. With `false`, upload more files, then start it.",
    )


class JobUploadForm(BaseModel):
    """Form fields that may accompany uploaded files: none."""

    model_config = ConfigDict(extra="forbid")


class JobCountsOut(_ResponseModel):
    """Number of items by state: `total` = `completed` + `failed` + `canceled` + `open`."""

    total: int
    completed: int
    failed: int
    canceled: int
    open: int
    waiting_for_upload: int = Field(description="Open items whose photo is not uploaded yet.")
    invalid_lines: int = Field(description="Failed items whose line is invalid.")


class JobOut(_ResponseModel):
    """A locate job."""

    id: UUID
    state: JobState = Field(
        description="`validating`: it accepts uploads. `in_progress`: its photos are located. "
        "`finalizing`: all items have ended, and the last photos are deleted. `completed`; "
        "`failed`: no item was completed. `expired`: it was not finished in time. `canceling`: "
        "items in progress end. `canceled`: results so far are kept."
    )
    counts: JobCountsOut
    parameters: dict[str, Any] = Field(description="Fields of `/v1/locate` for all items.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime = Field(
        description="Time at which the unfinished job expires; of an ended job, time at which it "
        "is deleted with its results."
    )

    @classmethod
    def of(cls, job: Job) -> JobOut:
        """Convert one job."""
        return cls.model_validate(job)


class JobsOut(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next: str | None = Field(description="Link of the next page; null on the last page.")


class JobUploadOut(BaseModel):
    """Status of one uploaded file."""

    file: str
    status: UploadStatus = Field(
        description="`repeated`: the job has a photo of this name already. `not_referenced`: no "
        "line refers to this name. Both are not stored."
    )


class JobUploadsOut(BaseModel):
    """A job after an upload, and the status of each file."""

    job: JobOut
    uploads: list[JobUploadOut]

    @classmethod
    def of(cls, job: Job, statuses: Mapping[str, UploadStatus]) -> JobUploadsOut:
        """Convert a job and the statuses by file name."""
        return cls(
            job=JobOut.of(job),
            uploads=[JobUploadOut(file=name, status=status) for name, status in statuses.items()],
        )


class JobItemOut(_ResponseModel):
    """One item of a job."""

    id: UUID
    position: int = Field(description="Ordinal of the item in its job, from 1.")
    line_number: int | None = Field(description="Line of the JSONL file; null for a file.")
    custom_id: str | None = Field(description="Name by the caller; of a file, its file name.")
    file: str | None
    url: str | None
    is_uploaded: bool = Field(
        description="Whether the photo is stored now. It is deleted when the item ends."
    )
    state: JobItemState
    error_code: str | None
    error_message: str | None
    attempts: int
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, item: JobItem) -> JobItemOut:
        """Convert one item."""
        return cls.model_validate(item)


class JobItemsOut(BaseModel):
    """A page of items in order."""

    items: list[JobItemOut]
    next: int | None = Field(
        description="Value of `after` for the next page; null on the last page."
    )
