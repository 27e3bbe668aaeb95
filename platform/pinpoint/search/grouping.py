"""The page of `similar`: the nearest images by group, so that one street does not fill it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import Final
from uuid import UUID

from pinpoint.ports import VectorIndex
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
from pinpoint.settings import SearchSettings

_MAX_ROUNDS: Final = 8
"""Requests made at most to fill the page with different groups."""


def groups(
    vector: Vector,
    *,
    index: VectorIndex,
    where: IndexFilter,
    settings: SearchSettings,
    info: IndexInfo,
    limit: int,
    per_group: int,
) -> tuple[SimilarGroup, ...]:
    """The nearest images by group, best group first.

    Neither engine groups alike, so it is done here: groups that are full are left out of the next
    request until the page is full or nothing is left. Usually that is one request.

    Args:
        vector: Query `[D]`.
        index: Where to look.
        where: What may be found.
        settings: How much more to ask for than is shown.
        info: What the index says of itself.
        limit: Groups wanted.
        per_group: Images of one group at most.
    """
    if info.points == 0:
        return ()
    order = attrgetter("order")
    wanted = limit * per_group * settings.overfetch
    found: dict[str, dict[UUID, Hit]] = defaultdict(dict)
    narrowed = where
    for _ in range(_MAX_ROUNDS):
        query = IndexQuery(
            channel=IMAGE_CHANNEL,
            vector=vector,
            filter=narrowed,
            limit=wanted,
            contract=info.contract,
        )
        (hits,) = index.search([query])
        for hit in hits:
            found[hit.group][hit.id] = hit
        if len(found) >= limit or len(hits) < wanted:
            break
        full = sorted(group for group, own in found.items() if len(own) >= per_group)
        narrowed = replace(where, exclude_groups=(*where.exclude_groups, *full))
    best = [sorted(own.values(), key=order)[:per_group] for own in found.values()]
    best.sort(key=lambda own: order(own[0]))
    return tuple(SimilarGroup(group=own[0].group, hits=tuple(own)) for own in best[:limit])


def beside(
    where: IndexFilter, own: IndexPoint, *, include_self: bool, exclude_group: bool
) -> IndexFilter:
    """What may be found beside an image of the gallery: not itself, and perhaps not its group."""
    if not include_self:
        where = replace(where, exclude_ids=(*where.exclude_ids, own.id))
    if exclude_group:
        where = replace(where, exclude_groups=(*where.exclude_groups, own.group))
    return where
