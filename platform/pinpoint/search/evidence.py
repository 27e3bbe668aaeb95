"""Evidence: other gallery images near each candidate, in one read.

Identical bytes are one photo, regardless of how many sources contain them. Copies of a candidate
are not evidence for it, and copies of other evidence are not counted twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.ports import CatalogReader
from pinpoint.records import Candidate, Circle, Evidence, Exclusions, SearchFilter, Vector
from pinpoint.search.context import EvidenceSettings
from pinpoint.vector_math import cosine_similarity

_COSINE_TOLERANCE: Final = 5e-7
"""Candidate scores are rounded to six digits; this tolerance gives the same decisions here."""

_MAX_ENLARGEMENT: Final = 32
"""Maximum factor by which a read is enlarged to skip copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceQuery:
    """What to read for every candidate of a query."""

    vector: Vector
    """Query `[D]`; identifies near-duplicate rows."""
    contract: str
    """Digest of the bundle that made the vectors."""
    search_filter: SearchFilter
    """The caller's search filter."""
    settings: EvidenceSettings


def fetch_evidence(
    candidates: Sequence[Candidate],
    query: EvidenceQuery,
    reader: CatalogReader,
    exclusions: Exclusions | None = None,
) -> Mapping[UUID, tuple[Evidence, ...]]:
    """Evidence of every candidate, nearest first, ties by `Evidence.tie_key`.

    Each candidate gets images of identical bytes once, or not at all if a candidate has these
    bytes, because it votes itself. Both kinds are included: the vote gives the other kind more
    weight than the candidate's kind.
    The filter's kinds, sources and times apply to evidence too, because evidence is cited. The
    spatial filter restricts only the answer: a photo outside it may still support the answer.

    Near-duplicates are known only after a read, and each used the slot of another row. The read is
    repeated without them until it returns none. Usually one read is enough.

    Args:
        candidates: Candidates to find evidence for.
        query: Query vector, filter, and the distance and number of photos.
        reader: Catalog rows of the organization.
        exclusions: Rows that are neither evidence nor use its slots; by ids, cosine and circle.

    Returns:
        One entry for every candidate, empty if there are no images near it.
    """
    if not candidates or query.settings.per_kind <= 0:
        return {candidate.id: () for candidate in candidates}
    excluded = set() if exclusions is None else set(exclusions.ids)
    cosine = None if exclusions is None else exclusions.near_duplicate_cosine
    circle = None if exclusions is None else exclusions.circle
    rows = _read_distinct(candidates, query, reader, excluded, circle)
    while near_duplicates := _find_near_duplicates(rows, query.vector, cosine):
        excluded |= near_duplicates
        rows = _read_distinct(candidates, query, reader, excluded, circle)
    evidence_by_candidate: dict[UUID, list[Evidence]] = defaultdict(list)
    for row in rows:
        if row.id != row.candidate_id and passes_filter(row, query.search_filter):
            evidence_by_candidate[row.candidate_id].append(row)
    return {candidate.id: tuple(evidence_by_candidate[candidate.id]) for candidate in candidates}


def _read_distinct(
    candidates: Sequence[Candidate],
    query: EvidenceQuery,
    reader: CatalogReader,
    excluded: Collection[UUID],
    exclude_circle: Circle | None,
) -> list[Evidence]:
    """Evidence that contains images of identical bytes once for each candidate.

    A copy uses the slot of another photo. The read is therefore repeated with more slots until
    every candidate has the same evidence as without copies. Usually one read is enough.
    """
    slots = per_kind = query.settings.per_kind
    while True:
        rows = reader.evidence(
            candidates,
            contract=query.contract,
            radius_m=query.settings.radius_m,
            per_kind=slots,
            excluded=excluded,
            exclude_circle=exclude_circle,
        )
        copies = _find_copies(rows, candidates, query.search_filter)
        if not copies and slots == per_kind:
            return rows
        distinct_rows = [row for row in rows if (row.candidate_id, row.id) not in copies]
        num_read = Counter((row.candidate_id, row.source_kind) for row in rows)
        num_distinct = Counter((row.candidate_id, row.source_kind) for row in distinct_rows)
        cut_short = any(
            count >= slots and num_distinct[key] < per_kind for key, count in num_read.items()
        )
        if not cut_short or slots >= _MAX_ENLARGEMENT * per_kind:
            return _nearest_per_kind(distinct_rows, candidates, per_kind)
        slots *= 2


def _find_copies(
    rows: Sequence[Evidence], candidates: Sequence[Candidate], search_filter: SearchFilter
) -> set[tuple[UUID, UUID]]:
    """Copies to drop, as pairs of a candidate and an image.

    Among images of the same bytes, one that passes the filter is preferred, then one of the
    candidate's source and kind. A copy therefore never counts as evidence from another source.
    """
    id_by_content = {
        candidate.content_key: candidate.id for candidate in candidates if candidate.content_key
    }
    candidates_by_id = {candidate.id: candidate for candidate in candidates}
    rows_by_content: dict[tuple[UUID, str], list[Evidence]] = defaultdict(list)
    for row in rows:
        if row.content_key:
            rows_by_content[(row.candidate_id, row.content_key)].append(row)
    copies: set[tuple[UUID, UUID]] = set()
    for (candidate_id, key), same_rows in rows_by_content.items():
        preferred_id = id_by_content.get(key)
        if preferred_id is None and len(same_rows) > 1:
            candidate = candidates_by_id[candidate_id]
            preferred_id = min(
                same_rows, key=lambda row: _copy_preference(row, candidate, search_filter)
            ).id
        if preferred_id is not None:
            copies |= {(candidate_id, row.id) for row in same_rows if row.id != preferred_id}
    return copies


def _copy_preference(
    row: Evidence, candidate: Candidate, search_filter: SearchFilter
) -> tuple[bool, bool, bool, float, int]:
    """Sort key; the image with the lowest value represents images of the same bytes."""
    return (
        not passes_filter(row, search_filter),
        row.source_id != candidate.source_id,
        row.source_kind != candidate.source_kind,
        row.distance_m,
        row.id.int,
    )


def _nearest_per_kind(
    rows: Sequence[Evidence], candidates: Sequence[Candidate], per_kind: int
) -> list[Evidence]:
    """The nearest rows of each candidate and kind, in the order of the input.

    Distances are spherical, rounded to the micrometer, ties by content. The database selects rows
    by the same rule, so the result equals a read without copies.
    """
    if not rows:
        return []
    points = {candidate.id: candidate.point for candidate in candidates}
    distances_m = haversine_m(
        lat_lon([points[row.candidate_id] for row in rows]), lat_lon([row.point for row in rows])
    ).tolist()
    order = sorted(
        range(len(rows)), key=lambda index: (round(distances_m[index], 6), rows[index].tie_key)
    )
    counts: Counter[tuple[UUID, str]] = Counter()
    selected: set[int] = set()
    for index in order:
        key = (rows[index].candidate_id, rows[index].source_kind)
        if counts[key] < per_kind:
            counts[key] += 1
            selected.add(index)
    return [row for index, row in enumerate(rows) if index in selected]


def _find_near_duplicates(
    rows: Sequence[Evidence], vector: Vector, cosine: float | None
) -> set[UUID]:
    """Ids of rows at least this similar to the query, of every kind."""
    if cosine is None or not rows:
        return set()
    vectors = {row.id: row.vector for row in rows}
    similarities = cosine_similarity(np.stack(list(vectors.values())), vector).tolist()
    # Above 0: a vector of length 0 is never a near-duplicate.
    return {
        id_
        for id_, similarity in zip(vectors, similarities, strict=True)
        if similarity > 0 and similarity >= cosine - _COSINE_TOLERANCE
    }


def passes_filter(row: Evidence, search_filter: SearchFilter) -> bool:
    """Whether a photo passes the filter's kinds, sources and times."""
    if search_filter.source_kinds and row.source_kind not in search_filter.source_kinds:
        return False
    if search_filter.source_ids and row.source_id not in search_filter.source_ids:
        return False
    if search_filter.captured_after is None and search_filter.captured_before is None:
        return True
    if row.captured_at is None:
        return False
    is_early = (
        search_filter.captured_after is not None and row.captured_at < search_filter.captured_after
    )
    is_late = (
        search_filter.captured_before is not None
        and row.captured_at >= search_filter.captured_before
    )
    return not (is_early or is_late)
