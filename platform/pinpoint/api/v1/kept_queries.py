"""`/v1/queries`: answers that callers asked to keep."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.kept_queries import KeptQueriesOut, KeptQueryOut
from pinpoint.records import AuditEntry

router = APIRouter(prefix="/v1/queries", tags=["search"])

_LIST: Final = "queries"


@router.get(
    "",
    operation_id="list_kept_queries",
    summary="List kept queries",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_kept_queries(
    request: Request,
    response: Response,
    caller: LocateCaller,
    services: AppServices,
    limit: Annotated[
        int, Query(ge=1, le=1_000, description="Maximum number of queries per page.")
    ] = 100,
    cursor: cursors.Cursor = None,
) -> KeptQueriesOut:
    """List the answers that were kept by `keep=true` and are not expired, newest first."""
    before = cursors.decode_time_cursor(cursor, _LIST)
    with services.database.write(caller.organization_id) as catalog:
        # One extra row shows whether there is another page.
        page = catalog.kept_queries(limit=limit + 1, before=before)
        queries = page[:limit]
        catalog.log_access(
            AuditEntry(operation="list_kept_queries", key_id=caller.key_id, num_rows=len(queries))
        )
    last = (queries[-1].created_at, queries[-1].id) if len(page) > limit else None
    next_link = cursors.build_time_link(request, _LIST, last)
    cursors.add_link_header(response, next_link)
    return KeptQueriesOut(
        queries=[KeptQueryOut.of(kept_query) for kept_query in queries], next=next_link
    )


@router.delete(
    "/{query_id}",
    operation_id="delete_kept_query",
    status_code=204,
    summary="Delete a kept query",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def delete_kept_query(
    query_id: Annotated[
        UUID,
        Path(
            description="Id of the kept query.", examples=["2c5ea4c0-4067-41e9-8bad-9b1deb4d3b7d"]
        ),
    ],
    caller: LocateCaller,
    services: AppServices,
) -> None:
    """Delete a kept query before it expires."""
    with services.database.write(caller.organization_id) as catalog:
        catalog.delete_kept_query(query_id)
        catalog.log_access(
            AuditEntry(operation="delete_kept_query", key_id=caller.key_id, target_id=query_id)
        )
