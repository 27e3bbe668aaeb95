"""`/v1/sources`: collections of images of one kind, with license and originals policy."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from pinpoint.api import conditional, problems
from pinpoint.api.dependencies import AdminCaller, AppServices, IngestCaller, ReadCaller
from pinpoint.api.idempotency import idempotent
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.catalog import (
    NAME_PATTERN,
    ErasedOut,
    SourceIn,
    SourceOut,
    SourcesOut,
    SourceUpdateIn,
)
from pinpoint.records import AuditEntry

router = APIRouter(prefix="/v1/sources", tags=["sources"])

_LIST: Final = "sources"

NameOrId = Annotated[
    str,
    Path(
        max_length=100,
        pattern=NAME_PATTERN,
        description="Name or id of the source.",
        examples=["paris-walk"],
    ),
]


@router.get(
    "",
    operation_id="list_sources",
    summary="List sources",
    responses=problems.problem_responses(401, 403, 404, 503),
)
def list_sources(
    request: Request,
    response: Response,
    caller: ReadCaller,
    services: AppServices,
    limit: Annotated[
        int, Query(ge=1, le=1_000, description="Maximum number of sources per page.")
    ] = 1_000,
    cursor: cursors.Cursor = None,
) -> SourcesOut:
    """List sources by name, with their number of images, one page at a time."""
    after = None
    if cursor is not None:
        (after,) = cursors.decode_cursor(cursor, _LIST, 1)
    with services.database.read(caller.organization_id) as catalog:
        # One extra row shows whether there is another page.
        page = catalog.sources(limit=limit + 1, after=after)
    sources = page[:limit]
    next_link = None
    if len(page) > limit:
        next_cursor = cursors.encode_cursor(_LIST, sources[-1].name)
        next_link = cursors.build_next_link(request, next_cursor)
    cursors.add_link_header(response, next_link)
    return SourcesOut(sources=[SourceOut.of(source) for source in sources], next=next_link)


@router.post(
    "",
    operation_id="add_source",
    status_code=201,
    summary="Add a source",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
@idempotent
def add_source(caller: IngestCaller, services: AppServices, body: SourceIn) -> SourceOut:
    """Add a source; its name must be unique in the organization."""
    with services.database.write(caller.organization_id) as catalog:
        source = catalog.add_source(
            body.name,
            body.kind,
            license=body.license,
            attribution=body.attribution,
            originals=body.originals,
        )
        catalog.log_access(
            AuditEntry(operation="add_source", key_id=caller.key_id, target_id=source.id)
        )
        if body.image_access != "full":
            source = catalog.set_image_access(source.id, body.image_access)
    return SourceOut.of(source)


@router.get(
    "/{source_id}",
    operation_id="get_source",
    summary="One source",
    response_model=SourceOut,
    responses={
        **conditional.NOT_MODIFIED_RESPONSES,
        **problems.problem_responses(401, 403, 404, 422, 503),
    },
)
def get_source(
    request: Request,
    response: Response,
    source_id: NameOrId,
    caller: ReadCaller,
    services: AppServices,
    if_none_match: conditional.IfNoneMatch = None,
) -> SourceOut | Response:
    """Return one source, by name or id."""
    with services.database.read(caller.organization_id) as catalog:
        source_out = SourceOut.of(catalog.source(source_id))
    return conditional.make_conditional_response(request, response, source_out) or source_out


@router.patch(
    "/{source_id}",
    operation_id="update_source",
    summary="Change a source",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def update_source(
    source_id: NameOrId, caller: AdminCaller, services: AppServices, body: SourceUpdateIn
) -> SourceOut:
    """Set what API keys may see of the images of a source."""
    with services.database.write(caller.organization_id) as catalog:
        source = catalog.source(source_id)
        return SourceOut.of(catalog.set_image_access(source.id, body.image_access))


@router.delete(
    "/{source_id}",
    operation_id="erase_source",
    status_code=202,
    summary="Erase a source and all its images",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def erase_source(source_id: NameOrId, caller: AdminCaller, services: AppServices) -> ErasedOut:
    """Mark all its images as deleted; a worker erases them, then the source."""
    with services.database.write(caller.organization_id) as catalog:
        source = catalog.source(source_id)
        num_images = catalog.erase_source(source.id)
        catalog.log_access(
            AuditEntry(
                operation="delete_source",
                key_id=caller.key_id,
                target_id=source.id,
                num_rows=num_images,
            )
        )
    return ErasedOut(images=num_images)
