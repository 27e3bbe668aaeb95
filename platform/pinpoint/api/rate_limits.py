"""Limits of the caller's key: checks, and the headers `RateLimit-Policy` and `RateLimit`.

The headers follow draft-ietf-httpapi-ratelimit-headers-11: the policies of the key, and what is
left of those that apply to the request. The operator has no limits and gets no such headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from pinpoint.api.forms import MAX_QUERY_FIELDS_BYTES
from pinpoint.errors import QuotaExceededError
from pinpoint.records import Caller
from pinpoint.records.key_limits import WINDOWS_S, CountedPolicy, KeyLimits, LimitUsage

if TYPE_CHECKING:
    from pinpoint.api.rules import RouteRule
    from pinpoint.bootstrap import Services

POLICY_HEADER: Final = "RateLimit-Policy"
USAGE_HEADER: Final = "RateLimit"
_STATE_KEY: Final = "limits"
_QUOTA_UNITS: Final[dict[CountedPolicy, str]] = {
    "requests": "",
    "photos": "",
    "bytes": ';qu="content-bytes"',
}
"""Registered units of quotas; `requests` is the default, and there is none for photos."""


def check_request(
    request: Request, caller: Caller, services: Services, rule: RouteRule, body_size: int | None
) -> None:
    """Count a request and its announced body; blocks for Redis, so it must run in a thread.

    Args:
        request: The request; its body was not read.
        caller: Its caller.
        services: The services.
        rule: Requirements of its route.
        body_size: Announced bytes of the body; None if unknown (`count_received_bytes` follows).

    Raises:
        QuotaExceededError: A limit of the key is used up.
    """
    if caller.key_id is None:
        return
    request.scope["state"][_STATE_KEY] = (services.key_limiter.find_limits(caller.key_id), {})
    _count(request, caller, services, "requests", 1)
    if rule.body is None or body_size == 0:
        return
    # A smaller body may hold a query without a photo; it is read first (`take_photos`).
    if rule.body.lane == "queries" and (body_size or 0) > MAX_QUERY_FIELDS_BYTES:
        _keep_usage(request, services.key_limiter.require_remaining(caller.key_id, "photos"))
    if body_size is None:
        services.key_limiter.require_remaining(caller.key_id, "bytes")
    else:
        _count(request, caller, services, "bytes", body_size)


def count_received_bytes(
    request: Request, caller: Caller | None, services: Services, size: int
) -> None:
    """Count a body that did not announce its size; blocks for Redis.

    Raises:
        QuotaExceededError: The body exceeds the limit of the key.
    """
    if caller is not None:
        _count(request, caller, services, "bytes", size)


def take_photos(request: Request, caller: Caller, services: Services, num_photos: int) -> None:
    """Count the photos of a query before they are decoded; blocks for Redis.

    Raises:
        QuotaExceededError: They exceed the limit of the key; none was counted.
    """
    _count(request, caller, services, "photos", num_photos)


def add_headers(headers: MutableHeaders, state: dict[str, Any]) -> None:
    """Add the headers of a request whose caller has limits."""
    if _STATE_KEY not in state:
        return
    limits: KeyLimits = state[_STATE_KEY][0]
    usages: dict[CountedPolicy, LimitUsage] = state[_STATE_KEY][1]
    policies = [
        f'"{policy}";q={quota};w={window_s}{_QUOTA_UNITS[policy]}'
        for policy, window_s in WINDOWS_S.items()
        if (quota := limits.get_quota(policy))
    ]
    if policies:
        headers[POLICY_HEADER] = ", ".join(policies)
    if usages:
        headers[USAGE_HEADER] = ", ".join(
            f'"{usage.policy}";r={usage.remaining};t={usage.reset_s}' for usage in usages.values()
        )


def _count(
    request: Request, caller: Caller, services: Services, policy: CountedPolicy, cost: int
) -> None:
    if caller.key_id is None:
        return
    limiter = services.key_limiter
    try:
        _keep_usage(request, limiter.take(caller.key_id, policy, cost))
    except QuotaExceededError:
        _keep_usage(request, limiter.read_usage(caller.key_id, policy))
        raise


def _keep_usage(request: Request, usage: LimitUsage | None) -> None:
    """Keep what is left for the headers of the response."""
    if usage is not None:
        request.scope["state"][_STATE_KEY][1][usage.policy] = usage
