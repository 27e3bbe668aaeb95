"""The page of `similar`: the nearest images by group, so that one street cannot fill it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import Final
from uuid import UUID

from pinpoint.records import (
    IMAGE_CHANNEL,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    SimilarGroup,
    Vector,
)
from pinpoint.search.context import SearchContext
from pinpoint.search.visible_hits import search_visible

_MAX_ROUNDS: Final = 8
"""Maximum number of requests to fill the page with different groups."""


def group_hits(
    vector: Vector,
    where: IndexFilter,
    context: SearchContext,
    *,
    snapshot: IndexInfo,
    limit: int,
    per_group: int,
) -> tuple[SimilarGroup, ...]:
    """The nearest images by group, best group first.

    The two engines group differently, so grouping is done here. Full groups are excluded from the
    next request until the page is full or no hits remain. Usually one request is enough.

    Args:
        vector: Query `[D]`.
        where: Index filter.
        context: Gives the index and the oversampling factor.
        snapshot: Description of the index.
        limit: Maximum number of groups.
        per_group: Maximum number of images per group.
    """
    if snapshot.points == 0:
        return ()
    order = attrgetter("order")
    num_hits = limit * per_group * context.settings.oversampling
    hits_by_group: dict[str, dict[UUID, Hit]] = defaultdict(dict)
    narrowed = where
    for _ in range(_MAX_ROUNDS):
        query = IndexQuery(
            channel=IMAGE_CHANNEL,
            vector=vector,
            filter=narrowed,
            limit=num_hits,
            contract=snapshot.contract,
        )
        (hits,) = search_visible([query], context)
        for hit in hits:
            hits_by_group[hit.group][hit.id] = hit
        if len(hits_by_group) >= limit or len(hits) < num_hits:
            break
        full_groups = sorted(
            group for group, group_hits in hits_by_group.items() if len(group_hits) >= per_group
        )
        narrowed = replace(where, exclude_groups=(*where.exclude_groups, *full_groups))
    pages = [
        sorted(group_hits.values(), key=order)[:per_group] for group_hits in hits_by_group.values()
    ]
    pages.sort(key=lambda group_hits: order(group_hits[0]))
    return tuple(
        SimilarGroup(group=group_hits[0].group, hits=tuple(group_hits))
        for group_hits in pages[:limit]
    )


def restrict_to_neighbors_of(
    where: IndexFilter, image: IndexPoint, *, include_self: bool, exclude_group: bool
) -> IndexFilter:
    """Exclude a gallery image from a filter unless `include_self`, and its group if requested."""
    if not include_self:
        where = replace(where, exclude_ids=(*where.exclude_ids, image.id))
    if exclude_group:
        where = replace(where, exclude_groups=(*where.exclude_groups, image.group))
    return where
