"""Hits of the index without images that the caller may not see.

The index contains the images of protected areas, the catalog knows who may see them. A search is
repeated without hidden images until it has enough others, so the hits are those of a gallery that
never had these images. The number of repetitions is limited; an answer that it cuts says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pinpoint.records import Hit, IndexQuery
from pinpoint.search.context import SearchContext

MAX_SEARCHES: Final = 6
"""Maximum number of searches for one query."""
MAX_HITS: Final = 4_096
"""Maximum number of hits of one search, unless the query itself asks for more."""
_ENLARGEMENT: Final = 4
CUT_SEARCH_WARNING: Final = (
    "The answer may be incomplete: so many images that the API key may not see resemble the query "
    "that the search ended before it had found as many others as usual."
)


def search_visible(queries: Sequence[IndexQuery], context: SearchContext) -> list[list[Hit]]:
    """Search the index; hits of each query, best first, at most its limit.

    After `MAX_SEARCHES` hidden hits are dropped without replacement, and
    `context.hidden_images.cut_searches` is set if there may be other visible ones.
    """
    hidden_images = context.hidden_images
    if hidden_images is None:
        return context.index.search(queries)
    checked: set[UUID] = set()
    hidden: set[UUID] = set()
    narrowed = list(queries)
    for number in range(MAX_SEARCHES):
        if number > 0:
            narrowed = _enlarge(queries, narrowed, hidden)
        answers = context.index.search(narrowed)
        unchecked = {hit.id for hits in answers for hit in hits} - checked
        newly_hidden = hidden_images.find(list(unchecked))
        checked |= unchecked
        hidden |= newly_hidden
        visible = [[hit for hit in hits if hit.id not in hidden] for hits in answers]
        if not newly_hidden or not _list_short(queries, visible):
            break
    else:
        # A search with fewer hits than its limit had no others.
        hidden_images.cut_searches |= any(
            len(answers[number]) >= narrowed[number].limit
            for number in _list_short(queries, visible)
        )
    return [hits[: query.limit] for query, hits in zip(queries, visible, strict=True)]


def list_warnings(context: SearchContext) -> tuple[str, ...]:
    """Warnings of an answer whose searches are complete: whether one of them was cut."""
    hidden_images = context.hidden_images
    return (CUT_SEARCH_WARNING,) if hidden_images is not None and hidden_images.cut_searches else ()


def _enlarge(
    queries: Sequence[IndexQuery], previous: Sequence[IndexQuery], hidden: set[UUID]
) -> list[IndexQuery]:
    """The queries with larger limits than the previous ones, and without the hidden images."""
    return [
        replace(
            query,
            limit=max(query.limit, min(before.limit * _ENLARGEMENT, MAX_HITS)),
            filter=replace(query.filter, exclude_ids=(*query.filter.exclude_ids, *sorted(hidden))),
        )
        for query, before in zip(queries, previous, strict=True)
    ]


def _list_short(queries: Sequence[IndexQuery], answers: Sequence[Sequence[Hit]]) -> list[int]:
    """Numbers of the queries with fewer hits than their limit."""
    return [
        number
        for number, (query, hits) in enumerate(zip(queries, answers, strict=True))
        if len(hits) < query.limit
    ]
