"""Evidence is grouped, in order, never the candidate itself, and inside the caller's limits."""

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
    picture,
    search_context,
)
from search.in_memory import gallery as make_gallery


@pytest.fixture(scope="module")
def gallery():
    return make_gallery(places=4, views=3)


@pytest.fixture
def gather(gallery):
    def gather(limits=SearchFilter(), candidates=None, **changes):  # noqa: B008
        found = candidates
        if found is None:
            found, _ = retrieve.retrieve_candidates(
                PixelEncoder().encode_query(picture(1, 7)),
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
                found,
                evidence.EvidenceQuery(
                    vector=PixelEncoder().encode_query(picture(1, 7)),
                    contract=CONTRACT.digest,
                    search_filter=limits,
                    settings=EvidenceSettings(**options),
                ),
                reader,
            )
        return found, near, database.log

    return gather


def test_one_statement_brings_all_evidence_nearest_first(gather):
    candidates, near, log = gather()
    assert log == ["read", "evidence"]
    assert list(near) == [each.id for each in candidates]
    for each in candidates:
        own = near[each.id]
        assert len(own) == 5  # three views of both kinds, less the candidate itself
        assert {row.source_kind for row in own} == {"photo", "street"}
        assert each.id not in {row.id for row in own}
        assert [row.distance_m for row in own] == sorted(row.distance_m for row in own)


def test_nothing_is_asked_where_nothing_can_come(gather):
    assert gather(candidates=())[1:] == ({}, ["read"])
    candidates, near, log = gather(per_kind=0)
    assert log == ["read"]
    assert near == {each.id: () for each in candidates}


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
def test_limits_on_kind_source_and_time_hold_for_evidence(gather, limits, count):
    _, near, _ = gather(limits)
    assert {len(own) for own in near.values()} == count
    for row in (row for own in near.values() for row in own):
        assert not limits.source_kinds or row.source_kind in limits.source_kinds
        assert not limits.source_ids or row.source_id in limits.source_ids
        assert limits.captured_after is None or row.captured_at >= limits.captured_after
        assert limits.captured_before is None or row.captured_at < limits.captured_before
