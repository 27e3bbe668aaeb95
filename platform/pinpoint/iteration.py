"""Iteration in batches, and in threads with bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order; the last list may be shorter.

    `itertools.batched` of Python 3.12, but with lists: psycopg sends a list as an array and a tuple
    as a row.

    Raises:
        ValueError: The size is below 1.
    """
    if size < 1:
        raise ValueError(f"a batch has at least one item, not {size}")
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def map_in_threads(
    function: Callable[[T], Result], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[Result]:
    """Apply a function to items in threads; yield the results in the order of the items.

    If the caller stops iterating or a call fails, calls that have not started are canceled.

    Args:
        function: Must be thread-safe.
        items: Consumed lazily, at most `ahead` + 1 items ahead of the results.
        threads: Number of threads.
        ahead: Maximum number of results that wait for the caller.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
