"""Retrieval: one request to the index, then candidates of which no street or place is a flood.

Letters: K candidates kept, N hits that came back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pinpoint.geo.distance import pairwise_m
from pinpoint.geo.points import lat_lon
from pinpoint.ports import VectorIndex
from pinpoint.records import (
    KINDS,
    Candidate,
    Exclusions,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    Limits,
    SimilarGroup,
    SourceKind,
    Vector,
)
from pinpoint.settings import SearchSettings

CHANNEL: Final = "image"
"""The named vector that pictures are compared by."""
_SCORE_DIGITS: Final = 6
"""Scores are kept to this many digits: engines differ beyond, and ties must stay ties."""
_MOST_HITS: Final = 4_096
"""Hits asked for at most, for each kind, in search of what is no near-duplicate."""
_MAX_ROUNDS: Final = 8
"""Requests that `similar` makes at most to fill its page with different groups."""


def candidates(
    vector: Vector,
    *,
    index: VectorIndex,
    organization_id: UUID,
    limits: Limits,
    settings: SearchSettings,
    info: IndexInfo,
    exclusions: Exclusions | None = None,
) -> tuple[tuple[Candidate, ...], Exclusions | None]:
    """The gallery images that may show the place, over all kinds, best first.

    Args:
        vector: Query `[D]`.
        index: Where to look.
        organization_id: Whose images.
        limits: What the caller narrowed the question to.
        settings: How many, and how far apart within a group.
        info: What the index says of itself.
        exclusions: What is no candidate and takes no other's place; by ids and cosine.

    Returns:
        Up to `settings.candidates`, ranks from 0 in order of score, ties by id; and the exclusions
        with the near-duplicates that were seen among their ids.
    """
    if info.points == 0:
        return (), exclusions
    kinds = tuple(dict.fromkeys(limits.kinds or KINDS))
    queries = [
        IndexQuery(
            channel=CHANNEL,
            vector=vector,
            filter=where(organization_id, limits, kinds=(kind,)),
            limit=settings.candidates * settings.overfetch,
            contract=info.contract,
        )
        for kind in kinds
    ]
    if exclusions is None:
        answers = index.search(queries)
    else:
        answers, exclusions = _without(exclusions, queries, index)
    apart = [spread_out(ordered(hits), settings.dedupe_m) for hits in answers]
    kept = tuple(
        Candidate(
            id=hit.id,
            source_id=hit.source_id,
            kind=hit.kind,
            point=hit.point,
            captured_at=hit.captured_at,
            group=hit.group,
            score=_rounded(hit.score),
            rank=rank,
        )
        for rank, hit in enumerate(fair_share(apart, settings.candidates))
    )
    return kept, exclusions


def _without(
    exclusions: Exclusions, queries: Sequence[IndexQuery], index: VectorIndex
) -> tuple[list[list[Hit]], Exclusions]:
    """Answers in which nothing excluded took a place, and the exclusions with every copy seen.

    Near-duplicates are known only when they are seen: so the request is repeated without them
    until it brings none, and deeper where a kind brings nothing else. Usually that is one request.
    """
    deeper = 1
    while True:
        answers = index.search([_deeper(each, deeper, exclusions) for each in queries])
        copies = _copies(answers, exclusions.near_duplicate_cosine)
        if not copies:
            cut = [hits[: each.limit] for hits, each in zip(answers, queries, strict=True)]
            return cut, exclusions
        if any(hits and {hit.id for hit in hits} <= copies for hits in answers):
            deeper *= 4
        exclusions = replace(exclusions, ids=tuple(sorted({*exclusions.ids, *copies})))


def _deeper(query: IndexQuery, times: int, exclusions: Exclusions) -> IndexQuery:
    limit = max(query.limit, min(query.limit * times, _MOST_HITS))
    return replace(query, limit=limit, filter=replace(query.filter, exclude_ids=exclusions.ids))


def _copies(answers: Sequence[Sequence[Hit]], cosine: float | None) -> set[UUID]:
    """Ids of hits at least this similar."""
    if cosine is None:
        return set()
    return {hit.id for hits in answers for hit in hits if _rounded(hit.score) >= cosine}


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
    wanted = limit * per_group * settings.overfetch
    found: dict[str, dict[UUID, Hit]] = defaultdict(dict)
    narrowed = where
    for _ in range(_MAX_ROUNDS):
        query = IndexQuery(
            channel=CHANNEL,
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
    best = [ordered(own.values())[:per_group] for own in found.values()]
    best.sort(key=lambda own: _order(own[0]))
    return tuple(SimilarGroup(group=own[0].group, hits=tuple(own)) for own in best[:limit])


def where(
    organization_id: UUID,
    limits: Limits,
    *,
    kinds: Sequence[SourceKind] | None = None,
    exclude_ids: Sequence[UUID] = (),
    exclude_groups: Sequence[str] = (),
) -> IndexFilter:
    """A caller's limits as the index takes them, inside one organisation."""
    return IndexFilter(
        organization_id=organization_id,
        kinds=tuple(limits.kinds if kinds is None else kinds),
        source_ids=limits.source_ids,
        circle=limits.circle,
        box=limits.box,
        polygon=limits.polygon,
        since=limits.since,
        until=limits.until,
        exclude_ids=tuple(exclude_ids),
        exclude_groups=tuple(exclude_groups),
    )


def beside(
    where: IndexFilter, own: IndexPoint, *, include_self: bool, exclude_group: bool
) -> IndexFilter:
    """What may be found beside an image of the gallery: not itself, and perhaps not its group."""
    if not include_self:
        where = replace(where, exclude_ids=(*where.exclude_ids, own.id))
    if exclude_group:
        where = replace(where, exclude_groups=(*where.exclude_groups, own.group))
    return where


def ordered(hits: Iterable[Hit]) -> list[Hit]:
    """Hits best first, ties by id, whatever order the engine gave them in."""
    return sorted(hits, key=_order)


def spread_out(hits: Sequence[Hit], nearer_than_m: float) -> list[Hit]:
    """Of hits of one group that stand nearer to each other than this, the best stays.

    Args:
        hits: `[N]`, best first.
        nearer_than_m: Distance below which two images of one group say the same; 0 keeps all.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, hit in enumerate(hits):
        members[hit.group].append(place)
    gone: set[int] = set()
    for own in members.values():
        if len(own) == 1:
            continue
        near = pairwise_m(lat_lon([hits[place].point for place in own])) < nearer_than_m
        kept: list[int] = []
        for local, place in enumerate(own):
            if near[local, kept].any():
                gone.add(place)
            else:
                kept.append(local)
    return [hit for place, hit in enumerate(hits) if place not in gone]


def fair_share(answers: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Merge kinds best first, with half of an equal share kept for each kind.

    Cosines of a photo to photos and to street views are not quite on one scale; without a share of
    its own, the kind that scores lower as a whole would never be heard.

    Args:
        answers: For each kind its hits, best first.
        limit: Hits kept in all.

    Returns:
        Best first, ties by id.
    """
    share = limit // (2 * len(answers))
    taken = [hit for hits in answers for hit in hits[:share]]
    rest = ordered(hit for hits in answers for hit in hits[share:])
    return ordered([*taken, *rest[: limit - len(taken)]])


def _rounded(score: float) -> float:
    return round(float(score), _SCORE_DIGITS)


def _order(hit: Hit) -> tuple[float, int]:
    return -_rounded(hit.score), hit.id.int
