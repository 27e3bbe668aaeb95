"""Task that delivers webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinpoint import logs, tasks
from pinpoint.webhook_delivery import deliver_webhooks
from pinpoint_workers.retries import retryable_task
from pinpoint_workers.runtime import open_services

_log = logs.get_logger(__name__)


@retryable_task
def deliver(ids: list[UUID]) -> None:
    """Send deliveries; without ids all that are due."""
    worker = open_services()
    num_attempts = deliver_webhooks(
        ids,
        worker.webhooks.outbox,
        worker.webhooks.guard,
        worker.settings.webhook.max_attempts,
    )
    if num_attempts:
        _log.info("webhooks sent", attempts=num_attempts)


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {tasks.DELIVER_WEBHOOKS: deliver}
