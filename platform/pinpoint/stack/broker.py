"""Sends jobs to workers by name; the workers' package is never imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from pinpoint import logs
from pinpoint.errors import BrokerUnavailable
from pinpoint.jobs import QUEUE_OF, JobName

QUEUE: Final = "celery"
REQUEST: Final = "request_id"
"""Header of a job, and name in log lines."""

VISIBILITY_S: Final = 3_600
"""How long Redis keeps a job that was taken and not acknowledged before it gives it to another.

Lost work is found by its lease (5 minutes), not by this, which only has to be long enough that a
slow chunk is seldom handed out again; whoever gets it then claims nothing that is under a lease.
"""

_SEND_RETRIES: Final = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.3}


def celery_config(broker_url: str) -> dict[str, Any]:
    """How senders and workers both speak to the broker."""
    return {
        "broker_url": broker_url,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        # State lives in PostgreSQL; a result backend would be a second truth.
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "confirm_publish": True,
        },
        "enable_utc": True,
    }


class CeleryQueue:
    """`ports.JobQueue` over Celery.

    Args:
        broker_url: `redis://`, `redis+socket://` or `amqp://`.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("pinpoint")
        self._app.conf.update(celery_config(broker_url))

    def send(self, name: JobName, ids: Sequence[UUID] = ()) -> None:
        """Send one job.

        Raises:
            BrokerUnavailable: The broker did not take it within a few seconds.
        """
        try:
            self._app.send_task(
                name,
                args=[[str(one) for one in ids]],
                headers=_origin(),
                queue=QUEUE_OF.get(name, QUEUE),
                retry=True,
                retry_policy=_SEND_RETRIES,
            )
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"the broker does not take jobs: {error}") from error

    def check(self) -> None:
        """Raise `BrokerUnavailable` unless the broker answers."""
        self.waiting()

    def waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        try:
            with self._app.connection_for_read(connect_timeout=3) as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
                return _length(connection.default_channel)
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()


def _origin() -> dict[str, str]:
    """Which request asked for the job, for the worker's log lines."""
    asked = logs.here().get(REQUEST)
    return {REQUEST: str(asked)} if asked else {}


def _length(channel: Any) -> int:
    try:
        return int(channel.queue_declare(queue=QUEUE, passive=True).message_count)
    except channel.connection.client.channel_errors:
        # No queue yet: nobody has ever sent a job or listened for one.
        return 0
