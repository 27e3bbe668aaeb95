"""Counters over sliding windows in Redis, shared by all processes, with a bounded wait.

The library `limits` counts: a script in Redis tests and adds in one step, by the clock of Redis, so
that neither concurrent processes nor differing clocks count wrongly. A counter is two numbers: that
of the current window, and that of the previous one, which counts in proportion to the part of it
that the sliding window still covers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import redis
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.storage.base import SlidingWindowCounterSupport, Storage
from redis.backoff import NoBackoff
from redis.retry import Retry

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import UnavailableError
from pinpoint.settings import Settings

COUNTER_TIMEOUT_S: Final = 0.2
"""Longest wait for Redis, seconds."""
IN_PROCESS_URL: Final = "memory://"
_PREFIX: Final = "pinpoint_limits"
_FAILED: Final = "limits_unavailable"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterWindow:
    """Counter of one limit: its length, and the counts of the current and the previous window."""

    length_s: int
    previous: int
    previous_left_s: float
    """Part of the previous window that the sliding window still covers, seconds."""
    current: int
    current_left_s: float
    """Seconds until the current window ends; 0 if there is none."""

    @property
    def used(self) -> int:
        """Units that count now."""
        return int(self.previous * self.previous_left_s / self.length_s) + self.current

    def compute_wait_s(self, limit: int, cost: int) -> float:
        """Seconds until `cost` units fit into the limit, if nothing else is counted until then."""
        if cost > limit:
            return float(self.length_s)
        if self.used + cost <= limit:
            return 0.0
        free = limit - cost - self.current
        if free >= 0:
            return self.previous_left_s - (free + 1) * self.length_s / self.previous
        # Only after the current window has become the previous one.
        covered_s = min(float(self.length_s), (limit - cost + 1) * self.length_s / self.current)
        return self.current_left_s + self.length_s - covered_s


def open_counters(settings: Settings, embedded_url: str) -> LimitCounters:
    """Open the counters of an installation.

    Args:
        settings: Settings with the URL of Redis, if there is one.
        embedded_url: Broker URL of the embedded stack.
    """
    url = settings.limits.redis_url or settings.services.broker_url or embedded_url
    # RabbitMQ as broker and no Redis: each process counts for itself.
    return LimitCounters(url if url.startswith("redis") else IN_PROCESS_URL)


class LimitCounters:
    """Counters of this installation.

    Args:
        url: URL of Redis, as of Celery's broker, or `IN_PROCESS_URL`.
    """

    def __init__(self, url: str) -> None:
        options = {} if url == IN_PROCESS_URL else _redis_options()
        self._storage: Storage = cast(
            Storage,
            storage_from_string(_to_storage_url(url), wrap_exceptions=True, **options),  # type: ignore[arg-type]
        )
        self._windows = cast(SlidingWindowCounterSupport, self._storage)
        self._breaker = CircuitBreaker(_make_refusal, _is_failure)
        self._failures = itertools.count(1)
        self.num_failures = 0
        """Number of calls that failed because Redis did not answer."""

    def take(self, name: str, *, limit: int, window_s: int, cost: int = 1) -> bool:
        """Count `cost` units, unless more than `limit` would then be in the window.

        Returns:
            Whether they were counted; otherwise nothing was.

        Raises:
            UnavailableError: Redis does not answer.
        """
        return self._call_storage(
            lambda: self._windows.acquire_sliding_window_entry(name, limit, window_s, cost)
        )

    def read(self, name: str, *, window_s: int) -> CounterWindow:
        """Read a counter.

        Raises:
            UnavailableError: Redis does not answer.
        """
        previous, previous_left_s, current, current_left_s = self._call_storage(
            lambda: self._windows.get_sliding_window(name, window_s)
        )
        return CounterWindow(
            length_s=window_s,
            previous=previous,
            previous_left_s=min(previous_left_s, window_s),
            current=current,
            # The library keeps a count for two windows.
            current_left_s=max(0.0, current_left_s - window_s),
        )

    def _call_storage(self, call: Callable[[], T]) -> T:
        try:
            with self._breaker.attempt():
                return call()
        except (StorageError, UnavailableError) as error:
            self.num_failures = next(self._failures)
            raise UnavailableError(
                "the counters of limits do not answer", reason=_FAILED
            ) from error


def _redis_options() -> dict[str, object]:
    # A stale connection is replaced once. A Redis that hangs is not asked again.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return {
        "key_prefix": _PREFIX,
        "socket_timeout": COUNTER_TIMEOUT_S,
        "socket_connect_timeout": COUNTER_TIMEOUT_S,
        "retry": retry,
    }


def _to_storage_url(url: str) -> str:
    """Convert the URL of a socket from Celery's form."""
    if url.startswith("redis+socket://"):
        return url.replace("redis+socket://", "redis+unix://", 1).replace("virtual_host=", "db=")
    return url


def _make_refusal() -> UnavailableError:
    return UnavailableError("the counters of limits did not answer the last calls", reason=_FAILED)


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, StorageError)
