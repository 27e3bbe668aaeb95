"""Request and response schemas of webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.records.webhooks import (
    WEBHOOK_EVENT_TYPES,
    DeliveryStatus,
    WebhookDelivery,
    WebhookEventType,
    WebhookUpdate,
)

WebhookUrl = Annotated[str, Field(min_length=1, max_length=2_048)]
EventTypes = Annotated[list[WebhookEventType], Field(max_length=len(WEBHOOK_EVENT_TYPES))]


class WebhookIn(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(extra="forbid")

    url: WebhookUrl = Field(examples=["https://example.org/pinpoint-events"])
    event_types: EventTypes = Field(
        default_factory=list,
        description="Types of events to send; empty for all.",
        examples=[["batch.closed"]],
    )


class WebhookUpdateIn(BaseModel):
    """Changes of a webhook; omitted fields remain unchanged."""

    model_config = ConfigDict(extra="forbid")

    url: WebhookUrl | None = Field(default=None, examples=["https://example.org/events"])
    event_types: EventTypes | None = Field(
        default=None, description="Types of events to send; empty for all."
    )
    enabled: bool | None = Field(
        default=None, description="False stops deliveries; true starts them again."
    )

    def record(self) -> WebhookUpdate:
        """Convert to the internal record."""
        return WebhookUpdate(
            url=self.url,
            event_types=None if self.event_types is None else tuple(self.event_types),
            enabled=self.enabled,
        )


class WebhookOut(BaseModel):
    """A URL that receives events, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str
    event_types: list[WebhookEventType]
    created_at: datetime
    disabled_at: datetime | None = Field(
        description="Time at which deliveries were stopped, by a caller or after long failure."
    )
    failing_since: datetime | None = Field(
        description="First failed attempt since the last successful one."
    )
    previous_secret_expires_at: datetime | None = Field(
        description="Until then the secret before the last rotation signs as well."
    )


class WebhookSecretOut(BaseModel):
    """A webhook with its new secret, which is shown only now."""

    webhook: WebhookOut
    secret: str = Field(
        description="Verifies `webhook-signature`.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class WebhooksOut(BaseModel):
    """All webhooks, oldest first."""

    webhooks: list[WebhookOut]


class DeliveryOut(BaseModel):
    """An event that is sent to a webhook."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    event_id: UUID = Field(description="`webhook-id` is `msg_` and this id without dashes.")
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None = Field(description="HTTP status of the last answer.")
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> DeliveryOut:
        """Convert one delivery."""
        return cls.model_validate(delivery)


class DeliveriesOut(BaseModel):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryOut]
    next: str | None = Field(description="Value of `cursor` for the next page.")
