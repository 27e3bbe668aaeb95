"""Which requests are worked on now, which wait, and which are put off with 503.

A lane is for one kind of request and has places (requests worked on at once) and bytes (bodies held
at once). Who waits is served by fairness, not by arrival: the key that holds the fewest places
first. A key never holds all places of a lane, and where too many wait, the key that has the most
waiting gives one up. Everything here runs on the event loop, so there are no locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from pinpoint.errors import Unavailable
from pinpoint.settings import ApiSettings

LaneName = Literal["questions", "uploads", "rows", "operator"]

OVERLOADED: Final = "overloaded"
RETRY_AFTER_S: Final = 2.0
READERS: Final = 128
"""Bodies that are received at once in one lane; each may come slowly."""
_OPERATOR_SLOTS: Final = 2
_BYTE_SHARES: Final[dict[LaneName, float]] = {
    "questions": 0.3,
    "uploads": 0.6,
    "rows": 0.08,
    "operator": 0.02,
}
"""Fixed shares, so that slow uploads never keep questions from being asked."""


def make_overloaded(cause: str) -> Unavailable:
    """The error of a request that is put off."""
    error = Unavailable(f"too many requests at once: {cause}; try again shortly", reason=OVERLOADED)
    error.retry_after_s = RETRY_AFTER_S
    return error


@dataclass(slots=True)
class _Waiter:
    granted: asyncio.Future[None]
    cost: int


@dataclass(slots=True)
class _KeyUsage:
    """What one key has of a queue."""

    slots: int = 0
    last_turn: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class FairQueue:
    """Places and bytes that keys share.

    Args:
        places: Requests let in at once.
        most_bytes: Bytes let in at once; a request that is larger by itself is let in alone.
        most_waiting: Requests that wait; 0 lets none wait.
    """

    def __init__(self, slots: int, max_bytes: int, max_waiting: int) -> None:
        self._slots, self._bytes = slots, max_bytes
        self._max_waiting = max_waiting
        # One place stays free for others, whatever a single key asks for.
        self._max_per_key = max(1, slots - max(1, slots // 4))
        self._free_slots, self._free_bytes = slots, max_bytes
        self._usage_by_key: dict[str, _KeyUsage] = {}
        self._waiting, self._turn = 0, 0

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return self._waiting

    async def acquire(self, key: str, cost: int, wait_s: float) -> int:
        """Wait for a place, and for `cost` bytes of room.

        Args:
            key: Who asks.
            cost: Bytes.
            wait_s: Longest wait, seconds.

        Returns:
            The bytes that `release` has to be given back.

        Raises:
            Unavailable: Overloaded: none came free in time, or too many wait.
        """
        cost = min(cost, self._bytes)
        usage = self._usage_by_key.setdefault(key, _KeyUsage())
        if not usage.waiting and self._can_admit(usage, cost):
            self._take_slot(usage, cost)
            return cost
        if self._waiting >= self._max_waiting and not self._evict_waiter(usage):
            self._remove_if_idle(key, usage)
            raise make_overloaded("too many wait already")
        waiter = _Waiter(asyncio.get_running_loop().create_future(), cost)
        usage.waiting.append(waiter)
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await waiter.granted
        except TimeoutError:
            if not _is_granted(waiter):
                raise make_overloaded("no place came free in time") from None
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
        """Take `cost` more bytes at once, if they are free."""
        if cost > self._free_bytes:
            return False
        self._free_bytes -= cost
        return True

    def release(self, key: str, cost: int) -> None:
        """Give a place and its bytes back, and let in who waits."""
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
            # Of those with equally many places the one that was served longest ago.
            usage = min(eligible, key=lambda candidate: (candidate.slots, candidate.last_turn))
            if not self._can_admit(usage, usage.waiting[0].cost):
                return  # nobody overtakes it, or a large body would wait for ever
            waiter = usage.waiting.popleft()
            self._waiting -= 1
            if waiter.granted.done():  # it gave up in this very moment
                continue
            self._take_slot(usage, waiter.cost)
            waiter.granted.set_result(None)

    def _evict_waiter(self, usage: _KeyUsage) -> bool:
        """Put off the last of the key that has the most waiting, if that is more than this one."""
        longest = max(self._usage_by_key.values(), key=lambda candidate: len(candidate.waiting))
        if len(longest.waiting) <= len(usage.waiting) + 1:
            return False
        evicted = longest.waiting.pop()
        self._waiting -= 1
        if not evicted.granted.done():
            evicted.granted.set_exception(make_overloaded("others wait, too"))
        return True

    def _remove_if_idle(self, key: str, usage: _KeyUsage) -> None:
        if usage.slots == 0 and not usage.waiting:
            self._usage_by_key.pop(key, None)


def _is_granted(waiter: _Waiter) -> bool:
    """Whether a place was given to a request in the moment in which it stopped waiting."""
    granted = waiter.granted
    return granted.done() and not granted.cancelled() and granted.exception() is None


@dataclass(frozen=True, slots=True)
class Lane:
    """One kind of requests: those whose bodies arrive, and those worked on."""

    bodies: FairQueue
    work: FairQueue


def make_lanes(settings: ApiSettings) -> dict[LaneName, Lane]:
    """The lanes of an API under these settings."""
    slots: dict[LaneName, int] = {
        "questions": settings.max_running // 2,
        "uploads": settings.max_running // 4,
        "rows": settings.max_running // 2,
        "operator": _OPERATOR_SLOTS,
    }
    return {
        name: Lane(
            bodies=FairQueue(
                READERS, int(settings.body_budget_bytes * _BYTE_SHARES[name]), settings.max_waiting
            ),
            work=FairQueue(count, 1, settings.max_waiting),
        )
        for name, count in slots.items()
    }


def count_threads(settings: ApiSettings) -> int:
    """Threads that all lanes together can keep busy; each request uses one at a time."""
    return 2 * settings.max_running + _OPERATOR_SLOTS
