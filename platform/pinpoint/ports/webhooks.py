"""Port of workers that deliver webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pinpoint.records.webhooks import ClaimedDelivery, DeliveryAttempt, RetryPlan


class WebhookQueue(Protocol):
    """The outbox: deliveries of all organizations; each call is one transaction."""

    def claim(self, ids: Sequence[UUID], limit: int) -> list[ClaimedDelivery]:
        """Claim due deliveries; without ids any of them, the one that is due longest first."""
        ...

    def release(self, ids: Sequence[UUID], delay_s: float) -> None:
        """Return claimed deliveries that were not attempted; the attempt is not counted."""
        ...

    def record_success(self, delivery: ClaimedDelivery, attempt: DeliveryAttempt) -> None:
        """Record that a receiver accepted a delivery."""
        ...

    def record_failure(
        self, delivery: ClaimedDelivery, attempt: DeliveryAttempt, plan: RetryPlan
    ) -> None:
        """Record a failed attempt; disable a webhook that has failed for too long."""
        ...
