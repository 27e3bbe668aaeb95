"""Celery configuration for the two brokers: Redis (embedded) and RabbitMQ.

On RabbitMQ all queues are quorum queues, which survive the loss of a broker node. The settings are
those that RabbitMQ 4 requires: no global QoS (kombu #2469), no transient queue that is not
exclusive (kombu #2237), no task with a countdown. Debian's RabbitMQ 3.10 is the version they are
tested with.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from kombu.entity import Exchange, Queue

from pinpoint.tasks import INGEST_QUEUE, QUEUE_OF, QUEUES

VISIBILITY_TIMEOUT_S: Final = 3_600
"""Seconds after which Redis delivers an unacknowledged task again.

Lost work is recovered by its lease (5 minutes), not by this timeout. The timeout only has to be
long enough that a slow chunk is rarely delivered twice. A second worker claims no leased item.
"""

DELIVERY_LIMIT: Final = 20
"""Deliveries after which RabbitMQ moves a task to `dead-letters`; the default of version 4.

More than the attempts that an item has (`PINPOINT_WORKER_MAX_ATTEMPTS`), so that the database
decides first: it repeats lost items one by one and fails those that stop workers.
"""

DEAD_LETTER_QUEUE: Final = "dead-letters"
"""Queue of tasks that no worker finished. Only RabbitMQ has one."""

_EXCHANGE: Final = Exchange("pinpoint", type="direct", durable=True)
_DEAD_LETTER_EXCHANGE: Final = Exchange("pinpoint.dead-letters", type="fanout", durable=True)
_QUORUM: Final = {"x-queue-type": "quorum"}


def is_rabbitmq(broker_url: str) -> bool:
    """Whether a broker URL names RabbitMQ (`amqp://`, `amqps://`, `pyamqp://`)."""
    return urlsplit(broker_url).scheme in ("amqp", "amqps", "pyamqp")


def make_celery_config(broker_url: str) -> dict[str, Any]:
    """Celery configuration that senders and workers share.

    Args:
        broker_url: `redis://`, `redis+socket://`, `amqp://` or `amqps://`. Several URLs of one
            RabbitMQ cluster are separated by semicolons.
    """
    on_rabbitmq = is_rabbitmq(broker_url)
    return {
        "broker_url": broker_url,
        "task_default_queue": INGEST_QUEUE,
        "task_queues": make_queues(on_rabbitmq=on_rabbitmq),
        "task_routes": {name: {"queue": queue} for name, queue in QUEUE_OF.items()},
        "task_serializer": "json",
        "accept_content": ["json"],
        # PostgreSQL holds the state; a result backend would be a second source of truth.
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
        # A worker of one process sends no heartbeat during a chunk, and RabbitMQ would deliver the
        # task to a second worker. A dead worker is noticed by TCP keepalive (150 s).
        "broker_heartbeat": 0,
        # Celery 5.6 and older reduced the prefetch for ever after a reconnect (#9512).
        "worker_enable_prefetch_count_reduction": False,
        "broker_transport_options": _make_transport_options(on_rabbitmq=on_rabbitmq),
        "enable_utc": True,
    }


def make_queues(*, on_rabbitmq: bool) -> tuple[Queue, ...]:
    """All queues of tasks; on RabbitMQ with dead letters."""
    arguments = {
        **_QUORUM,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": _DEAD_LETTER_EXCHANGE.name,
        # With `reject-publish` no dead letter is lost while the target does not confirm it.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return tuple(
        Queue(name, _EXCHANGE, routing_key=name, queue_arguments=arguments if on_rabbitmq else None)
        for name in QUEUES
    )


def make_dead_letter_queue() -> Queue:
    """The queue of dead letters, a quorum queue without a limit."""
    return Queue(DEAD_LETTER_QUEUE, _DEAD_LETTER_EXCHANGE, queue_arguments=dict(_QUORUM))


def _make_transport_options(*, on_rabbitmq: bool) -> dict[str, Any]:
    if on_rabbitmq:
        return {"confirm_publish": True, "connect_timeout": 3, "read_timeout": 5}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
    }
