"""Records of locate jobs and their items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from pinpoint.records.audit import AuditEntry
from pinpoint.records.protected_areas import Granularity

JobState = Literal[
    "validating",
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "canceling",
    "canceled",
]
JobItemState = Literal["open", "completed", "failed", "canceled"]
EndState = Literal["completed", "failed", "expired", "canceled"]
UploadStatus = Literal["stored", "repeated", "not_referenced"]
"""`stored`: the photo is used. `repeated`: the job has a photo of this name. `not_referenced`: no
line of the JSONL file refers to this name."""

JOB_STATES: Final[tuple[JobState, ...]] = get_args(JobState)
JOB_ITEM_STATES: Final[tuple[JobItemState, ...]] = get_args(JobItemState)
OPEN_JOB_STATES: Final = ("validating", "in_progress", "finalizing", "canceling")
DUPLICATE_CUSTOM_ID: Final = "duplicate_custom_id"
INVALID_LINE: Final = "invalid_line"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """Number of items by state; `total` is the sum of the others."""

    total: int
    completed: int
    failed: int
    canceled: int
    open: int
    waiting_for_upload: int
    """Open items whose photo is not uploaded yet."""
    invalid_lines: int
    """Failed items whose line of the JSONL file is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A locate job with its counts."""

    id: UUID
    state: JobState
    parameters: Mapping[str, Any]
    """Fields of `/v1/locate` for all items."""
    has_lines: bool
    """Whether the items are lines of a JSONL file."""
    key_id: UUID | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    counts: JobCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to create."""

    organization_id: UUID
    key_id: UUID | None
    """API key of the caller; None for the operator."""
    parameters: Mapping[str, Any]
    has_lines: bool
    expiry_s: float
    """Time until the unfinished job expires, seconds."""
    start: bool
    """Whether the job is complete and starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJobItem:
    """A line of a JSONL file as an item; an invalid one has an error code."""

    custom_id: str | None
    file: str | None = None
    """Name of the upload that the line refers to."""
    url: str | None = None
    line_number: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobItem:
    """One item of a job, without its result."""

    id: UUID
    position: int
    """Ordinal in the job, from 1."""
    line_number: int | None
    custom_id: str | None
    file: str | None
    url: str | None
    is_uploaded: bool
    """Whether the photo is stored now: it is uploaded, and its item has not ended."""
    state: JobItemState
    error_code: str | None
    error_message: str | None
    attempts: int
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """An ended item: the answer as JSON text, or its error."""

    position: int
    line_number: int | None
    custom_id: str | None
    file: str | None
    url: str | None
    state: JobItemState
    error_code: str | None
    error_message: str | None
    result: str | None
    lat: float | None
    lon: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJobItem:
    """An item under a worker's lease."""

    id: UUID
    job_id: UUID
    organization_id: UUID
    organization: str
    key_id: UUID | None
    granularity: Granularity
    """That of the key, as of now; `exact` for the operator."""
    min_radius_m: float
    file: str
    """Name of the photo, for messages."""
    url: str | None
    uri: str | None
    parameters: Mapping[str, Any]
    """Those of the job, overridden by those of the item."""
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedPhoto:
    """The answer for the photo of an item, and its row of the audit log."""

    result: str
    """The answer as JSON text."""
    lat: float | None
    lon: float | None
    audit_entry: AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """A job has ended."""

    organization_id: UUID
    job_id: UUID
    state: EndState
