"""Admission control: runs a request now, queues it, or rejects it with 503.

Each lane serves one kind of request and limits the running requests (slots) and the bytes of bodies
in memory. Waiting requests are served by fairness instead of arrival order: the key with the fewest
slots comes first. One key never holds all slots of a lane. If the queue is full, the key with the
most waiting requests loses one. All code here runs on the event loop and needs no locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from pinpoint.api_settings import ApiSettings
from pinpoint.errors import UnavailableError

LaneName = Literal["queries", "uploads", "rows", "operator"]

OVERLOADED: Final = "overloaded"
BUSY_RETRY_AFTER_S: Final = 2.0
MAX_CONCURRENT_BODIES: Final = 128
"""Maximum number of bodies that one lane receives at once; each may arrive slowly."""
_OPERATOR_SLOTS: Final = 2
_BYTE_SHARES: Final[dict[LaneName, float]] = {
    "queries": 0.3,
    "uploads": 0.6,
    "rows": 0.08,
    "operator": 0.02,
}
"""Fixed shares of the byte budget, so that slow uploads never block queries."""


def make_overloaded(cause: str) -> UnavailableError:
    """Create the error for a request that is rejected because of overload."""
    error = UnavailableError(
        f"too many requests at once: {cause}; try again shortly", reason=OVERLOADED
    )
    error.retry_after_s = BUSY_RETRY_AFTER_S
    return error


@dataclass(slots=True)
class _Waiter:
    granted: asyncio.Future[None]
    cost: int


@dataclass(slots=True)
class _KeyUsage:
    """Slots and waiting requests of one key in a queue."""

    slots: int = 0
    last_turn: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class FairQueue:
    """Slots and bytes that API keys share fairly.

    Args:
        slots: Maximum number of admitted requests.
        max_bytes: Maximum number of admitted bytes; a larger request is admitted only alone.
        max_waiting: Maximum number of waiting requests; 0 disables waiting.
    """

    def __init__(self, slots: int, max_bytes: int, max_waiting: int) -> None:
        self._slots, self._bytes = slots, max_bytes
        self._max_waiting = max_waiting
        # At least one slot stays free for other keys.
        self._max_per_key = max(1, slots - max(1, slots // 4))
        self._free_slots, self._free_bytes = slots, max_bytes
        self._usage_by_key: dict[str, _KeyUsage] = {}
        self._waiting, self._turn = 0, 0

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return self._waiting

    async def acquire(self, key: str, cost: int, wait_s: float) -> int:
        """Wait for a slot and `cost` free bytes.

        Args:
            key: Fairness key of the caller.
            cost: Bytes to reserve.
            wait_s: Maximum wait, seconds.

        Returns:
            The reserved bytes, to be passed to `release`.

        Raises:
            UnavailableError: Overloaded: no slot became free in time, or the queue is full.
        """
        cost = min(cost, self._bytes)
        usage = self._usage_by_key.setdefault(key, _KeyUsage())
        if not usage.waiting and self._can_admit(usage, cost):
            self._take_slot(usage, cost)
            return cost
        if self._waiting >= self._max_waiting and not self._evict_waiter(usage):
            self._remove_if_idle(key, usage)
            raise make_overloaded("the queue is full")
        waiter = _Waiter(asyncio.get_running_loop().create_future(), cost)
        usage.waiting.append(waiter)
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await waiter.granted
        except TimeoutError:
            if not _is_granted(waiter):
                raise make_overloaded("no slot became free in time") from None
        except asyncio.CancelledError:
            if _is_granted(waiter):
                self.release(key, cost)
            raise
        finally:
            if waiter in usage.waiting:
                usage.waiting.remove(waiter)
                self._waiting -= 1
            self._remove_if_idle(key, usage)
        return cost

    def grow(self, cost: int) -> bool:
        """Reserve `cost` more bytes without waiting; return whether they were free."""
        if cost > self._free_bytes:
            return False
        self._free_bytes -= cost
        return True

    def release(self, key: str, cost: int) -> None:
        """Release a slot and its bytes, then admit waiting requests."""
        usage = self._usage_by_key[key]
        usage.slots -= 1
        self._free_slots += 1
        self._free_bytes += cost
        self._remove_if_idle(key, usage)
        self._admit_waiting()

    def _can_admit(self, usage: _KeyUsage, cost: int) -> bool:
        is_idle = self._free_bytes == self._bytes
        return (
            self._free_slots > 0
            and usage.slots < self._max_per_key
            and (cost <= self._free_bytes or is_idle)
        )

    def _take_slot(self, usage: _KeyUsage, cost: int) -> None:
        self._turn += 1
        usage.last_turn = self._turn
        usage.slots += 1
        self._free_slots -= 1
        self._free_bytes -= cost

    def _admit_waiting(self) -> None:
        while self._free_slots > 0:
            eligible = [
                usage
                for usage in self._usage_by_key.values()
                if usage.waiting and usage.slots < self._max_per_key
            ]
            if not eligible:
                return
            # Ties go to the key that was served longest ago.
            usage = min(eligible, key=lambda candidate: (candidate.slots, candidate.last_turn))
            if not self._can_admit(usage, usage.waiting[0].cost):
                return  # no request may overtake it; otherwise a large body would wait forever
            waiter = usage.waiting.popleft()
            self._waiting -= 1
            if waiter.granted.done():  # its wait has just ended
                continue
            self._take_slot(usage, waiter.cost)
            waiter.granted.set_result(None)

    def _evict_waiter(self, usage: _KeyUsage) -> bool:
        """Reject the last request of the longest queue, if it is longer than that of `usage`."""
        longest = max(self._usage_by_key.values(), key=lambda candidate: len(candidate.waiting))
        if len(longest.waiting) <= len(usage.waiting) + 1:
            return False
        evicted = longest.waiting.pop()
        self._waiting -= 1
        if not evicted.granted.done():
            evicted.granted.set_exception(make_overloaded("the queue is needed by other keys"))
        return True

    def _remove_if_idle(self, key: str, usage: _KeyUsage) -> None:
        if usage.slots == 0 and not usage.waiting:
            self._usage_by_key.pop(key, None)


def _is_granted(waiter: _Waiter) -> bool:
    """Whether a request was granted a slot at the moment its wait ended."""
    granted = waiter.granted
    return granted.done() and not granted.cancelled() and granted.exception() is None


@dataclass(frozen=True, slots=True)
class Lane:
    """Queues of one kind of request: one for receiving bodies, one for running."""

    bodies: FairQueue
    work: FairQueue


def make_lanes(settings: ApiSettings) -> dict[LaneName, Lane]:
    """Create the lanes of an API."""
    slots: dict[LaneName, int] = {
        "queries": settings.max_running // 2,
        "uploads": settings.max_running // 4,
        "rows": settings.max_running // 2,
        "operator": _OPERATOR_SLOTS,
    }
    return {
        name: Lane(
            bodies=FairQueue(
                MAX_CONCURRENT_BODIES,
                int(settings.body_budget_bytes * _BYTE_SHARES[name]),
                settings.max_waiting,
            ),
            work=FairQueue(count, 1, settings.max_waiting),
        )
        for name, count in slots.items()
    }


def count_threads(settings: ApiSettings) -> int:
    """Maximum number of threads that all lanes use; each request uses one at a time."""
    return 2 * settings.max_running + _OPERATOR_SLOTS
