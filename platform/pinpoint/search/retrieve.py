"""Retrieval: one index query, then de-duplication so that no street dominates the candidates.

Symbols: K candidates, N hits.
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
    SCORE_DIGITS,
    SOURCE_KINDS,
    Candidate,
    ChannelScore,
    Exclusions,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexQuery,
    SearchFilter,
    SourceKind,
    Vector,
)
from pinpoint.settings import SearchSettings

_MAX_HITS: Final = 4_096
"""Maximum number of hits requested per kind to find hits that are not near-duplicates."""


def retrieve_candidates(
    vector: Vector,
    *,
    index: VectorIndex,
    organization_id: UUID,
    limits: SearchFilter,
    settings: SearchSettings,
    info: IndexInfo,
    exclusions: Exclusions | None = None,
    gps: bool = False,
) -> tuple[tuple[Candidate, ...], Exclusions | None]:
    """Gallery images that may show the location, over all channels and kinds, best first.

    Args:
        vector: Query `[D]`.
        index: Index to search.
        organization_id: Organization of the gallery.
        limits: The caller's search filter.
        settings: Number of candidates and their minimum distance within a group.
        info: Description of the index.
        exclusions: Images that are neither candidates nor use a slot; by ids and cosine.
        gps: Whether the index has the channel `gps`, in the space of the query.

    Returns:
        Up to `settings.candidates`, ranks from 0 in order of score, ties by id. Also the
        exclusions, extended by the ids of the near-duplicates in the hits.
    """
    if info.points == 0:
        return (), exclusions
    kinds = tuple(dict.fromkeys(limits.source_kinds or SOURCE_KINDS))
    num_gps = gps_quota(settings, settings.candidates) if gps else 0
    channels = (IMAGE_CHANNEL, GPS_CHANNEL) if num_gps else (IMAGE_CHANNEL,)
    queries = [
        IndexQuery(
            channel=channel,
            vector=vector,
            filter=to_index_filter(organization_id, limits, kinds=(kind,)),
            limit=settings.candidates * settings.oversampling,
            contract=info.contract,
        )
        for channel in channels
        for kind in kinds
    ]
    answers, exclusions = _search_excluding(queries, exclusions, index)
    hits_by_channel: dict[str, list[Hit]] = {channel: [] for channel in channels}
    for query, hits in zip(queries, answers, strict=True):
        hits_by_channel[query.channel] += hits
    hits_by_channel = {channel: sort_hits(hits) for channel, hits in hits_by_channel.items()}
    by_kind = [
        [[hit for hit in channel_hits if hit.kind == kind] for kind in kinds]
        for channel_hits in hits_by_channel.values()
    ]
    slots = merge_channels(
        *by_kind,
        limit=settings.candidates,
        share=num_gps,
        dedupe_m=settings.dedupe_m,
    )
    return _to_candidates(slots, hits_by_channel, vector, index), exclusions


def _to_candidates(
    slots: Sequence[Hit],
    hits_by_channel: Mapping[str, Sequence[Hit]],
    vector: Vector,
    index: VectorIndex,
) -> tuple[Candidate, ...]:
    """Hits as candidates with the scores of each channel, without images deleted since."""
    scores: dict[UUID, dict[str, ChannelScore]] = {hit.id: {} for hit in slots}
    for channel, hits in hits_by_channel.items():
        for rank, hit in enumerate(hits):
            if hit.id in scores:
                scores[hit.id][channel] = ChannelScore(score=hit.similarity, rank=rank)
    # The few hits of the channel `gps` only are fetched by id; a search would scan all points.
    unscored = [hit.id for hit in slots if IMAGE_CHANNEL not in scores[hit.id]]
    for image_id, score in _fetch_similarities(unscored, vector, index).items():
        scores[image_id][IMAGE_CHANNEL] = ChannelScore(score=score, rank=None)
    scored_hits = [hit for hit in slots if IMAGE_CHANNEL in scores[hit.id]]
    scored_hits.sort(key=lambda hit: (-scores[hit.id][IMAGE_CHANNEL].score, hit.id.int))
    return tuple(
        Candidate(
            id=hit.id,
            source_id=hit.source_id,
            source_kind=hit.kind,
            point=hit.point,
            captured_at=hit.captured_at,
            group=hit.group,
            content_key=hit.content_key,
            score=scores[hit.id][IMAGE_CHANNEL].score,
            rank=rank,
            channels=scores[hit.id],
        )
        for rank, hit in enumerate(scored_hits)
    )


def _fetch_similarities(
    ids: Sequence[UUID], vector: Vector, index: VectorIndex
) -> dict[UUID, float]:
    """Cosine of the query to the image vectors of these images; deleted images are omitted."""
    points = index.fetch(ids, vectors=True) if ids else []
    if not points:
        return {}
    rows = np.stack([point.vectors[IMAGE_CHANNEL] for point in points]).astype(np.float64)
    query = vector.astype(np.float64)
    norms = np.sqrt(np.vecdot(rows, rows) * np.vecdot(query, query))
    cosines = np.vecdot(rows, query) / np.where(norms > 0, norms, 1.0)
    scores = np.round(cosines, SCORE_DIGITS).tolist()
    return dict(zip([point.id for point in points], scores, strict=True))


def _search_excluding(
    queries: Sequence[IndexQuery], exclusions: Exclusions | None, index: VectorIndex
) -> tuple[list[list[Hit]], Exclusions | None]:
    """Hits without excluded images, and the exclusions with every near-duplicate in the hits.

    Near-duplicates are known only after a search, so the request is repeated without them until it
    returns none. The limit grows if a kind returns nothing else. Usually one request is enough.
    """
    if exclusions is None:
        return _search_distinct(queries, index), None
    factor = 1
    while True:
        larger_queries = [_with_larger_limit(query, factor, exclusions) for query in queries]
        answers = _search_distinct(larger_queries, index)
        near_duplicates = _find_near_duplicates(queries, answers, exclusions.near_duplicate_cosine)
        if not near_duplicates:
            cut_answers = [
                hits[: query.limit] for hits, query in zip(answers, queries, strict=True)
            ]
            return cut_answers, exclusions
        if any(hits and {hit.id for hit in hits} <= near_duplicates for hits in answers):
            factor *= 4
        exclusions = replace(exclusions, ids=tuple(sorted({*exclusions.ids, *near_duplicates})))


def _with_larger_limit(query: IndexQuery, factor: int, exclusions: Exclusions) -> IndexQuery:
    limit = max(query.limit, min(query.limit * factor, _MAX_HITS))
    return replace(query, limit=limit, filter=replace(query.filter, exclude_ids=exclusions.ids))


def _find_near_duplicates(
    queries: Sequence[IndexQuery], answers: Sequence[Sequence[Hit]], cosine: float | None
) -> set[UUID]:
    """Ids of hits with an image vector at least this similar to the query.

    Only the channel `image` decides, and it contains all of them, because they are its best hits.
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
    """Hits that contain images of identical bytes once, for any sources and kinds.

    In a full result a copy uses the slot of another image. The limit then grows until the
    remaining hits are as many as without copies. Usually one request is enough.
    """
    factor = 1
    while True:
        larger_queries = [
            replace(query, limit=max(query.limit, min(query.limit * factor, _MAX_HITS)))
            for query in queries
        ]
        answers = index.search(larger_queries)
        dropped = _find_identical(larger_queries, answers)
        distinct = [
            [hit for hit in hits if hit.id not in dropped][: query.limit]
            for query, hits in zip(queries, answers, strict=True)
        ]
        cut_short = any(
            len(hits) >= larger.limit and len(remaining) < query.limit and larger.limit < _MAX_HITS
            for query, larger, hits, remaining in zip(
                queries, larger_queries, answers, distinct, strict=True
            )
        )
        if not cut_short:
            return distinct
        factor *= 2


def _find_identical(queries: Sequence[IndexQuery], answers: Sequence[Sequence[Hit]]) -> set[UUID]:
    """Ids of hits with the same bytes as a more similar hit; ties by id."""
    best: dict[str, tuple[bool, float, int]] = {}
    ranks: dict[UUID, tuple[str, tuple[bool, float, int]]] = {}
    for query, hits in zip(queries, answers, strict=True):
        for hit in hits:
            if hit.content_key:
                rank = (query.channel != IMAGE_CHANNEL, *hit.order)
                best[hit.content_key] = min(rank, best.get(hit.content_key, rank))
                previous = ranks.get(hit.id, (hit.content_key, rank))
                ranks[hit.id] = min(previous, (hit.content_key, rank))
    return {id_ for id_, (key, rank) in ranks.items() if rank[2] != best[key][2]}


def to_index_filter(
    organization_id: UUID,
    limits: SearchFilter,
    *,
    kinds: Sequence[SourceKind] | None = None,
    exclude_ids: Sequence[UUID] = (),
    exclude_groups: Sequence[str] = (),
) -> IndexFilter:
    """Convert a caller's search filter to an index filter for one organization."""
    return IndexFilter(
        organization_id=organization_id,
        source_kinds=tuple(limits.source_kinds if kinds is None else kinds),
        source_ids=limits.source_ids,
        circle=limits.circle,
        box=limits.box,
        polygon=limits.polygon,
        captured_after=limits.captured_after,
        captured_before=limits.captured_before,
        exclude_ids=tuple(exclude_ids),
        exclude_groups=tuple(exclude_groups),
    )


def sort_hits(hits: Iterable[Hit]) -> list[Hit]:
    """Hits best first, ties by id, independent of the engine's order."""
    return sorted(hits, key=attrgetter("order"))


def merge_channels(
    image: Sequence[Sequence[Hit]],
    gps: Sequence[Sequence[Hit]] | None = None,
    *,
    limit: int,
    share: int,
    dedupe_m: float,
) -> list[Hit]:
    """Merge the hits of both channels into the candidate slots.

    The channel `image` fills all slots except the quota of `gps`. The quota goes to the best hits
    of `gps` without a slot, so a hit of both channels uses one slot. `image` fills the rest.

    Args:
        image: Hits of the channel `image` for each kind, best first.
        gps: Hits of the channel `gps`, kinds in the same order; None if it was not searched.
        limit: Total number of slots.
        share: Number of slots of `gps`.
        dedupe_m: As in `suppress_nearby`; also applied between the channels.
    """
    rounds = [(image, limit)]
    if gps is not None:
        rounds = [(image, limit - share), (gps, limit), (image, limit)]
    slots: list[list[Hit]] = [[] for _ in image]
    for answers, num_slots in rounds:
        if (num_free := num_slots - sum(map(len, slots))) == 0:
            continue
        new_hits = [
            _not_near(kind_slots, hits, dedupe_m)
            for kind_slots, hits in zip(slots, answers, strict=True)
        ]
        selected_ids = {hit.id for hit in round_robin_merge(new_hits, num_free)}
        for kind_slots, hits in zip(slots, new_hits, strict=True):
            kind_slots += [hit for hit in hits if hit.id in selected_ids]
    return [hit for kind_slots in slots for hit in kind_slots]


def _not_near(slots: Sequence[Hit], hits: Sequence[Hit], dedupe_m: float) -> list[Hit]:
    """Hits of one kind, best first, that are not near its hits in slots."""
    slot_ids = {hit.id for hit in slots}
    new_hits = [hit for hit in hits if hit.id not in slot_ids]
    # Hits in slots already have the minimum distance, so all of them stay and are first.
    return suppress_nearby([*slots, *new_hits], dedupe_m)[len(slots) :]


def gps_quota(settings: SearchSettings, candidates: int) -> int:
    """Number of slots reserved for the channel `gps`, for this number of candidates."""
    return int(candidates * settings.gps_channel_fraction)


def suppress_nearby(hits: Sequence[Hit], nearer_than_m: float) -> list[Hit]:
    """Drop hits that are near a better hit of the same group.

    Args:
        hits: `[N]`, best first.
        nearer_than_m: Distance below which two images of one group are redundant; 0 keeps all.
    """
    chord = 2.0 * math.sin(min(nearer_than_m / EARTH_RADIUS_M, math.pi) / 2.0)
    positions_by_group: dict[str, list[list[float]]] = defaultdict(list)
    selected = []
    # In pure Python: groups are many and small, and one NumPy call costs as much as 50 pairs.
    for hit, position in zip(
        hits, unit_xyz(lat_lon([hit.point for hit in hits])).tolist(), strict=True
    ):
        group_positions = positions_by_group[hit.group]
        if all(math.dist(position, other) >= chord for other in group_positions):
            group_positions.append(position)
            selected.append(hit)
    return selected


def round_robin_merge(answers: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """Merge kinds best first, with half of an equal share reserved for each kind.

    Cosines of a photo to photos and to street views are not on the same scale. Without a reserved
    share, the kind with lower scores would never have a candidate.

    Args:
        answers: Hits of each kind, best first.
        limit: Maximum number of hits in the result.

    Returns:
        Best first, ties by id.
    """
    share = limit // (2 * len(answers))
    reserved = [hit for hits in answers for hit in hits[:share]]
    rest = sort_hits(hit for hits in answers for hit in hits[share:])
    return sort_hits([*reserved, *rest[: limit - len(reserved)]])
