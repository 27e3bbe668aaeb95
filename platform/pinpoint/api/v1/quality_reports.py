"""`/v1/reports`: evaluations and calibrations of the gallery."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.query_requests import find_restriction
from pinpoint.api.v1.schemas.quality_reports import (
    QualityReportOut,
    QualityReportsOut,
    ReportSummaryOut,
)
from pinpoint.records import AuditEntry

router = APIRouter(prefix="/v1/reports", tags=["quality"])

_LIST: Final = "reports"


@router.get(
    "",
    operation_id="list_reports",
    summary="List quality reports",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_reports(
    request: Request,
    response: Response,
    caller: ReadCaller,
    services: AppServices,
    limit: Annotated[
        int, Query(ge=1, le=1_000, description="Maximum number of reports per page.")
    ] = 100,
    cursor: cursors.Cursor = None,
) -> QualityReportsOut:
    """List reports of evaluations and of calibrations from the gallery, newest first."""
    before = cursors.decode_time_cursor(cursor, _LIST)
    # One extra row shows whether there is another page.
    page = services.quality_reports.list_reports(
        caller.organization_id, limit=limit + 1, before=before
    )
    reports = page[:limit]
    last = (reports[-1].created_at, reports[-1].id) if len(page) > limit else None
    next_link = cursors.build_time_link(request, _LIST, last)
    cursors.add_link_header(response, next_link)
    return QualityReportsOut(
        reports=[ReportSummaryOut.of(report) for report in reports], next=next_link
    )


@router.get(
    "/{report_id}",
    operation_id="get_report",
    summary="Get a quality report",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def get_report(
    report_id: Annotated[
        UUID,
        Path(description="Id of the report.", examples=["7c2cb0de-3b2c-4d22-8f60-6c5c8a0a7a90"]),
    ],
    caller: ReadCaller,
    services: AppServices,
) -> QualityReportOut:
    """Get all figures of a report, its reliability, and the errors of its queries by position."""
    report = services.quality_reports.report(caller.organization_id, report_id)
    # Queries of a gallery are its images, so their positions may be in protected areas.
    is_restricted = find_restriction(caller, services) is not None
    with services.database.write(caller.organization_id) as catalog:
        catalog.log_access(
            AuditEntry(operation="read_report", key_id=caller.key_id, target_id=report_id)
        )
    return QualityReportOut.of(report, with_errors=not is_restricted)
