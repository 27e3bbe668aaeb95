"""Evidence: what else the gallery holds near each candidate, in one read.

Identical bytes are one photo, however many sources hold them: a copy of the candidate says nothing
of it, and a copy of other evidence says nothing twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.ports import CatalogueReader
from pinpoint.records import Candidate, Evidence, Exclusions, Limits, Vector

_ROUNDING: Final = 5e-7
"""Scores of candidates are rounded to six digits; what is the same there is the same here."""


_MOST_TIMES: Final = 32
"""As many copies of each photo as are looked through."""


def gather(
    candidates: Sequence[Candidate],
    *,
    vector: Vector,
    reader: CatalogueReader,
    contract: str,
    limits: Limits,
    radius_m: float,
    per_kind: int,
    exclusions: Exclusions | None = None,
) -> Mapping[UUID, tuple[Evidence, ...]]:
    """Evidence of every candidate, nearest first, ties by id.

    Images of identical bytes come once for each candidate, and not at all where a candidate has
    these bytes: it has its own vote. Both kinds are kept: the other kind speaks louder in the vote,
    the own kind still speaks.
    Of the caller's limits those on kind, source and time hold for evidence too, for it is cited;
    those in space are about the answer, and a photo across their border may still speak for it.

    Args:
        candidates: Whom to look around.
        vector: Query `[D]`; tells which rows are near-duplicates.
        reader: The organisation's rows.
        contract: Digest of the bundle whose vectors are wanted.
        limits: What the caller narrowed the question to.
        radius_m: How far evidence may stand.
        per_kind: Evidence per candidate and kind; 0 asks for none.
        exclusions: What is no evidence and takes no other's place; by ids and cosine.

    Returns:
        One entry for every candidate, empty where nothing stands near.
    """
    found: dict[UUID, list[Evidence]] = defaultdict(list)
    if candidates and per_kind > 0:
        ask = partial(
            _read_distinct,
            reader,
            candidates,
            limits,
            contract=contract,
            radius_m=radius_m,
            per_kind=per_kind,
        )
        for row in ask() if exclusions is None else _without(exclusions, vector, ask):
            if row.id != row.candidate_id and _allowed(row, limits):
                found[row.candidate_id].append(row)
    return {each.id: tuple(found[each.id]) for each in candidates}


def _read_distinct(
    reader: CatalogueReader,
    candidates: Sequence[Candidate],
    limits: Limits,
    *,
    contract: str,
    radius_m: float,
    per_kind: int,
    excluded: Collection[UUID] = (),
) -> list[Evidence]:
    """Evidence in which images of identical bytes come once for each candidate.

    A copy takes another photo's place, so the read is repeated with more places until every
    candidate has what it would have without copies. Usually that is one read.
    """
    places = per_kind
    while True:
        rows = reader.evidence(
            candidates, contract=contract, radius_m=radius_m, per_kind=places, excluded=excluded
        )
        copies = _identical(rows, candidates, limits)
        if not copies and places == per_kind:
            return rows
        kept = [row for row in rows if (row.candidate_id, row.id) not in copies]
        read = Counter((row.candidate_id, row.kind) for row in rows)
        left = Counter((row.candidate_id, row.kind) for row in kept)
        cut_short = any(count >= places and left[set_] < per_kind for set_, count in read.items())
        if not cut_short or places >= _MOST_TIMES * per_kind:
            return _nearest(kept, candidates, per_kind)
        places *= 2


def _identical(
    rows: Sequence[Evidence], candidates: Sequence[Candidate], limits: Limits
) -> set[tuple[UUID, UUID]]:
    """Copies, as pairs of a candidate and an image.

    Of several images of the same bytes the one stays that the caller asked for, then one of the
    candidate's own source and kind, so that a copy elsewhere never counts as another source's.
    """
    of_key = {each.content_key: each.id for each in candidates if each.content_key}
    by_id = {each.id: each for each in candidates}
    alike: dict[tuple[UUID, str], list[Evidence]] = defaultdict(list)
    for row in rows:
        if row.content_key:
            alike[(row.candidate_id, row.content_key)].append(row)
    copies: set[tuple[UUID, UUID]] = set()
    for (candidate_id, key), same in alike.items():
        stays = of_key.get(key)
        if stays is None and len(same) > 1:
            near = by_id[candidate_id]
            stays = min(same, key=lambda row: _preference(row, near, limits)).id
        if stays is not None:
            copies |= {(candidate_id, row.id) for row in same if row.id != stays}
    return copies


def _preference(
    row: Evidence, near: Candidate, limits: Limits
) -> tuple[bool, bool, bool, float, int]:
    """Of images of the same bytes the one with the lowest value stays."""
    return (
        not _allowed(row, limits),
        row.source_id != near.source_id,
        row.kind != near.kind,
        row.distance_m,
        row.id.int,
    )


def _nearest(
    rows: Sequence[Evidence], candidates: Sequence[Candidate], per_kind: int
) -> list[Evidence]:
    """The nearest of each candidate and kind; rows keep their order.

    On the sphere to the micrometer, ties by id: as the database chooses, which would have cut the
    same rows without copies.
    """
    if not rows:
        return []
    points = {each.id: each.point for each in candidates}
    sphere_m = haversine_m(
        lat_lon([points[row.candidate_id] for row in rows]), lat_lon([row.point for row in rows])
    ).tolist()
    order = sorted(range(len(rows)), key=lambda at: (round(sphere_m[at], 6), rows[at].id.int))
    taken: Counter[tuple[UUID, str]] = Counter()
    stays: set[int] = set()
    for at in order:
        set_ = (rows[at].candidate_id, rows[at].kind)
        if taken[set_] < per_kind:
            taken[set_] += 1
            stays.add(at)
    return [row for at, row in enumerate(rows) if at in stays]


def _without(
    exclusions: Exclusions, vector: Vector, ask: Callable[..., list[Evidence]]
) -> list[Evidence]:
    """What the read brings once nothing excluded is in it.

    Near-duplicates are known only when they are seen, and each took another's place: so the read
    is repeated without them until it brings none. Usually that is one read.
    """
    excluded = set(exclusions.ids)
    while True:
        rows = ask(excluded=excluded)
        copies = _copies(rows, vector, exclusions.near_duplicate_cosine)
        if not copies:
            return rows
        excluded |= copies


def _copies(rows: Sequence[Evidence], vector: Vector, cosine: float | None) -> set[UUID]:
    """Ids of rows at least this similar to the query, of every kind."""
    if cosine is None or not rows:
        return set()
    photos = {row.id: row.vector for row in rows}
    rows64 = np.stack(list(photos.values())).astype(np.float64)
    query = vector.astype(np.float64)
    lengths = np.sqrt(np.vecdot(rows64, rows64) * np.vecdot(query, query))
    # Not divided: a vector of length 0 is like nothing, and no copy of anything.
    found = np.vecdot(rows64, query) >= (cosine - _ROUNDING) * lengths
    return {id_ for id_, copy in zip(photos, (found & (lengths > 0)).tolist(), strict=True) if copy}


def _allowed(row: Evidence, limits: Limits) -> bool:
    """Whether a photo is of the kinds, sources and times the caller asked for."""
    if limits.kinds and row.kind not in limits.kinds:
        return False
    if limits.source_ids and row.source_id not in limits.source_ids:
        return False
    if limits.since is None and limits.until is None:
        return True
    if row.captured_at is None:
        return False
    early = limits.since is not None and row.captured_at < limits.since
    late = limits.until is not None and row.captured_at >= limits.until
    return not (early or late)
