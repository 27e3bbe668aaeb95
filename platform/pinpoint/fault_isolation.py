"""Isolates failing items: work on many items is repeated on halves until the failing one is found.

An outage is not caused by an item: its error is raised at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar
from uuid import uuid4

from pinpoint import logs
from pinpoint.errors import (
    ConfigurationError,
    IndexUnavailableError,
    ModelMismatchError,
    PinpointError,
    StackError,
    UnavailableError,
)
from pinpoint.ports import VectorIndex

OUTAGES: Final = (UnavailableError, ModelMismatchError, ConfigurationError, StackError)
"""Errors of the stack or of its settings, which affect every item."""
ENGINE_FAILED: Final = "index_engine_failed"
"""Reason of an engine error caused by its disk or by the given values."""

INTERNAL_ERROR: Final = "internal_error"
"""Reason of a rejection that a bug of this program caused."""

Item = TypeVar("Item")

_log = logs.get_logger(__name__)


def is_outage(error: Exception) -> bool:
    """Whether the stack caused an error, so that the same work may succeed later."""
    return isinstance(error, OUTAGES) and getattr(error, "reason", None) != ENGINE_FAILED


def process_with_bisection(
    items: Sequence[Item],
    do: Callable[[Sequence[Item]], None],
    fail: Callable[[Item, Exception], None],
) -> None:
    """Process all items at once; after an error process halves, down to single items.

    Args:
        items: Any number of items; processing them must be repeatable.
        do: Processes items; raises if it fails for any of them.
        fail: Called for each single item that fails.

    Raises:
        UnavailableError: An outage, raised at once; likewise for all of `OUTAGES`.
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
        process_with_bisection(items[:half], do, fail)
        process_with_bisection(items[half:], do, fail)


class Failures:
    """Collects errors of steps that must not stop later steps."""

    def __init__(self) -> None:
        """Start without errors."""
        self._first: Exception | None = None

    @contextmanager
    def isolate(self, step: str, **about: object) -> Iterator[None]:
        """Log an error raised inside and continue after it; an outage is raised."""
        try:
            yield
        except Exception as error:
            if is_outage(error):
                raise
            _log.exception("step failed, going on with the next", step=step, **about)
            self._first = self._first or error

    def note(self, step: str, error: Exception, **about: object) -> None:
        """Log an error that the caller caught."""
        _log.error("step failed for one, going on", step=step, exc_info=error, **about)
        self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the first error, if any, to report it to the caller of all steps."""
        if self._first is not None:
            raise self._first


def raise_if_index_down(error: Exception, index: VectorIndex) -> None:
    """Distinguish an engine that accepts no writes from one that rejects a value.

    The engine's binding raises the same error for a full disk and for a bad value. This function
    therefore tries a write that is always valid: it deletes a point that does not exist.

    Raises:
        IndexUnavailableError: That write fails too.
    """
    if isinstance(error, PinpointError) and error.reason == ENGINE_FAILED:
        try:
            index.delete_points([uuid4()])
        except PinpointError as again:
            raise IndexUnavailableError(
                "the index engine accepts no writes; see its log"
            ) from again
