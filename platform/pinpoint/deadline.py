"""One time budget per request, shared by all its calls to other processes.

The API sets a deadline per request; threads that work for it inherit it with their context. Code
that waits for another process limits its timeout with `limit_timeout_s`. Workers and commands have
no deadline: their calls keep their own timeouts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from pinpoint.errors import UnavailableError

TIME_BUDGET_USED: Final = "time_budget_used"


class Deadline:
    """A deadline with a clock that can be paused.

    Args:
        seconds: Budget from now on, above 0.
    """

    __slots__ = ("_at", "_paused_at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._paused_at: float | None = None

    def remaining_s(self) -> float:
        """Remaining seconds; negative after the deadline."""
        return self._at - (time.monotonic() if self._paused_at is None else self._paused_at)

    @property
    def paused(self) -> bool:
        """Whether the clock is paused now."""
        return self._paused_at is not None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time inside: the client or the disk of this machine uses it."""
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


def current_deadline() -> Deadline | None:
    """Deadline of the current request; None outside of requests."""
    return _current.get()


@contextmanager
def apply_deadline(deadline: Deadline) -> Iterator[Deadline]:
    """Apply `deadline` inside, in this thread and in threads that copy its context."""
    token = _current.set(deadline)
    try:
        yield deadline
    finally:
        _current.reset(token)


@contextmanager
def limit_time(seconds: float) -> Iterator[Deadline]:
    """Apply a deadline of `seconds` inside, or the outer deadline if that is earlier."""
    outer = _current.get()
    budget_s = seconds if outer is None else min(seconds, max(outer.remaining_s(), 0.0))
    with apply_deadline(Deadline(budget_s)) as deadline:
        yield deadline


@contextmanager
def pause_clock() -> Iterator[None]:
    """Do not count the time inside against the request; does nothing outside of requests."""
    deadline = _current.get()
    if deadline is None:
        yield
        return
    with deadline.pause():
        yield


def limit_timeout_s(max_s: float) -> float:
    """Timeout of a call to another process: `max_s`, or the remaining budget if that is less.

    Raises:
        UnavailableError: The budget is used up.
    """
    deadline = _current.get()
    if deadline is None:
        return max_s
    remaining_s = deadline.remaining_s()
    if remaining_s <= 0:
        raise UnavailableError(
            "the request's time budget is used up: a part of the stack answers slowly; try again",
            reason=TIME_BUDGET_USED,
        )
    return min(max_s, remaining_s)
