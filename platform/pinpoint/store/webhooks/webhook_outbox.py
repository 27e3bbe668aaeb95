"""The outbox of webhooks for workers: deliveries of all organizations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select, update

from pinpoint import logs
from pinpoint.errors import ConfigurationError
from pinpoint.records.webhooks import ClaimedDelivery, DeliveryAttempt, RetryPlan
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.webhook_tables import webhook_deliveries, webhooks
from pinpoint.store.webhooks.secret_cipher import SecretCipher

_log = logs.get_logger(__name__)

_CLAIM: Final = timedelta(minutes=5)
"""Time after which the claim of a lost worker expires; longer than a task."""
_WEBHOOK_DISABLED: Final = "the webhook was disabled"


class WebhookOutbox:
    """Implements `ports.WebhookQueue`; each call is one transaction.

    Args:
        transactions: Units of work of the owner.
        cipher: Decrypts secrets.
        disable_after_days: Days without a successful delivery that disable a webhook.
    """

    def __init__(
        self, transactions: Transactions, cipher: SecretCipher, disable_after_days: float
    ) -> None:
        self._transactions, self._cipher = transactions, cipher
        self._disable_after = timedelta(days=disable_after_days)

    def claim(self, ids: Sequence[UUID], limit: int) -> list[ClaimedDelivery]:
        """Claim due deliveries; without ids any of them, the one that is due longest first."""
        due = (
            select(webhook_deliveries.c.id)
            .where(
                webhook_deliveries.c.status == "pending",
                webhook_deliveries.c.next_attempt_at <= func.now(),
            )
            .order_by(webhook_deliveries.c.next_attempt_at, webhook_deliveries.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if ids:
            due = due.where(is_any_of(webhook_deliveries.c.id, ids))
        with self._transactions.begin() as unit:
            claimed_ids = list(unit.connection.execute(due).scalars())
            unit.connection.execute(
                update(webhook_deliveries)
                .where(is_any_of(webhook_deliveries.c.id, claimed_ids))
                .values(
                    attempts=webhook_deliveries.c.attempts + 1,
                    next_attempt_at=func.now() + _CLAIM,
                )
            )
            rows = unit.connection.execute(
                select(
                    webhook_deliveries.c.id,
                    webhook_deliveries.c.webhook_id,
                    webhook_deliveries.c.event_id,
                    webhook_deliveries.c.body,
                    webhook_deliveries.c.attempts,
                    webhooks.c.url,
                    webhooks.c.secret,
                    webhooks.c.previous_secret,
                    (webhooks.c.previous_secret_expires_at > func.now()).label("overlaps"),
                )
                .join(webhooks, webhooks.c.id == webhook_deliveries.c.webhook_id)
                .where(is_any_of(webhook_deliveries.c.id, claimed_ids))
                .order_by(webhook_deliveries.c.created_at, webhook_deliveries.c.id)
            ).all()
        return [self._to_claimed(row) for row in rows]

    def release(self, ids: Sequence[UUID], delay_s: float) -> None:
        """Return claimed deliveries that were not attempted; the attempt is not counted."""
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(webhook_deliveries)
                .where(
                    is_any_of(webhook_deliveries.c.id, ids),
                    webhook_deliveries.c.status == "pending",
                )
                .values(
                    attempts=func.greatest(webhook_deliveries.c.attempts - 1, 0),
                    next_attempt_at=func.now() + timedelta(seconds=delay_s),
                )
            )

    def record_success(self, delivery: ClaimedDelivery, attempt: DeliveryAttempt) -> None:
        """Record that a receiver accepted a delivery."""
        with self._transactions.begin() as unit:
            _update_delivery(
                unit.connection,
                delivery.id,
                status="delivered",
                response_status=attempt.response_status,
                error_message=None,
                finished_at=func.now(),
            )
            unit.connection.execute(
                update(webhooks)
                .where(webhooks.c.id == delivery.webhook_id, webhooks.c.failing_since.is_not(None))
                .values(failing_since=None)
            )

    def record_failure(
        self, delivery: ClaimedDelivery, attempt: DeliveryAttempt, plan: RetryPlan
    ) -> None:
        """Record a failed attempt; disable a webhook that has failed for too long."""
        ends = plan.delay_s is None or plan.disables_webhook
        with self._transactions.begin() as unit:
            _update_delivery(
                unit.connection,
                delivery.id,
                status="failed" if ends else "pending",
                response_status=attempt.response_status,
                error_message=attempt.error_message,
                finished_at=func.now() if ends else None,
                next_attempt_at=func.now() + timedelta(seconds=plan.delay_s or 0),
            )
            unit.connection.execute(
                update(webhooks)
                .where(webhooks.c.id == delivery.webhook_id)
                .values(failing_since=func.coalesce(webhooks.c.failing_since, func.now()))
            )
            too_long = webhooks.c.failing_since <= func.now() - self._disable_after
            disabled = unit.connection.execute(
                update(webhooks)
                .where(
                    webhooks.c.id == delivery.webhook_id,
                    webhooks.c.disabled_at.is_(None),
                    too_long if not plan.disables_webhook else webhooks.c.id.is_not(None),
                )
                .values(disabled_at=func.now())
            )
            if disabled.rowcount:
                _fail_pending(unit.connection, delivery.webhook_id)

    def prune_deliveries(self, older_than_s: float) -> int:
        """Delete finished deliveries that are older than this; returns their number."""
        with self._transactions.begin() as unit:
            deleted = unit.connection.execute(
                delete(webhook_deliveries).where(
                    webhook_deliveries.c.finished_at < func.now() - timedelta(seconds=older_than_s)
                )
            )
            return int(deleted.rowcount)

    def _to_claimed(self, row: Row[Any]) -> ClaimedDelivery:
        encrypted = [row.secret]
        if row.overlaps and row.previous_secret is not None:
            encrypted.append(row.previous_secret)
        return ClaimedDelivery(
            id=row.id,
            webhook_id=row.webhook_id,
            event_id=row.event_id,
            url=row.url,
            body=row.body,
            secrets=self._decrypt_all(row.webhook_id, encrypted),
            attempts=row.attempts,
        )

    def _decrypt_all(self, webhook_id: UUID, encrypted: Sequence[bytes]) -> tuple[str, ...]:
        """Decrypt secrets; empty if one cannot be decrypted, which concerns this webhook only."""
        try:
            return tuple(self._cipher.decrypt(secret) for secret in encrypted)
        except ConfigurationError as error:
            _log.error("webhook without a secret", webhook=str(webhook_id), detail=error.message)
            return ()


def _update_delivery(connection: Connection, delivery_id: UUID, **values: Any) -> None:
    connection.execute(
        update(webhook_deliveries)
        .where(
            webhook_deliveries.c.id == delivery_id,
            webhook_deliveries.c.status == "pending",
        )
        .values(values)
    )


def _fail_pending(connection: Connection, webhook_id: UUID) -> None:
    connection.execute(
        update(webhook_deliveries)
        .where(
            webhook_deliveries.c.webhook_id == webhook_id,
            webhook_deliveries.c.status == "pending",
        )
        .values(status="failed", error_message=_WEBHOOK_DISABLED, finished_at=func.now())
    )
