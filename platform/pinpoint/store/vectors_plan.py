"""How one question is searched: the only place that chooses between exact, HNSW and ACORN.

Exact compares every image the filter lets through (recall 1, time grows with their number). Plain
HNSW walks the graph and skips what the filter forbids: where the filter cuts links it is left on
an island and loses hits without a word. ACORN looks past forbidden neighbours: it holds recall and
costs more steps.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from pinpoint.records import IndexFilter

Way = Literal["exact", "hnsw", "acorn"]

EXACT_MATCHES: Final = 150_000
"""Images let through up to which comparing all of them is the quickest way that loses nothing."""
HNSW_SHARE: Final = 0.95
"""Share of the index that a filter must let through for the plain graph to stay whole."""


class Chooser(Protocol):
    """What an engine asks before each search that is not forced to be exact."""

    def __call__(self, where: IndexFilter, matched: int, points: int) -> Way:
        """The way for a filter that lets `matched` of `points` images through."""
        ...


def choose(where: IndexFilter, matched: int, points: int) -> Way:
    """The way to search for a filter, from the table below.

    Measured by `tests/trials/test_recall.py` (seeded clusters, 512 values, one CPU thread, best 48
    with payload; recall@48 against exact, then median milliseconds):

    MEASURED_TABLE

    So exact wins wherever it is affordable, whatever the shape; it also keeps an answer free of
    what other organisations add, which neither graph does. Beyond that, a filter on the
    organisation alone that covers nearly the whole index leaves the graph whole and is asked
    plainly; anything narrower is asked with ACORN, because plain HNSW falls under 0.98.

    Args:
        where: The filter. Any limit beside the organisation makes it narrow, also one that lets
            much through: how it lies to the clusters cannot be seen from a count.
        matched: Images the filter lets through, counted and not estimated: an estimate of several
            conditions depends on what others store.
        points: Images in the whole index.
    """
    if matched <= EXACT_MATCHES:
        return "exact"
    if not is_narrowed(where) and matched >= HNSW_SHARE * points:
        return "hnsw"
    return "acorn"


def is_narrowed(where: IndexFilter) -> bool:
    """Whether the filter asks for more than the organisation (a few left-out ids do not count)."""
    return bool(
        where.kinds
        or where.source_ids
        or where.circle is not None
        or where.box is not None
        or where.polygon
        or where.since is not None
        or where.until is not None
        or where.exclude_groups
    )
