"""Evidence: what else the gallery holds near each candidate, in one read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from pinpoint.ports import CatalogueReader
from pinpoint.records import Candidate, Evidence, Limits


def gather(
    candidates: Sequence[Candidate],
    *,
    reader: CatalogueReader,
    contract: str,
    limits: Limits,
    radius_m: float,
    per_kind: int,
) -> Mapping[UUID, tuple[Evidence, ...]]:
    """Evidence of every candidate, nearest first, ties by id.

    Both kinds are kept: the other kind speaks louder in the vote, the own kind still speaks.
    Of the caller's limits those on kind, source and time hold for evidence too, for it is cited;
    those in space are about the answer, and a photo across their border may still speak for it.

    Args:
        candidates: Whom to look around.
        reader: The organisation's rows.
        contract: Digest of the bundle whose vectors are wanted.
        limits: What the caller narrowed the question to.
        radius_m: How far evidence may stand.
        per_kind: Evidence per candidate and kind; 0 asks for none.

    Returns:
        One entry for every candidate, empty where nothing stands near.
    """
    found: dict[UUID, list[Evidence]] = defaultdict(list)
    if candidates and per_kind > 0:
        rows = reader.evidence(candidates, contract=contract, radius_m=radius_m, per_kind=per_kind)
        for row in rows:
            if row.id != row.candidate_id and _allowed(row, limits):
                found[row.candidate_id].append(row)
    return {
        each.id: tuple(sorted(found[each.id], key=lambda row: (row.distance_m, row.id.int)))
        for each in candidates
    }


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
