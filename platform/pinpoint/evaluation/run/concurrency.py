"""Ordered concurrent map: several calls run at a time, results keep the order of the items.

A query mostly waits for the index and for PostgreSQL, which are separate processes. Two concurrent
queries therefore keep two cores busy. The results equal those of a plain loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from pinpoint.errors import BadRequestError

MAX_CONCURRENCY: Final = 8
"""Maximum number of threads: the size of the database connection pool."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], concurrency: int
) -> Iterator[Result]:
    """Apply a function to items in threads and yield the results in order.

    If the caller stops iterating or a call fails, calls that have not started are cancelled.

    Args:
        function: Must be thread-safe.
        items: Consumed lazily, at most `concurrency` + 1 items ahead of the results.
        concurrency: Number of threads; 1 runs every call in the caller's thread.

    Raises:
        BadRequestError: The number of threads is not from 1 to `MAX_CONCURRENCY`.
    """
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise BadRequestError(f"concurrency must be from 1 to {MAX_CONCURRENCY}, not {concurrency}")
    if concurrency == 1:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
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
