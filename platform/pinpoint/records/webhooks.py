"""Records of webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

WebhookEventType = Literal[
    "job.completed", "job.failed", "job.canceled", "job.expired", "batch.closed", "webhook.test"
]
WEBHOOK_EVENT_TYPES: Final[tuple[WebhookEventType, ...]] = get_args(WebhookEventType)
DeliveryStatus = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A URL that receives events of an organization, without its secret."""

    id: UUID
    url: str
    event_types: tuple[WebhookEventType, ...]
    """Types that are sent; empty for all."""
    created_at: datetime
    disabled_at: datetime | None
    failing_since: datetime | None
    previous_secret_expires_at: datetime | None
    """End of the time in which the secret before the last rotation signs as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookUpdate:
    """Changes of a webhook; None changes nothing."""

    url: str | None = None
    event_types: tuple[WebhookEventType, ...] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """An event on its way to a webhook, for users."""

    id: UUID
    event_id: UUID
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    """None if there is no further attempt."""
    response_status: int | None
    """HTTP status of the last answer; None without an answer."""
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that a worker has claimed, with all data for one attempt."""

    id: UUID
    webhook_id: UUID
    event_id: UUID
    url: str
    body: str
    secrets: tuple[str, ...]
    """`whsec_…`: the current one, and the previous one during the overlap of a rotation.
    Empty if they cannot be decrypted."""
    attempts: int
    """Attempts including this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """Result of one attempt."""

    response_status: int | None
    error_message: str | None
    """None if the receiver answered with a status from 200 to 299."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """What follows a failed attempt."""

    delay_s: float | None
    """Pause before the next attempt; None if there is none."""
    disables_webhook: bool
    """Whether the receiver asked for no further events."""


EventData = Mapping[str, object]
"""Data of an event: JSON values."""
