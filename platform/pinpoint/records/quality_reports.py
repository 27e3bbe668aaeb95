"""Reports of evaluations and calibrations, as the API and the web page show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

ReportKind = Literal["evaluation", "calibration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMetric:
    """One figure with its bootstrap interval."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: Literal["share", "km", "probability"] = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Queries of similar stated probability, and the share of them that were right."""

    stated: float
    observed: float
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryError:
    """Ground truth of a query, and the distance of its answer from it."""

    lat: float
    lon: float
    error_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQualityReport:
    """A report before it is stored."""

    kind: ReportKind
    bundle: str
    title: str
    is_synthetic: bool
    """Whether the queries are rendered photos of the synthetic planet."""
    queries: int
    metrics: tuple[ReportMetric, ...]
    reliability: tuple[ReliabilityBin, ...]
    """Bins of the stated probability that the answer is within 25 km."""
    notes: tuple[str, ...]
    errors: tuple[QueryError, ...] = ()
    """A sample of the queries with an answer; their positions are those of photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """A stored report."""

    id: UUID
    created_at: datetime
    report: NewQualityReport
