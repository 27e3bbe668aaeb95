"""Dead letters: tasks that RabbitMQ has delivered too often or that a worker could not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError
from kombu.message import Message

from pinpoint import logs
from pinpoint.errors import BrokerUnavailableError
from pinpoint.stack.broker.celery_config import make_celery_config, make_dead_letter_queue

_CONNECT_TIMEOUT_S: Final = 3.0

_log = logs.get_logger(__name__)

HandleTask = Callable[[str, Sequence[UUID]], None]


def process_dead_letters(broker_url: str, handle: HandleTask, max_letters: int = 1_000) -> int:
    """Handle each dead letter and remove it afterwards; an error leaves it in the queue.

    Args:
        broker_url: A RabbitMQ; Redis has no dead letters.
        handle: Gets the name of the task and its ids; both come from the broker unchecked.
        max_letters: Maximum number that is handled.

    Returns:
        Number of letters. One that cannot be read has no rows; it is logged and removed. Expired
        tasks are removed and not counted: they are periodic, and the next one does their work.

    Raises:
        BrokerUnavailableError: RabbitMQ does not answer.
    """
    options = make_celery_config(broker_url)["broker_transport_options"]
    num_letters = 0
    with Connection(
        broker_url, connect_timeout=_CONNECT_TIMEOUT_S, transport_options=options
    ) as connection:
        try:
            queue = make_dead_letter_queue()(connection.default_channel)
            queue.declare()
            for _ in range(max_letters):
                if (message := queue.get(no_ack=False)) is None:
                    break
                num_letters += _handle_letter(message, handle)
                message.ack()
        except (OperationalError, OSError, *connection.connection_errors) as error:
            raise BrokerUnavailableError("RabbitMQ does not answer") from error
    return num_letters


def _handle_letter(message: Message, handle: HandleTask) -> bool:
    """Handle one letter; returns whether it counts."""
    headers: dict[str, Any] = message.headers or {}
    name = str(headers.get("task"))
    deaths = headers.get("x-death") or [{}]
    reason = str(deaths[0].get("reason"))
    if reason == "expired":
        return False
    try:
        ids = [UUID(row_id) for row_id in message.payload[0][0]]
    except (KombuError, LookupError, TypeError, ValueError, AttributeError) as error:
        _log.error("dead letter is not a task", task=name, reason=reason, error=str(error)[:200])
        return True
    _log.warning("dead letter", task=name, reason=reason, ids=len(ids))
    handle(name, ids)
    return True
