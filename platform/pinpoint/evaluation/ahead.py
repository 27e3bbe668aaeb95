"""Several questions at a time, and their answers in the order of the questions.

Most of a question's time is spent waiting for the index and for PostgreSQL, which are processes of
their own: two questions at a time keep two cores busy. What comes out is what a plain loop gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from pinpoint.errors import BadRequest

MOST_AT_ONCE: Final = 8
"""Connections to the database that are kept open."""

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def in_order(
    function: Callable[[Asked], Answered], items: Iterable[Asked], concurrency: int
) -> Iterator[Answered]:
    """Ask a few questions ahead of the answer that is wanted next.

    Whoever stops listening, or hears an error, leaves no question behind that was not begun.

    Args:
        ask: Safe to call from several threads.
        questions: Taken one by one, never far ahead.
        at_once: Threads; with 1 nothing is asked ahead.

    Raises:
        BadRequest: Not a number of threads from 1 to `MOST_AT_ONCE`.
    """
    if not 1 <= concurrency <= MOST_AT_ONCE:
        raise BadRequest(f"from 1 to {MOST_AT_ONCE} questions at a time, not {concurrency}")
    if concurrency == 1:
        yield from map(function, items)
        return
    pending: deque[Future[Answered]] = deque()
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
