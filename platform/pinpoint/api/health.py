"""`/health`: liveness of the process and readiness of the components behind it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api import problems
from pinpoint.api.auth import is_local, read_operator_secret
from pinpoint.api.dependencies import AppServices
from pinpoint.api.readiness import Check, Readiness
from pinpoint.bootstrap import Services
from pinpoint.errors import IndexUnavailableError
from pinpoint.stack.state import compute_proof

router = APIRouter(tags=["health"])

_HEALTHY_DETAIL: Final = {
    "database": "answers at this code's schema revision",
    "broker": "answers",
    "index": "loaded",
}


class ComponentOut(BaseModel):
    """State of one component of the stack."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    detail: str


class LiveOut(BaseModel):
    """Liveness of the process."""

    live: bool
    proof: str | None = Field(
        default=None, description="Proves to a client on this machine that this is its own stack."
    )


class ReadyOut(BaseModel):
    """Readiness of the API and of each component."""

    ready: bool
    components: dict[str, ComponentOut]


@router.get(
    "/health/live",
    operation_id="live",
    summary="Liveness of the process",
    response_model_exclude_none=True,
    responses=problems.problem_responses(422),
)
async def live(
    request: Request,
    services: AppServices,
    nonce: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9_-]{16,64}$",
            description="Sent by this machine's own client before it sends the operator's key.",
            examples=["q8mP0mJbQ2Wc7Yd3"],
        ),
    ] = None,
) -> LiveOut:
    """Report liveness of the process, not of the components behind it."""
    if nonce is None or not is_local(request):
        return LiveOut(live=True)
    secret = read_operator_secret(services.settings.services.home)
    port = request.scope["server"][1]
    return LiveOut(live=True, proof=None if secret is None else compute_proof(secret, nonce, port))


@router.get(
    "/health/ready",
    operation_id="ready",
    summary="Readiness to serve requests",
    response_model=ReadyOut,
    responses=problems.problem_responses(503),
)
async def ready(request: Request, services: AppServices) -> Any:
    """Check database, schema revision, broker and index; 503 names the failed component.

    The checks run concurrently, and the response takes at most 2 s.
    """
    readiness: Readiness = request.app.state.readiness
    checks: dict[str, Check] = {
        "database": services.database.check,
        "broker": services.tasks.check,
        "index": partial(_check_index, services),
    }
    failures = await readiness.check_all(checks)
    components = {
        name: ComponentOut(ok=message is None, detail=message or _HEALTHY_DETAIL[name])
        for name, message in failures.items()
    }
    if all(component.ok for component in components.values()):
        return ReadyOut(ready=True, components=components)
    down = [name for name, component in components.items() if not component.ok]
    return _not_ready(request, components, down)


def _not_ready(
    request: Request, components: dict[str, ComponentOut], down: list[str]
) -> JSONResponse:
    return problems.problem_response(
        request,
        "unavailable",
        503,
        f"not ready: {', '.join(down)}",
        reason=f"{down[0]}_unavailable",
        headers={"Retry-After": str(problems.RETRY_AFTER_S)},
        extra={
            "ready": False,
            "components": {name: component.model_dump() for name, component in components.items()},
        },
    )


def _check_index(services: Services) -> None:
    info = services.index.info()
    if not info.ready:
        raise IndexUnavailableError(f"the index is still loading: {info.loading or 'no detail'}")
