"""Retrieval: one index query, then the candidate slots, so that no street dominates the candidates.

Each query requests more hits than there are slots (oversampling, `settings.oversampling`), because
spatial NMS drops some of them.

Symbols: K candidates, N hits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.geo.countries import list_country_polygons
from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.ports import VectorIndex
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    RAW_CHANNEL,
    SCORE_DIGITS,
    SOURCE_KINDS,
    Candidate,
    ChannelScore,
    Exclusions,
    Hit,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    SearchFilter,
    SourceKind,
    Vector,
)
from pinpoint.search.candidate_slots import (
    GPS,
    IMAGE,
    NUM_CHANNELS,
    RAW,
    CandidateSlots,
    SpatialNms,
    assign_slots,
    divide_slots,
)
from pinpoint.search.context import SearchContext
from pinpoint.search.visible_hits import search_visible
from pinpoint.vector_math import cosine_similarity

_MAX_HITS: Final = 4_096
"""Maximum number of hits requested per kind to find hits that are not near-duplicates."""


def retrieve_candidates(
    vector: Vector,
    search_filter: SearchFilter,
    context: SearchContext,
    *,
    snapshot: IndexInfo,
    raw_vector: Vector | None = None,
    exclusions: Exclusions | None = None,
) -> tuple[tuple[Candidate, ...], Exclusions | None]:
    """Gallery images that may show the location, over all channels and kinds, best first.

    Args:
        vector: Query `[D]`.
        search_filter: The caller's search filter.
        context: Gallery to search; its settings give the number of candidates and their minimum
            distance within a group.
        snapshot: Description of the index.
        raw_vector: Query `[F]` for the channel `raw`; without it that channel is not searched.
        exclusions: Images that are neither candidates nor use a slot; by ids and cosine.

    Returns:
        Up to `settings.candidates`, ranks from 0 in order of score, ties by `Hit.tie_key`. Also the
        exclusions, extended by the ids of the near-duplicates in the hits.
    """
    if snapshot.points == 0:
        return (), exclusions
    index, settings = context.index, context.settings
    kinds = tuple(dict.fromkeys(search_filter.source_kinds or SOURCE_KINDS))
    slots = divide_slots(settings, settings.candidates, context.encoder.contract)
    vectors = {IMAGE_CHANNEL: vector}
    if slots.gps_quota:
        vectors[GPS_CHANNEL] = vector
    if slots.raw_quota and raw_vector is not None:
        vectors[RAW_CHANNEL] = raw_vector
    queries = [
        IndexQuery(
            channel=channel,
            vector=channel_vector,
            filter=to_index_filter(context.organization_id, search_filter, kinds=(kind,)),
            limit=settings.candidates * settings.oversampling,
            contract=snapshot.contract,
        )
        for channel, channel_vector in vectors.items()
        for kind in kinds
    ]
    answers, exclusions = _search_excluding(queries, exclusions, context)
    hits_by_channel: dict[str, list[Hit]] = {channel: [] for channel in vectors}
    for query, hits in zip(queries, answers, strict=True):
        hits_by_channel[query.channel] += hits
    hits_by_channel = {channel: sort_hits(hits) for channel, hits in hits_by_channel.items()}
    by_kind = {
        channel: [[hit for hit in channel_hits if hit.kind == kind] for kind in kinds]
        for channel, channel_hits in hits_by_channel.items()
    }
    selected = merge_channels(
        by_kind[IMAGE_CHANNEL],
        by_kind.get(GPS_CHANNEL),
        by_kind.get(RAW_CHANNEL),
        slots=slots,
        dedupe_m=settings.dedupe_m,
    )
    if context.trace is not None:
        context.trace.record_hits(hits_by_channel, selected, dedupe_m=settings.dedupe_m)
    return _to_candidates(selected, hits_by_channel, vector, index), exclusions


def fetch_candidate_vectors(
    candidates: Sequence[Candidate], index: VectorIndex
) -> list[IndexPoint]:
    """The index points of the candidates, with their vectors; images deleted since are omitted."""
    return (
        index.fetch([candidate.id for candidate in candidates], vectors=True) if candidates else []
    )


def _to_candidates(
    selected: Sequence[Hit],
    hits_by_channel: Mapping[str, Sequence[Hit]],
    vector: Vector,
    index: VectorIndex,
) -> tuple[Candidate, ...]:
    """Hits as candidates with the scores of each channel, without images deleted since."""
    scores: dict[UUID, dict[str, ChannelScore]] = {hit.id: {} for hit in selected}
    for channel, hits in hits_by_channel.items():
        for rank, hit in enumerate(hits):
            if hit.id in scores:
                scores[hit.id][channel] = ChannelScore(score=hit.similarity, rank=rank)
    # The few hits of other channels only are fetched by id; a search would scan all points.
    unscored = [hit.id for hit in selected if IMAGE_CHANNEL not in scores[hit.id]]
    for image_id, score in _fetch_similarities(unscored, vector, index).items():
        scores[image_id][IMAGE_CHANNEL] = ChannelScore(score=score, rank=None)
    scored_hits = [hit for hit in selected if IMAGE_CHANNEL in scores[hit.id]]
    scored_hits.sort(key=lambda hit: (-scores[hit.id][IMAGE_CHANNEL].score, hit.tie_key))
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
    rows = np.stack([point.vectors[IMAGE_CHANNEL] for point in points])
    scores = np.round(cosine_similarity(rows, vector), SCORE_DIGITS).tolist()
    return dict(zip([point.id for point in points], scores, strict=True))


def _search_excluding(
    queries: Sequence[IndexQuery], exclusions: Exclusions | None, context: SearchContext
) -> tuple[list[list[Hit]], Exclusions | None]:
    """Hits without excluded images, and the exclusions with every near-duplicate in the hits.

    Near-duplicates are known only after a search, so the request is repeated without them until it
    returns none. The limit grows if a kind returns nothing else. Usually one request is enough.
    """
    if exclusions is None:
        return _search_distinct(queries, context), None
    factor = 1
    while True:
        larger_queries = [_with_larger_limit(query, factor, exclusions) for query in queries]
        answers = _search_distinct(larger_queries, context)
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
    where = replace(query.filter, exclude_ids=exclusions.ids, exclude_circle=exclusions.circle)
    return replace(query, limit=limit, filter=where)


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


def _search_distinct(queries: Sequence[IndexQuery], context: SearchContext) -> list[list[Hit]]:
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
        answers = search_visible(larger_queries, context)
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
                rank = (query.channel != IMAGE_CHANNEL, -hit.similarity, hit.id.int)
                best[hit.content_key] = min(rank, best.get(hit.content_key, rank))
                previous = ranks.get(hit.id, (hit.content_key, rank))
                ranks[hit.id] = min(previous, (hit.content_key, rank))
    return {id_ for id_, (key, rank) in ranks.items() if rank[2] != best[key][2]}


def to_index_filter(
    organization_id: UUID,
    search_filter: SearchFilter,
    *,
    kinds: Sequence[SourceKind] | None = None,
    exclude_ids: Sequence[UUID] = (),
    exclude_groups: Sequence[str] = (),
) -> IndexFilter:
    """Convert a caller's search filter to an index filter for one organization."""
    return IndexFilter(
        organization_id=organization_id,
        source_kinds=tuple(search_filter.source_kinds if kinds is None else kinds),
        source_ids=search_filter.source_ids,
        circle=search_filter.circle,
        box=search_filter.box,
        polygons=search_filter.polygons,
        country_polygons=list_country_polygons(search_filter.countries),
        captured_after=search_filter.captured_after,
        captured_before=search_filter.captured_before,
        exclude_ids=tuple(exclude_ids),
        exclude_groups=tuple(exclude_groups),
    )


def sort_hits(hits: Iterable[Hit]) -> list[Hit]:
    """Hits best first, ties by `Hit.tie_key`, independent of the engine's order."""
    return sorted(hits, key=attrgetter("order"))


def merge_channels(
    image: Sequence[Sequence[Hit]],
    gps: Sequence[Sequence[Hit]] | None = None,
    raw: Sequence[Sequence[Hit]] | None = None,
    *,
    slots: CandidateSlots,
    dedupe_m: float,
) -> list[Hit]:
    """Assign the candidate slots to the hits of all channels (`candidate_slots.assign_slots`).

    Args:
        image: Hits of the channel `image` for each kind.
        gps: Hits of the channel `gps`, kinds in the same order; None if it was not searched.
        raw: As `gps`, of the channel `raw`.
        slots: Number of slots. The quota of a channel that was not searched goes to `image`.
        dedupe_m: Distance below which two images of one kind and group are redundant.

    Returns:
        The hits with a slot, best first, ties by `Hit.tie_key`. An image of several channels has
        one hit.
    """
    searched = {
        channel: by_kind
        for channel, by_kind in ((IMAGE, image), (GPS, gps), (RAW, raw))
        if by_kind is not None
    }
    # The first channel is last here, so that its hit represents an image of several channels.
    hits_by_key = {
        hit.tie_key: (hit, kind)
        for by_kind in reversed(searched.values())
        for kind, hits in enumerate(by_kind)
        for hit in hits
    }
    keys = sorted(hits_by_key)
    hits, kinds = zip(*(hits_by_key[key] for key in keys), strict=True) if keys else ((), ())
    scores = np.full((len(keys), NUM_CHANNELS), -np.inf)
    for channel, by_kind in searched.items():
        similarities = {hit.tie_key: hit.similarity for hit in chain.from_iterable(by_kind)}
        scores[:, channel] = [similarities.get(key, -np.inf) for key in keys]
    chosen = assign_slots(
        np.isfinite(scores)[None],
        scores[None],
        np.array([kinds], dtype=np.intp),
        replace(
            slots,
            gps_quota=0 if gps is None else slots.gps_quota,
            raw_quota=0 if raw is None else slots.raw_quota,
        ),
        num_kinds=len(image),
        nms=SpatialNms(
            groups=[(kind, hit.group) for hit, kind in zip(hits, kinds, strict=True)],
            unit_vectors=unit_xyz(lat_lon([hit.point for hit in hits])).tolist(),
            min_distance_m=dedupe_m,
        ),
    )
    return sort_hits(hits[row] for row in np.flatnonzero(chosen[0]).tolist())
