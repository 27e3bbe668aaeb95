"""Delivers webhooks after Standard Webhooks (https://www.standardwebhooks.com, 1.0.0).

A receiver gets `webhook-id`, `webhook-timestamp` and `webhook-signature`. It answers with a status
from 200 to 299 within the time limit; redirects count as failures. Deliveries of one webhook are
sent one after the other, those of different webhooks concurrently: a slow receiver delays only its
own organization. After a failure the other deliveries of that webhook wait for the next run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import RemoteFileError
from pinpoint.outgoing.guard import Guard
from pinpoint.ports.webhooks import WebhookQueue
from pinpoint.records.webhooks import ClaimedDelivery, DeliveryAttempt, RetryPlan

MAX_DELIVERIES: Final = 128
"""Maximum number of deliveries of one run."""
_THREADS: Final = 16
_FIRST_DELAY_S: Final = 5.0
_DELAY_FACTOR: Final = 4.0
_MAX_DELAY_S: Final = 86_400.0
_JITTER: Final = 0.2
"""Relative; receivers that were down together are not called together."""
_GONE: Final = 410

_log = logs.get_logger(__name__)


def deliver_webhooks(
    ids: Sequence[UUID], queue: WebhookQueue, guard: Guard, max_attempts: int
) -> int:
    """Send due deliveries; returns the number of attempts.

    Args:
        ids: Deliveries; empty for all that are due.
        queue: The outbox.
        guard: Sends the requests.
        max_attempts: Maximum number of attempts of one delivery.
    """
    claimed = sorted(queue.claim(ids, MAX_DELIVERIES), key=lambda delivery: delivery.webhook_id)
    by_webhook = [
        list(group) for _, group in groupby(claimed, key=lambda delivery: delivery.webhook_id)
    ]
    if not by_webhook:
        return 0
    with ThreadPoolExecutor(min(_THREADS, len(by_webhook))) as pool:
        counts = pool.map(
            lambda deliveries: _deliver_in_order(deliveries, queue, guard, max_attempts), by_webhook
        )
        return sum(counts)


def plan_retry(
    attempts: int, response_status: int | None, max_attempts: int, random_unit: float
) -> RetryPlan:
    """Plan what follows a failed attempt: 5 s, 20 s, 80 s, … up to a day, with jitter.

    Args:
        attempts: Attempts so far.
        response_status: Status of the answer; 410 asks for no further events.
        max_attempts: Maximum number of attempts.
        random_unit: Random number in [0, 1).
    """
    if attempts >= max_attempts or response_status == _GONE:
        return RetryPlan(delay_s=None, disables_webhook=response_status == _GONE)
    delay_s = min(_FIRST_DELAY_S * _DELAY_FACTOR ** (attempts - 1), _MAX_DELAY_S)
    jitter = 1.0 + _JITTER * (2.0 * random_unit - 1.0)
    return RetryPlan(delay_s=delay_s * jitter, disables_webhook=False)


def _deliver_in_order(
    deliveries: Sequence[ClaimedDelivery], queue: WebhookQueue, guard: Guard, max_attempts: int
) -> int:
    for number, delivery in enumerate(deliveries, start=1):
        attempt = _send_delivery(delivery, guard)
        if attempt.error_message is None:
            queue.record_success(delivery, attempt)
            continue
        plan = plan_retry(delivery.attempts, attempt.response_status, max_attempts, random.random())
        queue.record_failure(delivery, attempt, plan)
        _log.info(
            "webhook not delivered",
            webhook=str(delivery.webhook_id),
            delivery=str(delivery.id),
            status=attempt.response_status,
            detail=attempt.error_message,
        )
        remaining = [later.id for later in deliveries[number:]]
        if remaining:
            queue.release(remaining, plan.delay_s or _FIRST_DELAY_S)
        return number
    return len(deliveries)


def _send_delivery(delivery: ClaimedDelivery, guard: Guard) -> DeliveryAttempt:
    if not delivery.secrets:
        return DeliveryAttempt(
            response_status=None, error_message="its secret cannot be decrypted; rotate it"
        )
    try:
        response = guard.send(
            "POST",
            delivery.url,
            headers=_sign_delivery(delivery, datetime.now(UTC)),
            body=delivery.body.encode(),
            max_bytes=0,
        )
    except RemoteFileError as error:
        return DeliveryAttempt(response_status=None, error_message=error.message)
    if 200 <= response.status < 300:
        return DeliveryAttempt(response_status=response.status, error_message=None)
    return DeliveryAttempt(
        response_status=response.status,
        error_message=f"the receiver answered with status {response.status}",
    )


def _sign_delivery(delivery: ClaimedDelivery, now: datetime) -> dict[str, str]:
    """Headers of Standard Webhooks, with one signature for each secret."""
    # Imported here: only a worker that has something to deliver needs it.
    from standardwebhooks import Webhook

    message_id = f"msg_{delivery.event_id.hex}"
    signatures = [
        Webhook(secret).sign(message_id, now, delivery.body) for secret in delivery.secrets
    ]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
