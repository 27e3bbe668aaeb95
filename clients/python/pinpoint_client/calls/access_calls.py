"""Calls for organizations, API keys and their limits.

The calls of keys take `organization`: without it they concern the organization of the caller, whose
key needs the scope `admin`; with it they are the operator's, for any organization.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from pinpoint_client import answers
from pinpoint_client.calls.call import Call, Page, list_call, read_model, read_nothing
from pinpoint_client.parameters import Id, to_path_segment, to_text

_ORGANIZATIONS_PATH: Final = "/v1/organizations"

# --- organizations ---------------------------------------------------------------------------


def organizations(
    *, limit: int = 100, cursor: str | None = None
) -> Call[Page[answers.Organization]]:
    """List the organizations that are not disabled, oldest first; operator only.

    Args:
        limit: Maximum number of organizations of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    query = {"limit": limit, "cursor": cursor}
    return list_call(_ORGANIZATIONS_PATH, lambda: answers.Organization, "organizations", query)


def organization(name_or_id: Id) -> Call[answers.Organization]:
    """Return one organization; operator only."""
    path, read = _organization_path(name_or_id), read_model(lambda: answers.Organization)
    return Call(method="GET", path=path, read=read, is_repeatable=True)


def create_organization(name: str) -> Call[answers.Organization]:
    """Create an organization; operator only.

    Raises:
        ConflictError: The name is taken.
    """
    read = read_model(lambda: answers.Organization)
    return Call(method="POST", path=_ORGANIZATIONS_PATH, read=read, body={"name": name})


def disable_organization(name_or_id: Id) -> Call[None]:
    """Disable an organization: its keys are rejected, its data stays; operator only."""
    return Call(method="DELETE", path=_organization_path(name_or_id), read=read_nothing)


def _organization_path(name_or_id: Id, rest: str = "") -> str:
    return f"{_ORGANIZATIONS_PATH}/{to_path_segment(name_or_id)}{rest}"


# --- keys ------------------------------------------------------------------------------------


def keys(
    *, organization: Id | None = None, limit: int = 100, cursor: str | None = None
) -> Call[Page[answers.Key]]:
    """List API keys, revoked ones included, oldest first.

    Args:
        organization: Name or id of an organization, for the operator.
        limit: Maximum number of keys of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    query = {"limit": limit, "cursor": cursor}
    return list_call(_keys_path(organization), lambda: answers.Key, "keys", query)


def key(key_id: Id, *, organization: Id | None = None) -> Call[answers.Key]:
    """Return one API key, without its secret.

    Args:
        key_id: The key.
        organization: Name or id of its organization, for the operator.
    """
    path, read = _key_path(key_id, organization), read_model(lambda: answers.Key)
    return Call(method="GET", path=path, read=read, is_repeatable=True)


def create_key(
    name: str,
    *,
    role: str | None = None,
    scopes: Iterable[str] = (),
    expires_at: datetime | None = None,
    granularity: str = "radius",
    min_radius_m: float = 0.0,
    organization: Id | None = None,
) -> Call[answers.KeySecret]:
    """Create an API key; the answer contains its secret, which is shown only now.

    Args:
        name: Its name in lists and in the audit log.
        role: Role that implies scopes, such as `analyst`; a key needs a role or scopes.
        scopes: Scopes in addition to those of the role: `locate`, `read`, `ingest`, `admin`, ….
        expires_at: From this time on the key is rejected; it needs a time zone.
        granularity: Finest statement about a position in a protected area: `exact`, `radius` (what
            each area permits), `city`, `country` or `refuse`.
        min_radius_m: Minimum radius of each answer, meters.
        organization: Name or id of an organization, for the operator.

    Raises:
        ForbiddenError: It would have more than the key of the caller (`grant_exceeds_key`).
    """
    return Call(
        method="POST",
        path=_keys_path(organization),
        read=read_model(lambda: answers.KeySecret),
        body={
            "name": name,
            "role": role,
            "scopes": list(scopes),
            "expires_at": None if expires_at is None else to_text(expires_at),
            "granularity": granularity,
            "min_radius_m": min_radius_m,
        },
    )


def rotate_key(
    key_id: Id, *, overlap_s: float = 0.0, organization: Id | None = None
) -> Call[answers.KeySecret]:
    """Replace the secret of an API key; the answer contains the new one.

    Args:
        key_id: The key.
        overlap_s: Time during which the previous secret stays valid, seconds; at most 7 days.
        organization: Name or id of its organization, for the operator.
    """
    return Call(
        method="POST",
        path=_key_path(key_id, organization, "/rotate"),
        read=read_model(lambda: answers.KeySecret),
        body={"overlap_s": overlap_s},
    )


def revoke_key(key_id: Id, *, organization: Id | None = None) -> Call[None]:
    """Revoke an API key: its next request is rejected. Repeating it changes nothing.

    Args:
        key_id: The key.
        organization: Name or id of its organization, for the operator.
    """
    path = _key_path(key_id, organization)
    return Call(method="DELETE", path=path, read=read_nothing, is_repeatable=True)


def _keys_path(organization: Id | None) -> str:
    return "/v1/keys" if organization is None else _organization_path(organization, "/keys")


def _key_path(key_id: Id, organization: Id | None = None, rest: str = "") -> str:
    return f"{_keys_path(organization)}/{to_path_segment(key_id)}{rest}"


# --- limits ----------------------------------------------------------------------------------


def limits() -> Call[answers.OwnLimits]:
    """Return the limits of the caller's key and what is left of them."""
    read = read_model(lambda: answers.OwnLimits)
    return Call(method="GET", path="/v1/limits", read=read, is_repeatable=True)


def key_limits(key_id: Id) -> Call[answers.KeyLimits]:
    """Return the limits that were set for a key, and those in force; operator only."""
    path, read = _key_path(key_id, rest="/limits"), read_model(lambda: answers.KeyLimits)
    return Call(method="GET", path=path, read=read, is_repeatable=True)


def set_key_limits(
    key_id: Id,
    *,
    requests_per_minute: int | None = None,
    photos_per_day: int | None = None,
    bytes_per_day: int | None = None,
    concurrent_jobs: int | None = None,
) -> Call[answers.KeyLimits]:
    """Replace the limits of a key; None: the limit of the settings, 0: no limit; operator only.

    Args:
        key_id: The key.
        requests_per_minute: Maximum number of requests per minute.
        photos_per_day: Maximum number of query photos in 24 hours.
        bytes_per_day: Maximum size of all request bodies in 24 hours, bytes.
        concurrent_jobs: Maximum number of open jobs.
    """
    return Call(
        method="PUT",
        path=_key_path(key_id, rest="/limits"),
        read=read_model(lambda: answers.KeyLimits),
        body={
            "requests_per_minute": requests_per_minute,
            "photos_per_day": photos_per_day,
            "bytes_per_day": bytes_per_day,
            "concurrent_jobs": concurrent_jobs,
        },
        is_repeatable=True,
    )


def delete_key_limits(key_id: Id) -> Call[None]:
    """Give a key the limits of the settings; operator only. Repeating it changes nothing."""
    path = _key_path(key_id, rest="/limits")
    return Call(method="DELETE", path=path, read=read_nothing, is_repeatable=True)
