"""`/v1/sources`: collections of images of one kind, with licence and originals policy."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from pinpoint.api import problems
from pinpoint.api.callers import needs, services
from pinpoint.api.schemas_catalogue import NAME_PATTERN, ErasedOut, SourceIn, SourceOut, SourcesOut
from pinpoint.bootstrap import Services
from pinpoint.records import Caller

router = APIRouter(prefix="/v1/sources", tags=["sources"])

Reader = Annotated[Caller, Depends(needs("read"))]
Ingester = Annotated[Caller, Depends(needs("ingest"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
Parts = Annotated[Services, Depends(services)]
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
    summary="All sources",
    responses=problems.declared(401, 403, 404, 503),
)
def list_sources(caller: Reader, parts: Parts) -> SourcesOut:
    """All sources by name, with their number of images."""
    with parts.database.read(caller.organization_id) as catalogue:
        found = catalogue.sources()
    return SourcesOut(sources=[SourceOut.of(source) for source in found])


@router.post(
    "",
    operation_id="add_source",
    status_code=201,
    summary="Add a source",
    responses=problems.declared(400, 401, 403, 404, 409, 422, 503),
)
def add_source(caller: Ingester, parts: Parts, body: SourceIn) -> SourceOut:
    """Add a source; its name is unique in the organisation."""
    with parts.database.write(caller.organization_id) as catalogue:
        source = catalogue.add_source(
            body.name,
            body.kind,
            licence=body.licence,
            attribution=body.attribution,
            originals=body.originals,
        )
    return SourceOut.of(source)


@router.get(
    "/{source_id}",
    operation_id="get_source",
    summary="One source",
    responses=problems.declared(401, 403, 404, 422, 503),
)
def get_source(source_id: NameOrId, caller: Reader, parts: Parts) -> SourceOut:
    """One source, by name or id."""
    with parts.database.read(caller.organization_id) as catalogue:
        return SourceOut.of(catalogue.source(source_id))


@router.delete(
    "/{source_id}",
    operation_id="erase_source",
    status_code=202,
    summary="Erase a source and all its images",
    responses=problems.declared(401, 403, 404, 422, 503),
)
def erase_source(source_id: NameOrId, caller: Admin, parts: Parts) -> ErasedOut:
    """Leave tombstones on all its images; a worker erases them, then the source."""
    with parts.database.write(caller.organization_id) as catalogue:
        return ErasedOut(images=catalogue.erase_source(catalogue.source(source_id).id))
