"""Response schemas of quality reports."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.records.quality_reports import QualityReport, ReportKind


class ReportMetricOut(BaseModel):
    """One figure; `low` and `high` are its 95 % bootstrap interval, null without one."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: Literal["share", "km", "probability"]


class ReliabilityBinOut(BaseModel):
    """Queries of similar stated probability."""

    stated: float = Field(description="Mean stated probability that the answer is within 25 km.")
    observed: float = Field(description="Share of the answers within 25 km.")
    queries: int


class QueryErrorOut(BaseModel):
    """A query of the evaluation."""

    lat: float
    lon: float
    error_km: float = Field(description="Distance of the answer from the position of the photo.")


class ReportSummaryOut(BaseModel):
    """A report without reliability and positions."""

    id: UUID
    created_at: datetime
    kind: ReportKind
    bundle: str = Field(description="Bundle that was evaluated or calibrated.")
    title: str
    is_synthetic: bool = Field(
        description="The photos are rendered images of a synthetic planet: the figures compare "
        "methods on it and are no evidence about the Earth."
    )
    queries: int = Field(description="Number of queries with an answer.")
    metrics: list[ReportMetricOut]

    @classmethod
    def of(cls, stored: QualityReport) -> ReportSummaryOut:
        """Convert the main figures of a report."""
        return cls.model_validate(_list_summary_fields(stored))


class QualityReportOut(ReportSummaryOut):
    """A report with reliability and error map."""

    reliability: list[ReliabilityBinOut]
    notes: list[str] = Field(description="What the figures hold for, in words.")
    errors: list[QueryErrorOut] | None = Field(
        description="A sample of the queries for an error map; null for a key to which protected "
        "areas apply."
    )

    @classmethod
    def of(cls, stored: QualityReport, *, with_errors: bool = False) -> Self:
        """Convert a report; positions only on request."""
        report = stored.report
        return cls.model_validate(
            {
                **_list_summary_fields(stored),
                "reliability": [asdict(reliability_bin) for reliability_bin in report.reliability],
                "notes": report.notes,
                "errors": [asdict(error) for error in report.errors] if with_errors else None,
            }
        )


class QualityReportsOut(BaseModel):
    """A page of reports, newest first."""

    reports: list[ReportSummaryOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )


def _list_summary_fields(stored: QualityReport) -> dict[str, object]:
    report = stored.report
    return {
        "id": stored.id,
        "created_at": stored.created_at,
        "kind": report.kind,
        "bundle": report.bundle,
        "title": report.title,
        "is_synthetic": report.is_synthetic,
        "queries": report.queries,
        "metrics": [asdict(metric) for metric in report.metrics],
    }
