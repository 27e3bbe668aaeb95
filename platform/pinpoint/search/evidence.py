"""Evidence: what else the gallery holds near each candidate, in one read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.ports import CatalogueReader
from pinpoint.records import Candidate, Evidence, Exclusions, Limits, Vector

_ROUNDING: Final = 5e-7
"""Scores of candidates are rounded to six digits; what is the same there is the same here."""


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

    Both kinds are kept: the other kind speaks louder in the vote, the own kind still speaks.
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
            reader.evidence, candidates, contract=contract, radius_m=radius_m, per_kind=per_kind
        )
        for row in ask() if exclusions is None else _without(exclusions, vector, ask):
            if row.id != row.candidate_id and _allowed(row, limits):
                found[row.candidate_id].append(row)
    return {each.id: tuple(found[each.id]) for each in candidates}


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
