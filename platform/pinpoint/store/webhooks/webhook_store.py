"""Webhooks of an organization, and the list of their deliveries."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, tuple_, update

from pinpoint.errors import ConflictError, NotFoundError
from pinpoint.records.webhooks import (
    Webhook,
    WebhookDelivery,
    WebhookEventType,
    WebhookUpdate,
)
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.webhook_tables import webhook_deliveries, webhooks
from pinpoint.store.webhooks.secret_cipher import SecretCipher
from pinpoint.store.webhooks.webhook_events import insert_deliveries

MAX_WEBHOOKS: Final = 20
"""Maximum number of webhooks of an organization."""
_SECRET_BYTES: Final = 24
"""Random bytes of a secret; Standard Webhooks asks for 24 to 64."""


class WebhookStore:
    """Webhooks; each call is one transaction in one organization.

    Args:
        transactions: Units of work of the API or the owner.
        cipher: Encrypts secrets.
        overlap_days: Days that the previous secret signs too after a rotation.
    """

    def __init__(
        self, transactions: Transactions, cipher: SecretCipher, overlap_days: float
    ) -> None:
        self._transactions, self._cipher = transactions, cipher
        self._overlap = timedelta(days=overlap_days)

    def add_webhook(
        self, organization_id: UUID, url: str, event_types: Sequence[WebhookEventType]
    ) -> tuple[Webhook, str]:
        """Create a webhook; returns it with its secret, which is never shown again.

        Raises:
            ConflictError: The organization has `MAX_WEBHOOKS`.
        """
        secret, webhook_id = _make_secret(), uuid4()
        encrypted = self._cipher.encrypt(secret)
        with self._transactions.begin(organization_id) as unit:
            count = unit.connection.execute(
                select(func.count()).where(webhooks.c.organization_id == organization_id)
            ).scalar_one()
            if count >= MAX_WEBHOOKS:
                raise ConflictError(f"an organization has at most {MAX_WEBHOOKS} webhooks")
            unit.connection.execute(
                insert(webhooks).values(
                    id=webhook_id,
                    organization_id=organization_id,
                    url=url,
                    event_types=list(event_types),
                    secret=encrypted,
                )
            )
            return _select_webhook(unit.connection, organization_id, webhook_id), secret

    def webhook(self, organization_id: UUID, webhook_id: UUID) -> Webhook:
        """Find a webhook.

        Raises:
            NotFoundError: The organization has no such webhook.
        """
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return _select_webhook(unit.connection, organization_id, webhook_id)

    def webhooks(self, organization_id: UUID) -> list[Webhook]:
        """All webhooks, oldest first."""
        statement = (
            select(webhooks)
            .where(webhooks.c.organization_id == organization_id)
            .order_by(webhooks.c.created_at, webhooks.c.id)
        )
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return [_to_webhook(row) for row in unit.connection.execute(statement)]

    def update_webhook(
        self, organization_id: UUID, webhook_id: UUID, changes: WebhookUpdate
    ) -> Webhook:
        """Change a webhook.

        Raises:
            NotFoundError: The organization has no such webhook.
        """
        values: dict[str, Any] = {}
        if changes.url is not None:
            values["url"] = changes.url
        if changes.event_types is not None:
            values["event_types"] = list(changes.event_types)
        if changes.enabled is not None:
            values["disabled_at"] = (
                None if changes.enabled else func.coalesce(webhooks.c.disabled_at, func.now())
            )
            values["failing_since"] = None
        with self._transactions.begin(organization_id) as unit:
            if values:
                unit.connection.execute(
                    update(webhooks).where(_is_webhook(organization_id, webhook_id)).values(values)
                )
            return _select_webhook(unit.connection, organization_id, webhook_id)

    def delete_webhook(self, organization_id: UUID, webhook_id: UUID) -> None:
        """Delete a webhook with its deliveries.

        Raises:
            NotFoundError: The organization has no such webhook.
        """
        with self._transactions.begin(organization_id) as unit:
            deleted = unit.connection.execute(
                delete(webhooks).where(_is_webhook(organization_id, webhook_id))
            )
            if not deleted.rowcount:
                raise _missing_webhook(webhook_id)

    def rotate_secret(self, organization_id: UUID, webhook_id: UUID) -> tuple[Webhook, str]:
        """Create a new secret; the previous one signs too for the overlap.

        Raises:
            NotFoundError: The organization has no such webhook.
        """
        secret = _make_secret()
        encrypted = self._cipher.encrypt(secret)
        with self._transactions.begin(organization_id) as unit:
            unit.connection.execute(
                update(webhooks)
                .where(_is_webhook(organization_id, webhook_id))
                .values(
                    secret=encrypted,
                    previous_secret=webhooks.c.secret,
                    previous_secret_expires_at=func.now() + self._overlap,
                )
            )
            return _select_webhook(unit.connection, organization_id, webhook_id), secret

    def send_test(self, organization_id: UUID, webhook_id: UUID) -> WebhookDelivery:
        """Send the event `webhook.test` to one webhook, whatever its event types.

        Raises:
            NotFoundError: The organization has no such webhook.
            ConflictError: The webhook is disabled.
        """
        with self._transactions.begin(organization_id) as unit:
            webhook = _select_webhook(unit.connection, organization_id, webhook_id)
            if webhook.disabled_at is not None:
                raise ConflictError("the webhook is disabled; enable it first")
            data = {"webhook_id": str(webhook_id)}
            (delivery_id,) = insert_deliveries(
                unit, organization_id, [webhook_id], "webhook.test", data
            )
            row = unit.connection.execute(
                select(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id)
            ).one()
            return _to_delivery(row)

    def deliveries(
        self,
        organization_id: UUID,
        webhook_id: UUID,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[WebhookDelivery]:
        """Deliveries of a webhook, newest first; `before` is time and id of the last one of a page.

        Raises:
            NotFoundError: The organization has no such webhook.
        """
        statement = (
            select(webhook_deliveries)
            .where(
                webhook_deliveries.c.organization_id == organization_id,
                webhook_deliveries.c.webhook_id == webhook_id,
            )
            .order_by(webhook_deliveries.c.created_at.desc(), webhook_deliveries.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            position = tuple_(webhook_deliveries.c.created_at, webhook_deliveries.c.id)
            statement = statement.where(position < tuple_(*before))
        with self._transactions.begin(organization_id, read_only=True) as unit:
            _select_webhook(unit.connection, organization_id, webhook_id)
            return [_to_delivery(row) for row in unit.connection.execute(statement)]


def _make_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def _is_webhook(organization_id: UUID, webhook_id: UUID) -> Any:
    return and_(webhooks.c.organization_id == organization_id, webhooks.c.id == webhook_id)


def _missing_webhook(webhook_id: UUID) -> NotFoundError:
    return NotFoundError(f"no webhook {webhook_id}")


def _select_webhook(connection: Connection, organization_id: UUID, webhook_id: UUID) -> Webhook:
    row = connection.execute(
        select(webhooks).where(_is_webhook(organization_id, webhook_id))
    ).one_or_none()
    if row is None:
        raise _missing_webhook(webhook_id)
    return _to_webhook(row)


def _to_webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        event_types=tuple(row.event_types),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        failing_since=row.failing_since,
        previous_secret_expires_at=row.previous_secret_expires_at,
    )


def _to_delivery(row: Row[Any]) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        status=row.status,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at if row.status == "pending" else None,
        response_status=row.response_status,
        error_message=row.error_message,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
