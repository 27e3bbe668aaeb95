"""`/v1/keys`: API keys of the caller's organization, for its admin keys."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request

from pinpoint.api import problems
from pinpoint.api.dependencies import AdminCaller, AppServices
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.access import KeyIn, KeyOut, KeySecretOut, KeysOut, RotationIn
from pinpoint.bootstrap import Services
from pinpoint.records import Caller

router = APIRouter(prefix="/v1/keys", tags=["access"])

KeyId = Annotated[
    UUID,
    Path(description="Id of the key.", examples=["0b1f1e0c-2a36-4d4b-9a4f-7d1f6f4a9a11"]),
]
PageLimit = Annotated[int, Query(ge=1, le=1_000, description="Maximum number of rows of a page.")]
PageCursor = Annotated[str | None, Query(max_length=200, description="From the link `next`.")]
KEY_PROBLEMS = problems.problem_responses(401, 403, 404, 422, 503)


@router.post(
    "",
    operation_id="create_key",
    status_code=201,
    summary="Create a key",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def create_key(caller: AdminCaller, services: AppServices, body: KeyIn) -> KeySecretOut:
    """Create a key of the own organization; its secret is shown once.

    A key cannot grant what it does not have: neither a scope, nor a longer validity (403,
    `grant_exceeds_key`).
    """
    key, secret = services.api_keys.create_key(
        str(caller.organization_id), body.name, body.grant(), caller
    )
    return KeySecretOut(key=KeyOut.of(key), secret=secret)


@router.get(
    "",
    operation_id="list_keys",
    summary="List keys",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_keys(
    request: Request,
    caller: AdminCaller,
    services: AppServices,
    limit: PageLimit = 100,
    cursor: PageCursor = None,
) -> KeysOut:
    """List the keys of the own organization, revoked ones included, oldest first."""
    return list_key_page(request, services, str(caller.organization_id), limit, cursor)


@router.get("/{key_id}", operation_id="get_key", summary="One key", responses=KEY_PROBLEMS)
def get_key(key_id: KeyId, caller: AdminCaller, services: AppServices) -> KeyOut:
    """Return one key of the own organization, without its secret."""
    return KeyOut.of(services.api_keys.key(str(caller.organization_id), key_id))


@router.post(
    "/{key_id}/rotate",
    operation_id="rotate_key",
    summary="Replace the secret of a key",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def rotate_key(
    key_id: KeyId, caller: AdminCaller, services: AppServices, body: RotationIn | None = None
) -> KeySecretOut:
    """Return a new secret; the previous one stays valid for `overlap_s`.

    A key that has more than the caller's key cannot be rotated by it (403, `grant_exceeds_key`).
    """
    return rotate_key_of(services, str(caller.organization_id), key_id, body, caller)


@router.delete(
    "/{key_id}",
    operation_id="revoke_key",
    status_code=204,
    summary="Revoke a key",
    responses=KEY_PROBLEMS,
)
def revoke_key(key_id: KeyId, caller: AdminCaller, services: AppServices) -> None:
    """Revoke a key: its next request is rejected (401). Repeating the call has no effect."""
    services.api_keys.revoke_key(str(caller.organization_id), key_id, caller)


def list_key_page(
    request: Request, services: Services, organization: str, limit: int, cursor: str | None
) -> KeysOut:
    """Return a page of the keys of an organization, by its name or id."""
    # One extra row shows whether there is another page.
    page = services.api_keys.keys(
        organization, limit=limit + 1, after=cursors.decode_time_cursor(cursor, "keys")
    )
    keys = page[:limit]
    return KeysOut(
        keys=[KeyOut.of(key) for key in keys],
        next=cursors.build_time_link(
            request, "keys", (keys[-1].created_at, keys[-1].id) if len(page) > limit else None
        ),
    )


def rotate_key_of(
    services: Services,
    organization: str,
    key_id: UUID,
    body: RotationIn | None,
    caller: Caller | None,
) -> KeySecretOut:
    """Replace the secret of a key of an organization, by its name or id."""
    key, secret = services.api_keys.rotate_key(
        organization, key_id, overlap_s=(body or RotationIn()).overlap_s, caller=caller
    )
    return KeySecretOut(key=KeyOut.of(key), secret=secret)
