"""`/v1/organizations`: organizations and their API keys, for the operator of the stack."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from pinpoint.api import problems
from pinpoint.api.auth import require_operator
from pinpoint.api.dependencies import AppServices
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.keys import (
    KEY_PROBLEMS,
    KeyId,
    PageCursor,
    PageLimit,
    list_key_page,
    rotate_key_of,
)
from pinpoint.api.v1.schemas.access import (
    KeyIn,
    KeyOut,
    KeySecretOut,
    KeysOut,
    OrganizationIn,
    OrganizationOut,
    OrganizationsOut,
    RotationIn,
)
from pinpoint.api.v1.schemas.catalog import NAME_PATTERN

router = APIRouter(
    prefix="/v1/organizations", tags=["access"], dependencies=[Depends(require_operator)]
)

OrganizationNameOrId = Annotated[
    str,
    Path(
        max_length=100,
        pattern=NAME_PATTERN,
        description="Name or id of the organization.",
        examples=["acme"],
    ),
]


@router.post(
    "",
    operation_id="create_organization",
    status_code=201,
    summary="Create an organization",
    responses=problems.problem_responses(400, 401, 403, 409, 422, 503),
)
def create_organization(services: AppServices, body: OrganizationIn) -> OrganizationOut:
    """Create an organization; operator only."""
    return OrganizationOut.of(services.api_keys.create_organization(body.name))


@router.get(
    "",
    operation_id="list_organizations",
    summary="List organizations",
    responses=problems.problem_responses(400, 401, 403, 422, 503),
)
def list_organizations(
    request: Request, services: AppServices, limit: PageLimit = 100, cursor: PageCursor = None
) -> OrganizationsOut:
    """List organizations that are not disabled, oldest first; operator only."""
    # One extra row shows whether there is another page.
    page = services.api_keys.organizations(
        limit=limit + 1, after=cursors.decode_time_cursor(cursor, "organizations")
    )
    rows = page[:limit]
    return OrganizationsOut(
        organizations=[OrganizationOut.of(row) for row in rows],
        next=cursors.build_time_link(
            request,
            "organizations",
            (rows[-1].created_at, rows[-1].id) if len(page) > limit else None,
        ),
    )


@router.get(
    "/{organization}",
    operation_id="get_organization",
    summary="One organization",
    responses=KEY_PROBLEMS,
)
def get_organization(organization: OrganizationNameOrId, services: AppServices) -> OrganizationOut:
    """Return one organization; operator only."""
    return OrganizationOut.of(services.api_keys.organization(organization))


@router.delete(
    "/{organization}",
    operation_id="disable_organization",
    status_code=204,
    summary="Disable an organization",
    responses=problems.problem_responses(401, 403, 404, 409, 422, 503),
)
def disable_organization(organization: OrganizationNameOrId, services: AppServices) -> None:
    """Disable an organization: its keys are rejected, its data stays; operator only.

    `pinpoint orgs delete` erases the data.
    """
    services.api_keys.disable_organization(organization)


@router.post(
    "/{organization}/keys",
    operation_id="create_organization_key",
    status_code=201,
    summary="Create a key of an organization",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def create_organization_key(
    organization: OrganizationNameOrId, services: AppServices, body: KeyIn
) -> KeySecretOut:
    """Create a key of any organization; its secret is shown once; operator only."""
    key, secret = services.api_keys.create_key(organization, body.name, body.grant())
    return KeySecretOut(key=KeyOut.of(key), secret=secret)


@router.get(
    "/{organization}/keys",
    operation_id="list_organization_keys",
    summary="List the keys of an organization",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_organization_keys(
    request: Request,
    organization: OrganizationNameOrId,
    services: AppServices,
    limit: PageLimit = 100,
    cursor: PageCursor = None,
) -> KeysOut:
    """List the keys of any organization, revoked ones included; operator only."""
    return list_key_page(request, services, organization, limit, cursor)


@router.get(
    "/{organization}/keys/{key_id}",
    operation_id="get_organization_key",
    summary="One key of an organization",
    responses=KEY_PROBLEMS,
)
def get_organization_key(
    organization: OrganizationNameOrId, key_id: KeyId, services: AppServices
) -> KeyOut:
    """Return one key of any organization, without its secret; operator only."""
    return KeyOut.of(services.api_keys.key(organization, key_id))


@router.post(
    "/{organization}/keys/{key_id}/rotate",
    operation_id="rotate_organization_key",
    summary="Replace the secret of a key of an organization",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def rotate_organization_key(
    organization: OrganizationNameOrId,
    key_id: KeyId,
    services: AppServices,
    body: RotationIn | None = None,
) -> KeySecretOut:
    """Return a new secret; the previous one stays valid for `overlap_s`; operator only."""
    return rotate_key_of(services, organization, key_id, body, None)


@router.delete(
    "/{organization}/keys/{key_id}",
    operation_id="revoke_organization_key",
    status_code=204,
    summary="Revoke a key of an organization",
    responses=KEY_PROBLEMS,
)
def revoke_organization_key(
    organization: OrganizationNameOrId, key_id: KeyId, services: AppServices
) -> None:
    """Revoke a key of any organization; its next request is rejected (401); operator only."""
    services.api_keys.revoke_key(organization, key_id)
