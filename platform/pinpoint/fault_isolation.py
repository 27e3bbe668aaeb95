"""One item that fails costs itself: work on many is repeated on fewer until it is found.

An outage is not the fault of any item: it goes through to the caller at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar
from uuid import uuid4

from pinpoint import logs
from pinpoint.errors import (
    IndexUnavailable,
    Misconfigured,
    OtherContract,
    PinpointError,
    StackError,
    Unavailable,
)
from pinpoint.ports import VectorIndex

OUTAGES: Final = (Unavailable, OtherContract, Misconfigured, StackError)
"""Errors of the stack or of its settings: every item would meet them."""
ENGINE_FAILED: Final = "index_engine_failed"
"""Reason of an engine that could not do what it was asked for: its disk, or what it was given."""

Item = TypeVar("Item")

_log = logs.get(__name__)


def is_outage(error: Exception) -> bool:
    """Whether the stack is at fault, so that the same work may succeed later."""
    return isinstance(error, OUTAGES) and getattr(error, "reason", None) != ENGINE_FAILED


def do_apart(
    items: Sequence[Item],
    do: Callable[[Sequence[Item]], None],
    fail: Callable[[Item, Exception], None],
) -> None:
    """Do something with all items at once; where that fails, with halves, down to single items.

    Args:
        items: Any number; work on them can be repeated.
        do: Raises where it cannot be done with all that it gets.
        fail: Called for each single item with which it cannot be done.

    Raises:
        Unavailable: An outage, at once; likewise for all of `OUTAGES`.
    """
    if not items:
        return
    try:
        do(items)
    except Exception as error:
        if is_outage(error):
            raise
        if len(items) == 1:
            fail(items[0], error)
            return
        _log.warning("failed, trying with fewer", items=len(items), error=repr(error))
        half = len(items) // 2
        do_apart(items[:half], do, fail)
        do_apart(items[half:], do, fail)


class Failures:
    """Errors of steps that must not stop the steps after them."""

    def __init__(self) -> None:
        """None yet."""
        self._first: Exception | None = None

    @contextmanager
    def apart(self, step: str, **about: object) -> Iterator[None]:
        """Log what fails inside and go on after it; an outage goes through."""
        try:
            yield
        except Exception as error:
            if is_outage(error):
                raise
            _log.exception("step failed, going on with the next", step=step, **about)
            self._first = self._first or error

    def note(self, step: str, error: Exception, **about: object) -> None:
        """Log an error that was caught elsewhere."""
        _log.error("step failed for one, going on", step=step, exc_info=error, **about)
        self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the first error, so that whoever runs all of it learns of it."""
        if self._first is not None:
            raise self._first


def raise_if_index_is_down(error: Exception, index: VectorIndex) -> None:
    """Tell an engine that takes nothing now from one that refuses what it was given.

    Its binding raises the same error for a full disk and for a bad value. So it is asked to write
    what is always good: to forget a point that nobody has.

    Raises:
        IndexUnavailable: It does not do that either.
    """
    if isinstance(error, PinpointError) and error.reason == ENGINE_FAILED:
        try:
            index.forget([uuid4()])
        except PinpointError as again:
            raise IndexUnavailable("the index engine takes no writes; its log says why") from again
