"""Retrieval: one request to the index, then candidates of which no street or place is a flood.

Letters: K candidates kept, N hits that came back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.ports import VectorIndex
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    KINDS,
    SCORE_DIGITS,
    Candidate,
    Exclusions,
    Found,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexQuery,
    Limits,
    SourceKind,
    Vector,
)
from pinpoint.settings import SearchSettings

_MOST_HITS: Final = 4_096
"""Hits asked for at most, for each kind, in search of what is no near-duplicate."""


def candidates(
    vector: Vector,
    *,
    index: VectorIndex,
    organization_id: UUID,
    limits: Limits,
    settings: SearchSettings,
    info: IndexInfo,
    exclusions: Exclusions | None = None,
    gps: bool = False,
) -> tuple[tuple[Candidate, ...], Exclusions | None]:
    """The gallery images that may show the place, over all channels and kinds, best first.

    Args:
        vector: Query `[D]`.
        index: Where to look.
        organization_id: Whose images.
        limits: What the caller narrowed the question to.
        settings: How many, and how far apart within a group.
        info: What the index says of itself.
        exclusions: What is no candidate and takes no other's place; by ids and cosine.
        gps: Whether the index has the channel `gps`, in the space of the query.

    Returns:
        Up to `settings.candidates`, ranks from 0 in order of score, ties by id; and the exclusions
        with the near-duplicates that were seen among their ids.
    """
    if info.points == 0:
        return (), exclusions
    kinds = tuple(dict.fromkeys(limits.kinds or KINDS))
    share = gps_seats(settings, settings.candidates) if gps else 0
    channels = (IMAGE_CHANNEL, GPS_CHANNEL) if share else (IMAGE_CHANNEL,)
    queries = [
        IndexQuery(
            channel=channel,
            vector=vector,
            filter=where(organization_id, limits, kinds=(kind,)),
            limit=settings.candidates * settings.overfetch,
            contract=info.contract,
        )
        for channel in channels
        for kind in kinds
    ]
    answers, exclusions = _answers(queries, exclusions, index)
    found: dict[str, list[Hit]] = {channel: [] for channel in channels}
    for query, hits in zip(queries, answers, strict=True):
        found[query.channel] += hits
    found = {channel: ordered(hits) for channel, hits in found.items()}
    by_kind = [
        [[hit for hit in own if hit.kind == kind] for kind in kinds] for own in found.values()
    ]
    seats = seated(
        *by_kind,
        limit=settings.candidates,
        share=share,
        dedupe_m=settings.dedupe_m,
    )
    return _candidates(seats, found, vector, index), exclusions


def _candidates(
    seats: Sequence[Hit], found: Mapping[str, Sequence[Hit]], vector: Vector, index: VectorIndex
) -> tuple[Candidate, ...]:
    """Hits as candidates with what each channel says of them; one that has gone is left out."""
    said: dict[UUID, dict[str, Found]] = {hit.id: {} for hit in seats}
    for channel, hits in found.items():
        for rank, hit in enumerate(hits):
            if hit.id in said:
                said[hit.id][channel] = Found(score=hit.similarity, rank=rank)
    # A few that the channel `gps` alone has found: fetched by id, where a search would look at all.
    unseen = [hit.id for hit in seats if IMAGE_CHANNEL not in said[hit.id]]
    for image_id, score in _similarities(unseen, vector, index).items():
        said[image_id][IMAGE_CHANNEL] = Found(score=score, rank=None)
    kept = [hit for hit in seats if IMAGE_CHANNEL in said[hit.id]]
    kept.sort(key=lambda hit: (-said[hit.id][IMAGE_CHANNEL].score, hit.id.int))
    return tuple(
        Candidate(
            id=hit.id,
            source_id=hit.source_id,
            kind=hit.kind,
            point=hit.point,
            captured_at=hit.captured_at,
            group=hit.group,
            content_key=hit.content_key,
            score=said[hit.id][IMAGE_CHANNEL].score,
            rank=rank,
            channels=said[hit.id],
        )
        for rank, hit in enumerate(kept)
    )


def _similarities(ids: Sequence[UUID], vector: Vector, index: VectorIndex) -> dict[UUID, float]:
    """Cosine of the query to these images' pictures; those that are gone have none."""
    points = index.fetch(ids, vectors=True) if ids else []
    if not points:
        return {}
    rows = np.stack([each.vectors[IMAGE_CHANNEL] for each in points]).astype(np.float64)
    query = vector.astype(np.float64)
    lengths = np.sqrt(np.vecdot(rows, rows) * np.vecdot(query, query))
    cosines = np.vecdot(rows, query) / np.where(lengths > 0, lengths, 1.0)
    scores = np.round(cosines, SCORE_DIGITS).tolist()
    return dict(zip([each.id for each in points], scores, strict=True))


def _answers(
    queries: Sequence[IndexQuery], exclusions: Exclusions | None, index: VectorIndex
) -> tuple[list[list[Hit]], Exclusions | None]:
    """Answers in which nothing excluded took a place, and the exclusions with every copy seen.

    Near-duplicates are known only when they are seen: so the request is repeated without them
    until it brings none, and deeper where a kind brings nothing else. Usually that is one request.
    """
    if exclusions is None:
        return _search_distinct(queries, index), None
    deeper = 1
    while True:
        asked = [_deeper(each, deeper, exclusions) for each in queries]
        answers = _search_distinct(asked, index)
        copies = _copies(queries, answers, exclusions.near_duplicate_cosine)
        if not copies:
            cut = [hits[: each.limit] for hits, each in zip(answers, queries, strict=True)]
            return cut, exclusions
        if any(hits and {hit.id for hit in hits} <= copies for hits in answers):
            deeper *= 4
        exclusions = replace(exclusions, ids=tuple(sorted({*exclusions.ids, *copies})))


def _deeper(query: IndexQuery, times: int, exclusions: Exclusions) -> IndexQuery:
    limit = max(query.limit, min(query.limit * times, _MOST_HITS))
    return replace(query, limit=limit, filter=replace(query.filter, exclude_ids=exclusions.ids))


def _copies(
    queries: Sequence[IndexQuery], answers: Sequence[Sequence[Hit]], cosine: float | None
) -> set[UUID]:
    """Ids of hits whose picture is at least this similar.

    Only the channel of pictures can tell, and it has them all: they stand before its other hits.
    """
    if cosine is None:
        return set()
    return {
        hit.id
        for query, hits in zip(queries, answers, strict=True)
        for hit in hits
        if query.channel == IMAGE_CHANNEL and hit.similarity >= cosine
    }


def _search_distinct(queries: Sequence[IndexQuery], index: VectorIndex) -> list[list[Hit]]:
    """Answers in which images of identical bytes come once, whatever their sources and kinds.

    A copy takes another image's place in a full answer: then the index is asked for more, until
    what is left is as long as without copies. Usually that is one request.
    """
    times = 1
    while True:
        asked = [
            replace(each, limit=max(each.limit, min(each.limit * times, _MOST_HITS)))
            for each in queries
        ]
        answers = index.search(asked)
        dropped = _identical(asked, answers)
        kept = [
            [hit for hit in hits if hit.id not in dropped][: each.limit]
            for each, hits in zip(queries, answers, strict=True)
        ]
        cut_short = any(
            len(hits) >= deep.limit and len(left) < each.limit and deep.limit < _MOST_HITS
            for each, deep, hits, left in zip(queries, asked, answers, kept, strict=True)
        )
        if not cut_short:
            return kept
        times *= 2


def _identical(queries: Sequence[IndexQuery], answers: Sequence[Sequence[Hit]]) -> set[UUID]:
    """Ids of hits whose bytes another hit has too, which looks more like the photo; ties by id."""
    best: dict[str, tuple[bool, float, int]] = {}
    ranks: dict[UUID, tuple[str, tuple[bool, float, int]]] = {}
    for query, hits in zip(queries, answers, strict=True):
        for hit in hits:
            if hit.content_key:
                rank = (query.channel != IMAGE_CHANNEL, *hit.order)
                best[hit.content_key] = min(rank, best.get(hit.content_key, rank))
                known = ranks.get(hit.id, (hit.content_key, rank))
                ranks[hit.id] = min(known, (hit.content_key, rank))
    return {id_ for id_, (key, rank) in ranks.items() if rank[2] != best[key][2]}


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


def ordered(hits: Iterable[Hit]) -> list[Hit]:
    """Hits best first, ties by id, whatever order the engine gave them in."""
    return sorted(hits, key=attrgetter("order"))


def seated(
    image: Sequence[Sequence[Hit]],
    gps: Sequence[Sequence[Hit]] | None = None,
    *,
    limit: int,
    share: int,
    dedupe_m: float,
) -> list[Hit]:
    """Who becomes a candidate.

    The channel `image` fills all seats but the share of `gps`. That share goes to the best of `gps`
    without a seat, so what both have found costs one seat only; what `gps` leaves, `image` fills.

    Args:
        image: For each kind what the channel `image` has found, best first.
        gps: The same for the channel `gps`, kinds in the same order; None where it was not asked.
        limit: Seats in all.
        share: Seats of `gps`.
        dedupe_m: As `spread_out`; held between the channels too.
    """
    rounds = [(image, limit)]
    if gps is not None:
        rounds = [(image, limit - share), (gps, limit), (image, limit)]
    seats: list[list[Hit]] = [[] for _ in image]
    for answers, until in rounds:
        if (free := until - sum(map(len, seats))) == 0:
            continue
        fresh = [_beyond(own, hits, dedupe_m) for own, hits in zip(seats, answers, strict=True)]
        taken = {hit.id for hit in fair_share(fresh, free)}
        for own, hits in zip(seats, fresh, strict=True):
            own += [hit for hit in hits if hit.id in taken]
    return [hit for own in seats for hit in own]


def _beyond(seats: Sequence[Hit], hits: Sequence[Hit], dedupe_m: float) -> list[Hit]:
    """Of one kind's hits, best first, those that say something its seats do not say yet."""
    held = {hit.id for hit in seats}
    fresh = [hit for hit in hits if hit.id not in held]
    # Seats stand apart already, so they all stay and come first.
    return spread_out([*seats, *fresh], dedupe_m)[len(seats) :]


def gps_seats(settings: SearchSettings, candidates: int) -> int:
    """Of so many candidates, how many seats are kept for what the channel `gps` finds."""
    return int(candidates * settings.gps_share)


def spread_out(hits: Sequence[Hit], nearer_than_m: float) -> list[Hit]:
    """Of hits of one group that stand nearer to each other than this, the best stays.

    Args:
        hits: `[N]`, best first.
        nearer_than_m: Distance below which two images of one group say the same; 0 keeps all.
    """
    chord = 2.0 * math.sin(min(nearer_than_m / EARTH_RADIUS_M, math.pi) / 2.0)
    kept: dict[str, list[list[float]]] = defaultdict(list)
    stay = []
    # Pair by pair: groups are many and small, and every call of numpy costs as much as 50 pairs.
    for hit, place in zip(hits, unit_xyz(lat_lon([h.point for h in hits])).tolist(), strict=True):
        own = kept[hit.group]
        if all(math.dist(place, other) >= chord for other in own):
            own.append(place)
            stay.append(hit)
    return stay


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
