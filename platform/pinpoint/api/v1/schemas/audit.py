"""Schemas of the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api.v1.times import IntervalField
from pinpoint.records.audit import AuditFilter, AuditOperation, AuditRow, AuditStatus


class AuditQuery(BaseModel):
    """Filters and page of the audit log."""

    model_config = ConfigDict(extra="forbid")

    operation: AuditOperation | None = Field(
        default=None, description="Only rows of this operation.", examples=["locate"]
    )
    key_id: UUID | None = Field(default=None, description="Only rows of this API key.")
    datetime: IntervalField | None = Field(
        default=None,
        description="Only rows of this time interval: start/end, start/.. or ../end (RFC 3339).",
        examples=["2026-05-01T00:00:00Z/.."],
    )
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Annotated[str, Field(max_length=200)] | None = None

    def to_filter(self) -> AuditFilter:
        """Convert to the conditions of the store."""
        return AuditFilter(
            operation=self.operation,
            key_id=self.key_id,
            start=None if self.datetime is None else self.datetime.start,
            before=None if self.datetime is None else self.datetime.before,
        )


class AuditRowOut(BaseModel):
    """One operation of a caller; never a photo."""

    id: UUID
    created_at: datetime
    key_id: UUID | None = Field(description="API key of the caller; null for the operator.")
    key_name: str | None
    operation: AuditOperation
    status: AuditStatus = Field(
        description="`abstained`: an answer without a certain point; `refused`: a rule of access "
        "forbids it."
    )
    request_id: str | None = Field(description="Id of the request in the server's log.")
    target_id: UUID | None = Field(
        description="The image, batch, source, key, kept query or organization that the operation "
        "is about."
    )
    photo_sha256: str | None = Field(
        description="SHA-256 of the query photo, which is not stored; a query with several photos "
        "has one row for each."
    )
    bundle: str | None
    index_build: str | None
    num_rows: int | None = Field(
        description="Number of rows or files that were sent, uploaded, changed or deleted."
    )
    image_filter: dict[str, Any] | None = Field(description="Format and filter of an export.")
    lat: float | None = Field(
        description="Latitude of the answer; null unless PINPOINT_API_AUDIT_POSITIONS is set, or "
        "if the caller may not see it: it is in a protected area, or the key has a minimum radius."
    )
    lon: float | None

    @classmethod
    def of(cls, row: AuditRow) -> AuditRowOut:
        """Convert one row."""
        entry = row.entry
        return cls(
            id=row.id,
            created_at=row.created_at,
            key_id=entry.key_id,
            key_name=row.key_name,
            operation=entry.operation,
            status=entry.status,
            request_id=row.request_id,
            target_id=entry.target_id,
            photo_sha256=entry.photo_sha256,
            bundle=entry.bundle,
            index_build=entry.index_build,
            num_rows=entry.num_rows,
            image_filter=None if entry.image_filter is None else dict(entry.image_filter),
            lat=None if entry.point is None else entry.point.lat,
            lon=None if entry.point is None else entry.point.lon,
        )


class AuditLogOut(BaseModel):
    """A page of the audit log, newest first."""

    rows: list[AuditRowOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )
