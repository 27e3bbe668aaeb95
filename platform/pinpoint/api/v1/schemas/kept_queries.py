"""Response schemas of kept queries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.records import KeptQuery


class KeptQueryOut(BaseModel):
    """An answer that its caller asked to keep; the photo is not kept."""

    id: UUID
    created_at: datetime
    expires_at: datetime = Field(description="From this time on, nobody can read it.")
    lat: float
    lon: float
    radius_m: float | None = Field(
        description="Radius that contains the photo's position with `probability`; null if the "
        "answer has no credible disc."
    )
    probability: float | None = Field(
        description="Share of the ranker's weights if the answer is not calibrated."
    )
    calibrated: bool
    abstention_reason: str | None = Field(
        description="Reason why the point is only a guess; null for an answer."
    )
    bundle: str

    @classmethod
    def of(cls, kept_query: KeptQuery) -> KeptQueryOut:
        """Convert one kept query."""
        return cls(
            id=kept_query.id,
            created_at=kept_query.created_at,
            expires_at=kept_query.expires_at,
            lat=kept_query.point.lat,
            lon=kept_query.point.lon,
            radius_m=kept_query.radius_m,
            probability=kept_query.probability,
            calibrated=kept_query.calibrated,
            abstention_reason=kept_query.abstention_reason,
            bundle=kept_query.bundle,
        )


class KeptQueriesOut(BaseModel):
    """A page of kept queries, newest first."""

    queries: list[KeptQueryOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )
