"""Evidence is grouped and ordered, never contains the candidate, and follows the filter."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid5

import pytest

from pinpoint.records import SearchFilter
from pinpoint.search import evidence, retrieve
from pinpoint.search.context import EvidenceSettings
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    START,
    US,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    search_context,
    view_pixels,
)
from search.in_memory import gallery as make_gallery


@pytest.fixture(scope="module")
def gallery():
    return make_gallery(places=4, views=3)


@pytest.fixture
def gather(gallery):
    def gather(limits=SearchFilter(), candidates=None, **changes):  # noqa: B008
        retrieved = candidates
        if retrieved is None:
            retrieved, _ = retrieve.retrieve_candidates(
                PixelEncoder().encode_query(view_pixels(1, 7)),
                SearchFilter(),
                search_context(
                    NumpyIndex(gallery), settings=SearchSettings(candidates=6, dedupe_m=0)
                ),
                snapshot=NumpyIndex(gallery).info(),
            )
        database = DictDatabase(gallery)
        options = {"radius_m": 1_000.0, "per_kind": 8, **changes}
        with database.read(US) as reader:
            near = evidence.fetch_evidence(
                retrieved,
                evidence.EvidenceQuery(
                    vector=PixelEncoder().encode_query(view_pixels(1, 7)),
                    contract=CONTRACT.digest,
                    search_filter=limits,
                    settings=EvidenceSettings(**options),
                ),
                reader,
            )
        return retrieved, near, database.log

    return gather


def test_fetch_evidence_needs_one_statement_and_sorts_by_distance(gather):
    candidates, near, log = gather()
    assert log == ["read", "evidence"]
    assert list(near) == [candidate.id for candidate in candidates]
    for candidate in candidates:
        rows = near[candidate.id]
        assert len(rows) == 5  # three views of both kinds, less the candidate itself
        assert {row.source_kind for row in rows} == {"photo", "street"}
        assert candidate.id not in {row.id for row in rows}
        assert [row.distance_m for row in rows] == sorted(row.distance_m for row in rows)


def test_fetch_evidence_without_candidates_or_quota_reads_nothing(gather):
    assert gather(candidates=())[1:] == ({}, ["read"])
    candidates, near, log = gather(per_kind=0)
    assert log == ["read"]
    assert near == {candidate.id: () for candidate in candidates}


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (SearchFilter(source_kinds=("street",)), {2, 3}),
        (SearchFilter(source_ids=(uuid5(US, "photo"),)), {2, 3}),
        (SearchFilter(captured_after=START + timedelta(days=1)), {3, 4}),
        (SearchFilter(captured_before=START + timedelta(days=1)), {1, 2}),
        (SearchFilter(captured_after=START + timedelta(days=9)), {0}),
    ],
)
def test_fetch_evidence_applies_search_filter(gather, limits, count):
    _, near, _ = gather(limits)
    assert {len(rows) for rows in near.values()} == count
    for row in (row for rows in near.values() for row in rows):
        assert not limits.source_kinds or row.source_kind in limits.source_kinds
        assert not limits.source_ids or row.source_id in limits.source_ids
        assert limits.captured_after is None or row.captured_at >= limits.captured_after
        assert limits.captured_before is None or row.captured_at < limits.captured_before
