"""Calls for administrators: webhooks, protected areas, and the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pinpoint_client import answers
from pinpoint_client.calls.call import (
    Call,
    Page,
    list_call,
    read_entries,
    read_model,
    read_nothing,
)
from pinpoint_client.parameters import Id, to_path_segment

_AREAS_PATH: Final = "/v1/protected-areas"

# --- webhooks --------------------------------------------------------------------------------


def webhooks() -> Call[list[answers.Webhook]]:
    """List all webhooks, oldest first."""
    read = read_entries(lambda: answers.Webhook, "webhooks")
    return Call(method="GET", path="/v1/webhooks", read=read, is_repeatable=True)


def webhook(webhook_id: Id) -> Call[answers.Webhook]:
    """Return one webhook."""
    path = _webhook_path(webhook_id)
    return Call(
        method="GET", path=path, read=read_model(lambda: answers.Webhook), is_repeatable=True
    )


def add_webhook(url: str, event_types: Iterable[str] = ()) -> Call[answers.WebhookSecret]:
    """Create a webhook; the answer contains its secret, which is shown only now.

    Args:
        url: HTTPS address that receives the events.
        event_types: Types of events; none for all.
    """
    return Call(
        method="POST",
        path="/v1/webhooks",
        read=read_model(lambda: answers.WebhookSecret),
        body={"url": url, "event_types": list(event_types)},
    )


def update_webhook(webhook_id: Id, **fields: Any) -> Call[answers.Webhook]:
    """Update a webhook.

    Args:
        webhook_id: The webhook.
        fields: `url`, `event_types`, `enabled`.
    """
    return Call(
        method="PATCH",
        path=_webhook_path(webhook_id),
        read=read_model(lambda: answers.Webhook),
        body=fields,
        is_repeatable=True,
    )


def delete_webhook(webhook_id: Id) -> Call[None]:
    """Delete a webhook."""
    return Call(method="DELETE", path=_webhook_path(webhook_id), read=read_nothing)


def rotate_webhook_secret(webhook_id: Id) -> Call[answers.WebhookSecret]:
    """Replace the secret of a webhook; the answer contains the new one."""
    path = _webhook_path(webhook_id, "/rotate-secret")
    return Call(method="POST", path=path, read=read_model(lambda: answers.WebhookSecret))


def send_test_event(webhook_id: Id) -> Call[answers.Delivery]:
    """Send a test event; return its delivery."""
    path = _webhook_path(webhook_id, "/test")
    return Call(method="POST", path=path, read=read_model(lambda: answers.Delivery))


def webhook_deliveries(
    webhook_id: Id, *, limit: int = 50, cursor: str | None = None
) -> Call[Page[answers.Delivery]]:
    """List the deliveries of a webhook, newest first.

    Args:
        webhook_id: The webhook.
        limit: Maximum number of deliveries of a page.
        cursor: Value of `next` of the previous page.
    """
    path, query = _webhook_path(webhook_id, "/deliveries"), {"limit": limit, "cursor": cursor}
    return list_call(path, lambda: answers.Delivery, "deliveries", query)


def _webhook_path(webhook_id: Id, rest: str = "") -> str:
    return f"/v1/webhooks/{to_path_segment(webhook_id)}{rest}"


# --- protected areas -------------------------------------------------------------------------


def protected_areas(*, cursor: str | None = None) -> Call[Page[answers.ProtectedArea]]:
    """List protected areas as GeoJSON Features.

    Args:
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    return list_call(_AREAS_PATH, lambda: answers.ProtectedArea, "features", {"cursor": cursor})


def protected_area(area_id: Id) -> Call[answers.ProtectedArea]:
    """Return one protected area."""
    path, read = _area_path(area_id), read_model(lambda: answers.ProtectedArea)
    return Call(method="GET", path=path, read=read, is_repeatable=True)


def create_protected_area(
    geometry: Mapping[str, Any], properties: Mapping[str, Any]
) -> Call[answers.ProtectedArea]:
    """Protect an area.

    Args:
        geometry: GeoJSON Polygon or MultiPolygon.
        properties: `name`, `granularity` (`radius`, `city`, `country` or `refuse`), `purpose`, and
            for `radius` `min_radius_m`; `whole_installation` for the operator.

    Raises:
        ConflictError: The name is taken.
    """
    return Call(
        method="POST",
        path=_AREAS_PATH,
        read=read_model(lambda: answers.ProtectedArea),
        body={"type": "Feature", "geometry": geometry, "properties": properties},
    )


def replace_protected_area(
    area_id: Id, geometry: Mapping[str, Any], properties: Mapping[str, Any]
) -> Call[answers.ProtectedArea]:
    """Replace all values of a protected area; see `create_protected_area`."""
    return Call(
        method="PUT",
        path=_area_path(area_id),
        read=read_model(lambda: answers.ProtectedArea),
        body={"type": "Feature", "geometry": geometry, "properties": properties},
        is_repeatable=True,
    )


def delete_protected_area(area_id: Id) -> Call[None]:
    """Delete a protected area."""
    return Call(method="DELETE", path=_area_path(area_id), read=read_nothing)


def _area_path(area_id: Id) -> str:
    return f"{_AREAS_PATH}/{to_path_segment(area_id)}"


# --- audit log -------------------------------------------------------------------------------


def audit_rows(
    *,
    operation: str | None = None,
    key_id: Id | None = None,
    datetime: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Call[Page[answers.AuditRow]]:
    """List the audit log of the organization of the key, newest first.

    Args:
        operation: Only rows of this operation.
        key_id: Only rows of this API key.
        datetime: Only rows of this time interval: `start/end`, `start/..` or `../end`.
        limit: Maximum number of rows of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    query = {
        "operation": operation,
        "key_id": None if key_id is None else str(key_id),
        "datetime": datetime,
        "limit": limit,
        "cursor": cursor,
    }
    return list_call("/v1/audit", lambda: answers.AuditRow, "rows", query)
