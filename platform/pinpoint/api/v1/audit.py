"""`/v1/audit`: who asked, exported or changed what in the caller's organization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.auth import make_position_access
from pinpoint.api.dependencies import AppServices, AuditCaller
from pinpoint.api.v1 import cursors, media_types
from pinpoint.api.v1.schemas.audit import AuditLogOut, AuditQuery, AuditRowOut
from pinpoint.ports import CatalogReader
from pinpoint.position_access import PositionAccess
from pinpoint.records.audit import AuditRow

router = APIRouter(prefix="/v1/audit", tags=["access"])


@router.get(
    "",
    operation_id="list_audit_rows",
    summary="Audit log",
    response_model=AuditLogOut,
    responses={
        200: {
            "description": "A page of rows: JSON, or with `Accept: application/x-ndjson` one JSON "
            'object on each line. The header `Link` has the next page as `rel="next"`.',
            "content": {media_types.NDJSON: {"schema": {"type": "string"}}},
        },
        **problems.problem_responses(400, 401, 403, 404, 406, 422, 503),
    },
)
def list_audit_rows(
    request: Request,
    response: Response,
    caller: AuditCaller,
    services: AppServices,
    query: Annotated[AuditQuery, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> AuditLogOut | Response:
    """List operations on the own organization, newest first. Photos are never part of it."""
    media_type = media_types.choose_media_type(accept, (media_types.JSON, media_types.NDJSON))
    with services.database.read(caller.organization_id) as catalog:
        page = catalog.audit_rows(
            query.to_filter(),
            # One extra row shows whether there is another page.
            limit=query.limit + 1,
            before=cursors.decode_time_cursor(query.cursor, "audit"),
        )
        rows = _hide_points(page[: query.limit], make_position_access(caller), catalog)
    next_link = cursors.build_time_link(
        request, "audit", (rows[-1].created_at, rows[-1].id) if len(page) > query.limit else None
    )
    rows_out = [AuditRowOut.of(row) for row in rows]
    headers = {"Vary": "Accept"}
    if next_link is not None:
        headers["Link"] = f'<{next_link}>; rel="next"'
    if media_type == media_types.NDJSON:
        lines = "".join(f"{row.model_dump_json()}\n" for row in rows_out)
        return Response(lines, media_type=media_types.NDJSON, headers=headers)
    response.headers.update(headers)
    return AuditLogOut(rows=rows_out, next=next_link)


def _hide_points(
    rows: Sequence[AuditRow], access: PositionAccess, reader: CatalogReader
) -> list[AuditRow]:
    """Rows without the located points that the caller may not see: answers of other keys."""
    if access.granularity == "exact" and access.min_radius_m <= 0:
        return list(rows)
    points = [row.entry.point for row in rows if row.entry.point is not None]
    hits = reader.protected_areas_at(points)
    hidden = {
        point
        for point, hit in zip(points, hits, strict=True)
        if access.min_radius_m > 0 or hit is not None
    }
    return [
        replace(row, entry=replace(row.entry, point=None)) if row.entry.point in hidden else row
        for row in rows
    ]
