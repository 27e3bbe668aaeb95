"""Iteration in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


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
