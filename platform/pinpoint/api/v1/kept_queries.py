"""`/v1/queries`: answers that callers asked to keep."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.kept_queries import KeptQueriesOut, KeptQueryOut

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
    with services.database.read(caller.organization_id) as catalog:
        page = catalog.kept_queries(
            # One extra row shows whether there is another page.
            limit=limit + 1,
            before=None if cursor is None else _decode_position(cursor),
        )
    queries = page[:limit]
    next_link = None
    if len(page) > limit:
        last = queries[-1]
        next_cursor = cursors.encode_cursor(_LIST, last.created_at.isoformat(), last.id.hex)
        next_link = cursors.build_next_link(request, next_cursor)
    cursors.add_link_header(response, next_link)
    return KeptQueriesOut(
        queries=[KeptQueryOut.of(kept_query) for kept_query in queries],
        next=next_link,
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


def _decode_position(cursor: str) -> tuple[datetime, UUID]:
    """Decode the position in a cursor; raises `BadRequestError` if it is not one of this list."""
    created_at, query_id = cursors.decode_cursor(cursor, _LIST, 2)
    try:
        position = datetime.fromisoformat(created_at), UUID(hex=query_id)
        if position[0].tzinfo is None:
            raise ValueError("a time without a zone")
    except ValueError as error:
        raise cursors.make_cursor_error() from error
    return position
