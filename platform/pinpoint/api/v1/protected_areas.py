"""`/v1/protected-areas`: places that must not be revealed."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Path, Query

from pinpoint.api import problems
from pinpoint.api.auth import is_operator_caller
from pinpoint.api.dependencies import AdminCaller, AppServices
from pinpoint.api.idempotency import idempotent
from pinpoint.api.v1.schemas.protected_areas import (
    ProtectedAreaIn,
    ProtectedAreaOut,
    ProtectedAreasOut,
)
from pinpoint.bootstrap import Services
from pinpoint.errors import BadRequestError, ForbiddenError
from pinpoint.records import Caller
from pinpoint.records.protected_areas import NewProtectedArea, ProtectedArea

router = APIRouter(prefix="/v1/protected-areas", tags=["protected areas"])

INVALID_AREA: Final = "invalid_area"
"""Reason of an area whose outline cannot be used."""
_APPLY_S: Final = 2.0
"""Time that a request spends on gallery rows; a worker continues."""

AreaId = Annotated[
    UUID,
    Path(
        description="Id of the protected area.", examples=["5d1f0a0e-7a52-4c62-9b0f-6f2d1c1f6a11"]
    ),
]


@router.get(
    "",
    operation_id="list_protected_areas",
    summary="List protected areas",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def list_protected_areas(
    caller: AdminCaller,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        UUID | None, Query(description="Id of the last area of the previous page.")
    ] = None,
) -> ProtectedAreasOut:
    """List the areas of the organization, and for the operator those of the installation, by id."""
    page = services.protected_areas.list_areas(
        caller.organization_id, limit=limit + 1, after=cursor
    )
    areas = page[:limit]
    next_link = None
    if len(page) > limit:
        query = urlencode({"limit": limit, "cursor": areas[-1].id})
        next_link = f"/v1/protected-areas?{query}"
    return ProtectedAreasOut(features=[ProtectedAreaOut.of(area) for area in areas], next=next_link)


@router.post(
    "",
    operation_id="create_protected_area",
    status_code=201,
    summary="Protect an area",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
@idempotent
def create_protected_area(
    caller: AdminCaller, services: AppServices, body: ProtectedAreaIn
) -> ProtectedAreaOut:
    """Protect an area: answers follow at once, gallery rows within seconds to minutes."""
    whole_installation = body.properties.whole_installation
    _require_operator(caller, whole_installation)
    area = services.protected_areas.create(
        caller, _to_record(body), whole_installation=whole_installation
    )
    return _apply_area(area, caller, services)


@router.get(
    "/{area_id}",
    operation_id="get_protected_area",
    summary="One protected area",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def get_protected_area(
    area_id: AreaId, caller: AdminCaller, services: AppServices
) -> ProtectedAreaOut:
    """Return one protected area."""
    return ProtectedAreaOut.of(services.protected_areas.area(caller.organization_id, area_id))


@router.put(
    "/{area_id}",
    operation_id="replace_protected_area",
    summary="Replace a protected area",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def replace_protected_area(
    area_id: AreaId, caller: AdminCaller, services: AppServices, body: ProtectedAreaIn
) -> ProtectedAreaOut:
    """Replace all values of an area; whether it applies to the installation cannot change."""
    area = services.protected_areas.area(caller.organization_id, area_id)
    if (area.organization_id is None) != body.properties.whole_installation:
        raise BadRequestError(
            "whole_installation cannot change; delete the area and create another one"
        )
    area = services.protected_areas.replace(caller, area_id, _to_record(body))
    return _apply_area(area, caller, services)


@router.delete(
    "/{area_id}",
    operation_id="delete_protected_area",
    status_code=204,
    summary="Delete a protected area",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def delete_protected_area(area_id: AreaId, caller: AdminCaller, services: AppServices) -> None:
    """Delete an area: answers and gallery rows are exact again."""
    services.protected_areas.delete(caller, area_id)
    services.protected_areas.apply(_APPLY_S)


def _apply_area(area: ProtectedArea, caller: Caller, services: Services) -> ProtectedAreaOut:
    services.protected_areas.apply(_APPLY_S)
    return ProtectedAreaOut.of(services.protected_areas.area(caller.organization_id, area.id))


def _require_operator(caller: Caller, whole_installation: bool) -> None:
    if whole_installation and not is_operator_caller(caller):
        raise ForbiddenError("only the operator protects an area for all organizations")


def _to_record(body: ProtectedAreaIn) -> NewProtectedArea:
    """Convert a request body.

    Raises:
        BadRequestError: The outline cannot be used.
    """
    try:
        return body.to_record()
    except ValueError as error:
        raise BadRequestError(str(error), reason=INVALID_AREA) from error
