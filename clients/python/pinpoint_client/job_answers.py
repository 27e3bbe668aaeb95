"""Answers of locate jobs."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pinpoint_client.answers import Answer
from pinpoint_client.answers.answer_model import AnswerModel

ENDED_STATES: Final = frozenset({"completed", "failed", "expired", "canceled"})
"""States in which a job no longer changes."""


class JobCounts(AnswerModel):
    """Number of items by state."""

    total: int
    completed: int
    failed: int
    canceled: int
    open: int


class Job(AnswerModel):
    """A locate job."""

    id: UUID
    state: str
    """`validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `canceling` or
    `canceled`."""
    counts: JobCounts

    @property
    def has_ended(self) -> bool:
        """Whether the job no longer changes."""
        return self.state in ENDED_STATES


class JobItem(AnswerModel):
    """One item of a job."""

    id: UUID
    position: int
    custom_id: str | None = None
    state: str
    error_code: str | None = None
    error_message: str | None = None


class JobResult(AnswerModel):
    """One line of the result file or the error file."""

    custom_id: str | None = None
    answer: Answer | None = None
    error_code: str | None = None
    error_message: str | None = None


class JobUploads(AnswerModel):
    """A job after an upload."""

    job: Job
