"""`/v1/queries`: answers that callers asked to keep."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Path, Query

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.v1.schemas.kept_queries import KeptQueriesOut, KeptQueryOut
from pinpoint.errors import BadRequestError
from pinpoint.records import KeptQuery

router = APIRouter(prefix="/v1/queries", tags=["search"])


@router.get(
    "",
    operation_id="list_kept_queries",
    summary="List kept queries",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_kept_queries(
    caller: LocateCaller,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> KeptQueriesOut:
    """List the answers that were kept by `keep=true` and are not expired, newest first."""
    with services.database.read(caller.organization_id) as catalog:
        page = catalog.kept_queries(
            # One extra row shows whether there is another page.
            limit=limit + 1,
            before=None if cursor is None else _decode_cursor(cursor),
        )
    queries = page[:limit]
    return KeptQueriesOut(
        queries=[KeptQueryOut.of(kept_query) for kept_query in queries],
        next=_build_next_link(limit, queries[-1]) if len(page) > limit else None,
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


def _build_next_link(limit: int, last: KeptQuery) -> str:
    key = json.dumps([last.created_at.isoformat(), last.id.hex])
    cursor = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    return f"/v1/queries?{urlencode({'limit': limit, 'cursor': cursor})}"


def _decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Decode the position in a cursor.

    Raises:
        BadRequestError: The text is not a cursor of this list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, query_id = json.loads(text)
        position = datetime.fromisoformat(created_at), UUID(hex=query_id)
        if position[0].tzinfo is None:
            raise ValueError("a time without a zone")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            "the cursor is not one of this list; take the `next` link of a page as it is"
        ) from error
    return position
