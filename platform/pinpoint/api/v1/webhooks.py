"""`/v1/webhooks`: URLs that receive events of the organization."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.dependencies import AdminCaller, AppServices
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.webhooks import (
    DeliveriesOut,
    DeliveryOut,
    WebhookIn,
    WebhookOut,
    WebhookSecretOut,
    WebhooksOut,
    WebhookUpdateIn,
)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[
    UUID,
    Path(description="Id of the webhook.", examples=["0f3cf7ce-6f7f-4c0a-9a36-0a6a4f3a2f10"]),
]


@router.post(
    "",
    operation_id="add_webhook",
    status_code=201,
    summary="Create a webhook",
    responses=problems.problem_responses(400, 401, 403, 409, 422, 503),
)
def add_webhook(caller: AdminCaller, services: AppServices, body: WebhookIn) -> WebhookSecretOut:
    """Create a webhook; its secret is shown only in this response."""
    url = str(services.webhooks.guard.check_url(body.url))
    webhook, secret = services.webhooks.store.add_webhook(
        caller.organization_id, url, body.event_types
    )
    return WebhookSecretOut(webhook=WebhookOut.model_validate(webhook), secret=secret)


@router.get(
    "",
    operation_id="list_webhooks",
    summary="List webhooks",
    responses=problems.problem_responses(401, 403, 503),
)
def list_webhooks(caller: AdminCaller, services: AppServices) -> WebhooksOut:
    """List all webhooks, oldest first; an organization has at most 20."""
    webhooks = services.webhooks.store.webhooks(caller.organization_id)
    return WebhooksOut(webhooks=[WebhookOut.model_validate(webhook) for webhook in webhooks])


@router.get(
    "/{webhook_id}",
    operation_id="get_webhook",
    summary="A webhook",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def get_webhook(webhook_id: WebhookId, caller: AdminCaller, services: AppServices) -> WebhookOut:
    """Return one webhook, without its secret."""
    webhook = services.webhooks.store.webhook(caller.organization_id, webhook_id)
    return WebhookOut.model_validate(webhook)


@router.patch(
    "/{webhook_id}",
    operation_id="update_webhook",
    summary="Change, disable or enable a webhook",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def update_webhook(
    webhook_id: WebhookId, caller: AdminCaller, services: AppServices, body: WebhookUpdateIn
) -> WebhookOut:
    """Change URL or event types, or stop and start deliveries."""
    services.webhooks.store.webhook(caller.organization_id, webhook_id)
    if body.url is not None:
        body.url = str(services.webhooks.guard.check_url(body.url))
    webhook = services.webhooks.store.update_webhook(
        caller.organization_id, webhook_id, body.record()
    )
    return WebhookOut.model_validate(webhook)


@router.delete(
    "/{webhook_id}",
    operation_id="delete_webhook",
    status_code=204,
    summary="Delete a webhook",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def delete_webhook(webhook_id: WebhookId, caller: AdminCaller, services: AppServices) -> None:
    """Delete a webhook with its list of deliveries; pending deliveries are not sent."""
    services.webhooks.store.delete_webhook(caller.organization_id, webhook_id)


@router.post(
    "/{webhook_id}/rotate-secret",
    operation_id="rotate_webhook_secret",
    summary="Replace the secret of a webhook",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def rotate_webhook_secret(
    webhook_id: WebhookId, caller: AdminCaller, services: AppServices
) -> WebhookSecretOut:
    """Create a new secret. Until `previous_secret_expires_at` both secrets sign each delivery."""
    webhook, secret = services.webhooks.store.rotate_secret(caller.organization_id, webhook_id)
    return WebhookSecretOut(webhook=WebhookOut.model_validate(webhook), secret=secret)


@router.post(
    "/{webhook_id}/test",
    operation_id="send_test_event",
    status_code=202,
    summary="Send a test event",
    responses=problems.problem_responses(401, 403, 404, 409, 422, 503),
)
def send_test_event(
    webhook_id: WebhookId, caller: AdminCaller, services: AppServices
) -> DeliveryOut:
    """Send an event of type `webhook.test`; the list of deliveries shows its result."""
    return DeliveryOut.of(services.webhooks.store.send_test(caller.organization_id, webhook_id))


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="list_webhook_deliveries",
    summary="Deliveries of a webhook, newest first",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_webhook_deliveries(
    request: Request,
    response: Response,
    webhook_id: WebhookId,
    caller: AdminCaller,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: cursors.Cursor = None,
) -> DeliveriesOut:
    """List events with their status and the last answer of the receiver, one page at a time."""
    page = services.webhooks.store.deliveries(
        caller.organization_id,
        webhook_id,
        # One extra row shows whether there is another page.
        limit=limit + 1,
        before=cursors.decode_time_cursor(cursor, "deliveries"),
    )
    shown = page[:limit]
    last = (shown[-1].created_at, shown[-1].id) if len(page) > limit else None
    next_link = cursors.build_time_link(request, "deliveries", last)
    cursors.add_link_header(response, next_link)
    return DeliveriesOut(
        deliveries=[DeliveryOut.of(delivery) for delivery in shown],
        next=next_link,
    )
