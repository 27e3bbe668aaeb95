"""Answers of reports, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel


class ReportMetric(AnswerModel):
    """One figure; `low` and `high` are its 95 % bootstrap interval, null without one."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str


class ReportSummary(AnswerModel):
    """A report without reliability and positions."""

    id: UUID
    created_at: datetime
    kind: str
    bundle: str
    """Bundle that was evaluated or calibrated."""
    title: str
    is_synthetic: bool
    """The photos are rendered images of a synthetic planet: the figures compare methods on it
    and are no evidence about the Earth."""
    queries: int
    """Number of queries with an answer."""
    metrics: list[ReportMetric]


class QualityReports(AnswerModel):
    """A page of reports, newest first."""

    reports: list[ReportSummary]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class ReliabilityBin(AnswerModel):
    """Queries of similar stated probability."""

    stated: float
    """Mean stated probability that the answer is within 25 km."""
    observed: float
    """Share of the answers within 25 km."""
    queries: int


class QueryError(AnswerModel):
    """A query of the evaluation."""

    lat: float
    lon: float
    error_km: float
    """Distance of the answer from the position of the photo."""


class QualityReport(AnswerModel):
    """A report with reliability and error map."""

    id: UUID
    created_at: datetime
    kind: str
    bundle: str
    """Bundle that was evaluated or calibrated."""
    title: str
    is_synthetic: bool
    """The photos are rendered images of a synthetic planet: the figures compare methods on it
    and are no evidence about the Earth."""
    queries: int
    """Number of queries with an answer."""
    metrics: list[ReportMetric]
    reliability: list[ReliabilityBin]
    notes: list[str]
    """What the figures hold for, in words."""
    errors: list[QueryError] | None
    """A sample of the queries for an error map; null for a key to which protected areas
    apply."""
