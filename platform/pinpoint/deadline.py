"""One time budget for all that a request does, shared by every call that it makes elsewhere.

The API sets a deadline per request; threads that work for it inherit it with their context. Whoever
waits for another process asks `bounded_s` for how long it may wait. Workers and commands have no
deadline: their calls keep their own limits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from pinpoint.errors import Unavailable

REASON: Final = "time_budget_used"


class Deadline:
    """A moment that moves while the clock is paused.

    Args:
        seconds: From now on, above 0.
    """

    __slots__ = ("_at", "_paused_at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._paused_at: float | None = None

    def remaining_s(self) -> float:
        """Seconds that are left; negative once it has passed."""
        return self._at - (time.monotonic() if self._paused_at is None else self._paused_at)

    @property
    def paused(self) -> bool:
        """Whether the clock is paused now."""
        return self._paused_at is not None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time inside: it is the client's, or that of this machine's disk."""
        if self._paused_at is not None:
            yield
            return
        self._paused_at = time.monotonic()
        try:
            yield
        finally:
            self._at += time.monotonic() - self._paused_at
            self._paused_at = None


_current: ContextVar[Deadline | None] = ContextVar("pinpoint_deadline", default=None)


def current() -> Deadline | None:
    """The deadline of the request that this code works for; None outside of requests."""
    return _current.get()


@contextmanager
def until(deadline: Deadline) -> Iterator[Deadline]:
    """Let `deadline` hold inside, in this thread and those that copy its context."""
    token = _current.set(deadline)
    try:
        yield deadline
    finally:
        _current.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Let a deadline hold inside that is at most `seconds` away, and never later than the outer."""
    outer = _current.get()
    budget_s = seconds if outer is None else min(seconds, max(outer.remaining_s(), 0.0))
    with until(Deadline(budget_s)) as deadline:
        yield deadline


@contextmanager
def not_counted() -> Iterator[None]:
    """Do not count the time inside against the request; does nothing outside of requests."""
    deadline = _current.get()
    if deadline is None:
        yield
        return
    with deadline.pause():
        yield


def bounded_s(max_s: float) -> float:
    """How long a call elsewhere may take: `most_s`, or less where less of the budget is left.

    Raises:
        Unavailable: Nothing is left.
    """
    deadline = _current.get()
    if deadline is None:
        return max_s
    remaining_s = deadline.remaining_s()
    if remaining_s <= 0:
        raise Unavailable(
            "the request's time budget is used up: a part of the stack answers slowly; try again",
            reason=REASON,
        )
    return min(max_s, remaining_s)
