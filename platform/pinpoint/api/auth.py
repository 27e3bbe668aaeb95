"""Authentication by API key, operator key or browser session of this machine's operator.

Three forms of a key are equal: `Authorization: Bearer`, `Authorization: Basic` with the key as
password, and `X-API-Key`. A key in the URL would be logged, so it is never read from there.

Requests need credentials, unless `PINPOINT_API_ALLOW_KEYLESS` is set and no key exists. A keyless
request is then accepted only if no web page can have tricked a browser into sending it:
peer and `Host` are loopback (against DNS rebinding), no proxy forwarded it (its clients would all
appear as loopback), and it has the same origin (`Origin`, `Sec-Fetch-Site`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from pinpoint import logs
from pinpoint.api.host_names import is_loopback, is_origin_of_host, is_own_host, parse_host_name
from pinpoint.api.sessions import Sessions
from pinpoint.errors import ForbiddenError, UnauthenticatedError
from pinpoint.http_headers import API_KEY_HEADER, ORGANIZATION_HEADER
from pinpoint.position_access import PositionAccess
from pinpoint.records import (
    DEFAULT_ORGANIZATION,
    SCOPES,
    Caller,
    Scope,
)
from pinpoint.stack.paths import StackPaths

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

RouteAccess = Scope | Literal["any_key", "operator", "metrics"]
"""What a route requires: a scope, any valid key, the operator, or the operator or the metrics
token."""
LOOPBACK_DEFAULT: Final = "loopback-default"
CHALLENGES: Final = ('Bearer realm="pinpoint"', 'Basic realm="pinpoint", charset="UTF-8"')
"""Values of `WWW-Authenticate`, each in a header of its own, because Qt splits no list of them. GIS
clients ask for a password only if `Basic` is among them."""
_FORWARDING_HEADERS: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip"}
)
_FORWARDING_PREFIX: Final = "x-forwarded"
_NO_KEY_MESSAGE: Final = (
    "send an API key: `Authorization: Bearer <key>`; on the machine itself `pinpoint key` prints "
    "the operator's key, and `pinpoint keys create` creates keys for others"
)

_log = logs.get_logger(__name__)
_bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer <key>`.")


async def get_services(request: Request) -> Services:
    """Return the services of this application."""
    app_services: Services = request.app.state.services
    return app_services


def require_scope(scope: Scope | Literal["any_key"]) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that yields the caller; `protection` has checked this scope."""

    async def caller(request: Request, _: Annotated[object, Security(_bearer)] = None) -> Caller:
        admitted: Caller = request.state.caller
        return admitted

    caller.needed_scope = scope  # type: ignore[attr-defined]
    return caller


def authorize(request: Request, services: Services, access: RouteAccess) -> Caller | None:
    """Authenticate and authorize the caller of a route; None if no organization was resolved.

    The function queries the database and must run in a thread.

    Raises:
        UnauthenticatedError: No usable credentials.
        ForbiddenError: The key lacks the scope.
    """
    if access == "metrics":
        return _admit_metrics_reader(request, services)
    if access == "operator":
        return _admit_operator(
            request,
            services,
            "only the operator of the stack may call this route, on the machine itself; an "
            "organization's admin key manages its keys at /v1/keys",
        )
    caller = authenticate(request, services)
    if access != "any_key" and access not in caller.scopes:
        raise ForbiddenError(
            f"this key lacks the scope `{access}`; "
            "create a key with it by `pinpoint keys create --scope`"
        )
    return caller


def authenticate(request: Request, services: Services) -> Caller:
    """Authenticate the caller of a request.

    Raises:
        UnauthenticatedError: Credentials are missing, unknown, revoked or not valid from this peer.
        ForbiddenError: The request names another organization than that of its key.
    """
    secret = _read_secret(request)
    organization = request.headers.get(ORGANIZATION_HEADER)
    if secret is None:
        return _authenticate_loopback(request, services)
    if _is_operator(request, services, secret):
        if not is_local(request):
            raise UnauthenticatedError("the operator's key is good only on the machine itself")
        return services.api_keys.caller_for(organization or DEFAULT_ORGANIZATION, SCOPES)
    caller: Caller = services.api_keys.authenticate(secret)
    if organization is not None and organization != caller.organization:
        raise ForbiddenError(
            f"this key belongs to another organization than {ORGANIZATION_HEADER} states; "
            "omit the header"
        )
    return caller


async def require_operator(_: Annotated[object, Security(_bearer)] = None) -> None:
    """Mark a route for the operator of the stack; `protection` rejects all other callers."""


async def require_metrics_reader(_: Annotated[object, Security(_bearer)] = None) -> None:
    """Mark a route for the operator and for the metrics token; see `require_operator`."""


require_operator.needed_scope = "operator"  # type: ignore[attr-defined]
require_metrics_reader.needed_scope = "metrics"  # type: ignore[attr-defined]


def _admit_metrics_reader(request: Request, services: Services) -> Caller | None:
    secret, token = _read_secret(request), services.settings.api.metrics_token
    if (
        secret is not None
        and token is not None
        and hmac.compare_digest(secret.encode(), token.encode())
    ):
        return None
    return _admit_operator(
        request,
        services,
        "these metrics cover all organizations, so keys of organizations cannot read them; "
        "use the operator's key on the machine itself, or set PINPOINT_API_METRICS_TOKEN",
    )


def _admit_operator(request: Request, services: Services, refusal: str) -> Caller | None:
    """Accept the operator's key, or a keyless loopback request if those are allowed.

    Keys of organizations are rejected with the message `refusal`, whatever their scopes.
    """
    secret = _read_secret(request)
    # Checked before any database query: metrics matter most while the database is down.
    if secret is not None and is_local(request) and _is_operator(request, services, secret):
        return None
    caller = authenticate(request, services)
    if caller.key_id is not None:
        raise ForbiddenError(refusal)
    return caller


def can_see_paths(caller: Caller) -> bool:
    """Whether a caller may see paths of this machine: only its operator may, no API key."""
    return caller.key_id is None


def is_operator_caller(caller: Caller) -> bool:
    """Whether a caller is the operator of the stack, not an API key."""
    return caller.key_id is None


def make_position_access(caller: Caller) -> PositionAccess:
    """What a caller may see of positions in protected areas; the operator sees all."""
    if is_operator_caller(caller):
        return PositionAccess(rows="operator", granularity="exact")
    return PositionAccess(
        rows="all" if caller.granularity == "exact" else "unprotected",
        granularity=caller.granularity,
        min_radius_m=caller.min_radius_m,
    )


def _is_operator(request: Request, services: Services, secret: str) -> bool:
    operator = read_operator_secret(services.settings.services.home)
    if operator is not None and hmac.compare_digest(secret.encode(), operator.encode()):
        return True
    sessions: Sessions = request.app.state.sessions
    return sessions.is_valid(secret)


def read_operator_secret(home: Path) -> str | None:
    """Read the local operator's secret below `home`; None if it is missing or not private."""
    path = StackPaths(home).operator_key_file
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            _log.warning("operator key ignored: others can read it; chmod 600", path=str(path))
            return None
        secret = path.read_text().strip()
    except FileNotFoundError:
        return None
    return secret or None


def is_local(request: Request) -> bool:
    """Whether the peer is this machine and no proxy forwarded the request."""
    if request.client is None or not is_loopback(request.client.host):
        return False
    return not any(
        name in _FORWARDING_HEADERS or name.startswith(_FORWARDING_PREFIX)
        for name in request.headers
    )


def is_same_origin(request: Request, services: Services) -> bool:
    """Whether the request is local and not triggered by a page of another origin."""
    is_known_host = _is_known_host(request, services.settings.api.host)
    return is_local(request) and is_known_host and not _is_cross_origin(request)


def _authenticate_loopback(request: Request, services: Services) -> Caller:
    if not services.settings.api.allow_keyless:
        raise UnauthenticatedError(_NO_KEY_MESSAGE)
    if not is_local(request) or not _is_known_host(request, services.settings.api.host):
        raise UnauthenticatedError(_NO_KEY_MESSAGE)
    if _is_cross_origin(request):
        raise UnauthenticatedError(
            "a web page of another origin may not use this API without a key"
        )
    if services.api_keys.any_keys():
        raise UnauthenticatedError(
            "send an API key: `Authorization: Bearer <key>`; this stack has keys, so requests "
            "without one are rejected, even from this machine"
        )
    request.state.access = LOOPBACK_DEFAULT
    return services.api_keys.caller_for(DEFAULT_ORGANIZATION, SCOPES)


def _read_secret(request: Request) -> str | None:
    """Return the key of a request; None without credentials.

    Raises:
        UnauthenticatedError: The credentials have another form, or two keys differ.
    """
    secrets = {
        secret
        for secret in (_read_authorization(request), request.headers.get(API_KEY_HEADER))
        if secret is not None
    }
    if len(secrets) > 1:
        raise UnauthenticatedError(f"Authorization and {API_KEY_HEADER} contain different keys")
    if not secrets:
        return None
    secret = secrets.pop().strip()
    if not secret:
        raise UnauthenticatedError("the key is empty")
    return secret


def _read_authorization(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() != "basic":
        raise UnauthenticatedError(
            "credentials must read `Authorization: Bearer <key>`, or `Basic` with the key as "
            "password"
        )
    if _is_cross_origin(request):
        # Browsers remember a password and send it with requests that other pages make.
        raise UnauthenticatedError("a web page of another origin may not use a saved password")
    try:
        _, separator, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnauthenticatedError("the Basic credentials cannot be decoded") from error
    if not separator:
        raise UnauthenticatedError("the Basic credentials contain no password: user:key")
    return password


def _is_known_host(request: Request, configured_host: str) -> bool:
    host_name = parse_host_name(request.headers.get("host", ""))
    return is_own_host(host_name, configured_host)


def _is_cross_origin(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and not is_origin_of_host(origin, request.headers.get("host", ""))
