"""Hits of the index without images that the caller may not see.

The index contains the images of protected areas, the catalog knows who may see them. A search is
repeated without hidden images until it returns none, so the hits are those of a gallery that never
had these images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pinpoint.records import Hit, IndexQuery
from pinpoint.search.context import SearchContext

_MAX_ROUNDS: Final = 6
_MAX_HITS: Final = 4_096
_ENLARGEMENT: Final = 4


def search_visible(queries: Sequence[IndexQuery], context: SearchContext) -> list[list[Hit]]:
    """Search the index; hits of each query, best first, at most its limit.

    After the last round hidden hits are dropped without replacement.
    """
    if context.find_hidden is None:
        return context.index.search(queries)
    hidden: set[UUID] = set()
    narrowed = list(queries)
    for _ in range(_MAX_ROUNDS):
        answers = context.index.search(narrowed)
        newly_hidden = context.find_hidden(
            list({hit.id for hits in answers for hit in hits} - hidden)
        )
        hidden |= newly_hidden
        if not newly_hidden:
            break
        narrowed = [
            replace(
                query,
                limit=max(query.limit, min(previous.limit * _ENLARGEMENT, _MAX_HITS)),
                filter=replace(
                    query.filter,
                    exclude_ids=(*query.filter.exclude_ids, *sorted(hidden)),
                ),
            )
            for query, previous in zip(queries, narrowed, strict=True)
        ]
    return [
        [hit for hit in hits if hit.id not in hidden][: query.limit]
        for query, hits in zip(queries, answers, strict=True)
    ]
