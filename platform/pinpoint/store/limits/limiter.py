"""Limits of API keys: those in force, counting, and what is left.

If Redis does not answer, requests are served without limits, and `num_failures` counts that: limits
protect the installation from its own keys, and an outage of Redis must not end all queries.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import QuotaExceededError, UnavailableError
from pinpoint.limit_settings import LimitSettings
from pinpoint.records.key_limits import WINDOWS_S, CountedPolicy, KeyLimits, LimitUsage
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.limits.counters import CounterWindow, LimitCounters

CACHE_S: Final = 5.0
"""Time until every process applies limits that another process has set, seconds."""
_MAX_CACHED: Final = 10_000
JOB_RETRY_AFTER_S: Final = 30.0
"""When a caller with too many open jobs may try again; the end of a job is not known."""
_UNITS: Final[dict[CountedPolicy, str]] = {
    "requests": "requests per minute",
    "photos": "query photos in 24 hours",
    "bytes": "bytes of request bodies in 24 hours",
}

_log = logs.get_logger(__name__)


class KeyLimiter:
    """Applies the limits of API keys. Thread-safe.

    Args:
        counters: Counters that all processes share.
        store: Limits of single keys.
        settings: Limits of all other keys.
    """

    def __init__(
        self, counters: LimitCounters, store: KeyLimitStore, settings: LimitSettings
    ) -> None:
        self._counters, self._store, self._settings = counters, store, settings
        self._lock = threading.Lock()
        self._cached: dict[UUID, tuple[float, KeyLimits]] = {}

    @property
    def num_failures(self) -> int:
        """Number of calls that failed because Redis did not answer."""
        return self._counters.num_failures

    def find_limits(self, key_id: UUID) -> KeyLimits:
        """Limits in force for a key; a change by another process is seen after `CACHE_S`.

        Raises:
            NotFoundError: No such key exists.
        """
        now = time.monotonic()
        read_at, limits = self._cached.get(key_id, (-math.inf, KeyLimits()))
        if now - read_at < CACHE_S:
            return limits
        limits = self._apply_defaults(self._store.read(key_id))
        with self._lock:
            if len(self._cached) >= _MAX_CACHED:
                self._cached.clear()
            self._cached[key_id] = (now, limits)
        return limits

    def read_overrides(self, key_id: UUID) -> KeyLimits:
        """Limits that were set for a key; None where those of the settings apply.

        Raises:
            NotFoundError: No such key exists.
        """
        return self._store.read(key_id)

    def set_overrides(self, key_id: UUID, limits: KeyLimits) -> None:
        """Replace the limits of a key; `KeyLimits()` gives it those of the settings.

        Raises:
            NotFoundError: No such key exists, or it is revoked.
        """
        self._store.write(key_id, limits)
        with self._lock:
            self._cached.pop(key_id, None)

    def take(self, key_id: UUID, policy: CountedPolicy, cost: int = 1) -> LimitUsage | None:
        """Count `cost` units of a policy.

        Returns:
            What is left; None without a limit, or if Redis does not answer.

        Raises:
            QuotaExceededError: They exceed the limit; nothing was counted.
        """
        quota = self.find_limits(key_id).get_quota(policy)
        if not quota:
            return None
        name, window_s = _name_counter(key_id, policy), WINDOWS_S[policy]
        try:
            is_counted = cost == 0 or self._counters.take(
                name, limit=quota, window_s=window_s, cost=cost
            )
            window = self._counters.read(name, window_s=window_s)
        except UnavailableError as error:
            _log_failure(error)
            return None
        usage = _describe_usage(policy, quota, window)
        if not is_counted:
            raise _make_exceeded(usage, window.compute_wait_s(quota, cost), cost)
        return usage

    def require_remaining(self, key_id: UUID, policy: CountedPolicy) -> LimitUsage | None:
        """As `take`, without counting: raises if nothing is left."""
        quota = self.find_limits(key_id).get_quota(policy)
        usage = self.read_usage(key_id, policy)
        if usage is not None and usage.remaining == 0:
            raise _make_exceeded(usage, usage.reset_s, min(1, quota))
        return usage

    def read_usage(self, key_id: UUID, policy: CountedPolicy) -> LimitUsage | None:
        """What is left of a policy; None without a limit, or if Redis does not answer."""
        quota = self.find_limits(key_id).get_quota(policy)
        if not quota:
            return None
        try:
            window = self._counters.read(_name_counter(key_id, policy), window_s=WINDOWS_S[policy])
        except UnavailableError as error:
            _log_failure(error)
            return None
        return _describe_usage(policy, quota, window)

    def require_free_job(self, key_id: UUID | None, num_open_jobs: int) -> None:
        """Raise if a key may not open another job; call it in the transaction that creates the job.

        Args:
            key_id: The key; None for the operator, who has no limit.
            num_open_jobs: Jobs of this key without a final state.

        Raises:
            QuotaExceededError: It has as many open jobs as it may have.
        """
        quota = 0 if key_id is None else self.find_limits(key_id).get_quota("jobs")
        if quota and num_open_jobs >= quota:
            raise QuotaExceededError(
                f"this key has {num_open_jobs} open jobs and may have {quota}; wait until a job "
                "has ended, or cancel one",
                policies=("jobs",),
                retry_after_s=JOB_RETRY_AFTER_S,
            )

    def _apply_defaults(self, limits: KeyLimits) -> KeyLimits:
        settings = self._settings
        return KeyLimits(
            requests_per_minute=_choose(limits.requests_per_minute, settings.requests_per_minute),
            photos_per_day=_choose(limits.photos_per_day, settings.photos_per_day),
            bytes_per_day=_choose(limits.bytes_per_day, settings.bytes_per_day),
            concurrent_jobs=_choose(limits.concurrent_jobs, settings.concurrent_jobs),
        )


def _log_failure(error: UnavailableError) -> None:
    _log.warning("limits not checked", detail=error.message, cause=repr(error.__cause__)[:200])


def _choose(override: int | None, default: int) -> int:
    return default if override is None else override


def _name_counter(key_id: UUID, policy: CountedPolicy) -> str:
    return f"{key_id}:{policy}"


def _describe_usage(policy: CountedPolicy, quota: int, window: CounterWindow) -> LimitUsage:
    remaining = max(0, quota - window.used)
    reset_s = window.current_left_s if remaining else window.compute_wait_s(quota, 1)
    return LimitUsage(
        policy=policy,
        quota=quota,
        remaining=remaining,
        window_s=window.length_s,
        # A counter without a current window is full again at once.
        reset_s=math.ceil(reset_s),
    )


def _make_exceeded(usage: LimitUsage, wait_s: float, cost: int) -> QuotaExceededError:
    left = f"{usage.remaining} are left" if usage.remaining else "none is left"
    request = f"; this request needs {cost}" if cost > 1 else ""
    return QuotaExceededError(
        f"this key may use {usage.quota} {_UNITS[usage.policy]}, and {left}{request}",
        policies=(usage.policy,),
        retry_after_s=max(1.0, wait_s),
    )
