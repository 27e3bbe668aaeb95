"""`GET /v1/limits`: the caller's limits; `/v1/keys/{key_id}/limits`: those of any key."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends

from pinpoint.api import problems
from pinpoint.api.auth import require_operator
from pinpoint.api.dependencies import AnyCaller, AppServices
from pinpoint.api.v1.keys import KeyId
from pinpoint.api.v1.schemas.limits import (
    KeyLimitsIn,
    KeyLimitsOut,
    LimitsOut,
    LimitUsageOut,
    OwnLimitsOut,
)
from pinpoint.records.key_limits import WINDOWS_S, KeyLimits
from pinpoint.store.limits.limiter import KeyLimiter

router = APIRouter(prefix="/v1", tags=["access"])

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 422, 503)


@router.get(
    "/limits",
    operation_id="get_own_limits",
    summary="What may this key use, and what is left?",
    responses=problems.problem_responses(400, 401, 403, 503),
)
def get_own_limits(caller: AnyCaller, services: AppServices) -> OwnLimitsOut:
    """Return scopes and limits of the caller's key and what is left; the operator has no limits."""
    scopes = sorted(caller.scopes)
    if caller.key_id is None:
        return OwnLimitsOut(scopes=scopes, limits=LimitsOut.of(KeyLimits()), usage=[])
    usages = [services.key_limiter.read_usage(caller.key_id, policy) for policy in WINDOWS_S]
    return OwnLimitsOut(
        scopes=scopes,
        limits=LimitsOut.of(services.key_limiter.find_limits(caller.key_id)),
        usage=[LimitUsageOut.of(usage) for usage in usages if usage is not None],
    )


@router.get(
    "/keys/{key_id}/limits",
    operation_id="get_key_limits",
    summary="Limits of a key",
    responses=_PROBLEMS,
    dependencies=[Depends(require_operator)],
)
def get_key_limits(key_id: KeyId, services: AppServices) -> KeyLimitsOut:
    """Return the limits that were set for a key, and those in force; operator only."""
    return _describe_limits(services.key_limiter, key_id)


@router.put(
    "/keys/{key_id}/limits",
    operation_id="set_key_limits",
    summary="Set the limits of a key",
    responses=_PROBLEMS,
    dependencies=[Depends(require_operator)],
)
def set_key_limits(key_id: KeyId, services: AppServices, body: KeyLimitsIn) -> KeyLimitsOut:
    """Replace the limits of a key; other API processes apply them within 5 s; operator only."""
    services.key_limiter.set_overrides(key_id, body.to_limits())
    return _describe_limits(services.key_limiter, key_id)


@router.delete(
    "/keys/{key_id}/limits",
    operation_id="delete_key_limits",
    summary="Give a key the limits of the settings",
    status_code=204,
    responses=_PROBLEMS,
    dependencies=[Depends(require_operator)],
)
def delete_key_limits(key_id: KeyId, services: AppServices) -> None:
    """Remove the limits that were set for a key; operator only."""
    services.key_limiter.set_overrides(key_id, KeyLimits())


def _describe_limits(limiter: KeyLimiter, key_id: UUID) -> KeyLimitsOut:
    return KeyLimitsOut.of(limiter.read_overrides(key_id), limiter.find_limits(key_id))
