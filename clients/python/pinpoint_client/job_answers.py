"""Answers of locate jobs that the OpenAPI document does not describe completely."""

from __future__ import annotations

from typing import Final

from pinpoint_client.answers.answer_model import AnswerModel
from pinpoint_client.answers.jobs import Job as DescribedJob
from pinpoint_client.answers.queries import Answer

ENDED_STATES: Final = frozenset({"completed", "failed", "expired", "canceled"})
"""States in which a job no longer changes."""


class Job(DescribedJob):
    """A locate job."""

    @property
    def has_ended(self) -> bool:
        """Whether the job no longer changes."""
        return self.state in ENDED_STATES


class JobError(AnswerModel):
    """Error of an item."""

    code: str
    message: str


class JobResult(AnswerModel):
    """One line of the result file or the error file."""

    position: int
    line_number: int | None = None
    """Line of the JSONL file."""
    custom_id: str | None = None
    file: str | None = None
    url: str | None = None
    answer: Answer | None = None
    """Answer of `locate`; None in the error file."""
    state: str | None = None
    """`failed` or `canceled` in the error file."""
    error: JobError | None = None
