"""Sends tasks to workers by name, without importing the workers' package."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final
from uuid import UUID

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from pinpoint import deadline, logs
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import BrokerUnavailableError
from pinpoint.stack.broker.celery_config import is_rabbitmq, make_celery_config
from pinpoint.tasks import GALLERY_QUEUES, TaskName

REQUEST_ID_KEY: Final = "request_id"
"""Header of a task with the id of the request that sent it; also its name in log lines."""

_CHECK_TIMEOUT_S: Final = 1.5
"""Timeout of one step of a check, seconds."""
_NUM_SENDERS: Final = 4
_MAX_PENDING_SENDS: Final = 64
_SEND_RETRIES: Final = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.3}


class CeleryQueue:
    """`ports.TaskQueue` over Celery.

    Args:
        broker_url: `redis://`, `redis+socket://` or `amqp://`.
    """

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("pinpoint")
        self._app.conf.update(make_celery_config(broker_url))
        self._connection_lock = threading.Lock()
        self._connection: Connection | None = None

    def send(self, name: TaskName, ids: Sequence[UUID] = ()) -> None:
        """Send one task.

        Raises:
            BrokerUnavailableError: The broker did not accept it within a few seconds.
        """
        try:
            self._app.send_task(
                name,
                args=[[str(row_id) for row_id in ids]],
                headers=_make_headers(),
                retry=True,
                retry_policy=_SEND_RETRIES,
            )
        except (OperationalError, OSError) as error:
            raise BrokerUnavailableError("the broker does not accept tasks") from error

    def check(self) -> None:
        """Raise `BrokerUnavailableError` unless the broker answers."""
        self.waiting()

    def waiting(self, queues: Sequence[str] = GALLERY_QUEUES) -> int:
        """Number of tasks of all these queues that no worker has received yet.

        The number is read over one reused connection.
        """
        with self._connection_lock:
            for is_retry in (False, True):
                try:
                    if self._connection is None:
                        self._connection = self._open_connection()
                    connection = self._connection
                    return sum(_read_queue_length(connection, queue) for queue in queues)
                except self._transport_errors as error:
                    self._close_connection()
                    # A reused connection may be stale. A broker that hangs is not queried twice.
                    if (
                        is_retry
                        or deadline.limit_timeout_s(2 * _CHECK_TIMEOUT_S) < _CHECK_TIMEOUT_S
                    ):
                        raise BrokerUnavailableError("the broker does not answer") from error
        raise BrokerUnavailableError("the broker does not answer")

    @cached_property
    def _transport_errors(self) -> tuple[type[BaseException], ...]:
        """Exceptions that the transport raises if its server is unreachable."""
        return (OperationalError, OSError, *self._app.connection().connection_errors)

    def _open_connection(self) -> Connection:
        limits = {"socket_timeout": _CHECK_TIMEOUT_S, "socket_connect_timeout": _CHECK_TIMEOUT_S}
        connection: Connection = self._app.connection_for_read(
            connect_timeout=_CHECK_TIMEOUT_S, transport_options=limits
        )
        connection.ensure_connection(max_retries=1, timeout=_CHECK_TIMEOUT_S)
        if is_rabbitmq(connection.as_uri()):
            # Asking for a queue that does not exist would close the channel.
            for queue in self._app.amqp.queues.values():
                queue(connection.default_channel).declare()
        return connection

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.collect()
            self._connection = None

    def close(self) -> None:
        """Close the connections."""
        self._close_connection()
        self._app.close()


class BoundedSender:
    """`ports.TaskQueue` with a bounded wait, also if the broker hangs.

    Separate threads send the tasks, because the client library's timeouts and retries add up to a
    minute. A late task may still arrive; otherwise the recovery task sends it again.

    Args:
        queue: Sends the tasks.
        breaker: Circuit breaker of the broker.
        wait_s: Longest wait of a request until a task is accepted, seconds.
    """

    def __init__(self, queue: CeleryQueue, breaker: CircuitBreaker, wait_s: float = 2.0) -> None:
        self._queue, self._breaker, self._wait_s = queue, breaker, wait_s
        self._senders = ThreadPoolExecutor(_NUM_SENDERS, thread_name_prefix="send")
        self._pending_sends = threading.BoundedSemaphore(_MAX_PENDING_SENDS)

    def send(self, name: TaskName, ids: Sequence[UUID] = ()) -> None:
        """Send one task.

        Raises:
            BrokerUnavailableError: The broker did not accept it in time.
        """
        with self._breaker.attempt():
            if not self._pending_sends.acquire(blocking=False):
                raise BrokerUnavailableError("the broker accepts tasks too slowly")
            context = contextvars.copy_context()
            sent = self._senders.submit(context.run, self._queue.send, name, ids)
            sent.add_done_callback(lambda _: self._pending_sends.release())
            now = deadline.current_deadline()
            # The rows are committed, so an exhausted time budget must not fail the request here.
            wait_s = self._wait_s if now is None else min(self._wait_s, max(now.remaining_s(), 0.1))
            try:
                sent.result(timeout=wait_s)
            except TimeoutError as error:
                raise BrokerUnavailableError(
                    "the broker did not accept the task in time"
                ) from error

    def check(self) -> None:
        """Raise `BrokerUnavailableError` unless the broker answers."""
        self._queue.check()

    def waiting(self, queues: Sequence[str] = GALLERY_QUEUES) -> int:
        """Number of tasks of all these queues that no worker has received yet."""
        return self._queue.waiting(queues)

    def close(self) -> None:
        """Close the connections; the recovery task sends the tasks that were not sent."""
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._queue.close()


def refuse_broker() -> BrokerUnavailableError:
    """Error for a task that the broker's circuit breaker rejects."""
    return BrokerUnavailableError("the broker did not accept the last tasks")


def is_broker_failure(error: BaseException) -> bool:
    """Whether an error means that the broker did not answer."""
    return isinstance(error, BrokerUnavailableError)


def _make_headers() -> dict[str, str]:
    """Headers with the id of the current request, for the worker's log lines."""
    request_id = logs.current_context().get(REQUEST_ID_KEY)
    return {REQUEST_ID_KEY: str(request_id)} if request_id else {}


def _read_queue_length(connection: Connection, queue: str) -> int:
    channel = connection.default_channel
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors:
        # There is no queue until the first task or consumer.
        return 0
