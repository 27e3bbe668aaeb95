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
    ask: Callable[[Asked], Answered], questions: Iterable[Asked], at_once: int
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
    if not 1 <= at_once <= MOST_AT_ONCE:
        raise BadRequest(f"from 1 to {MOST_AT_ONCE} questions at a time, not {at_once}")
    if at_once == 1:
        yield from map(ask, questions)
        return
    ahead: deque[Future[Answered]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for each in questions:
                ahead.append(pool.submit(ask, each))
                if len(ahead) > at_once:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
