"""Candidates: one request, a quota for both kinds, no dominant group; and groups of `similar`."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.errors import BadBundleError, IndexUnavailableError
from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import destination
from pinpoint.records import Circle, Hit, Point, SearchFilter
from pinpoint.search import consistency, grouping, retrieve
from pinpoint.search.candidate_slots import CandidateSlots
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    THEM,
    US,
    NumpyIndex,
    PixelEncoder,
    gallery,
    search_context,
    view_pixels,
)

SETTINGS = SearchSettings(candidates=12, oversampling=2, dedupe_m=25)


@pytest.fixture(scope="module")
def points():
    return gallery(places=10, views=4) + gallery(places=10, views=2, organization=THEM)


@pytest.fixture
def index(points):
    return NumpyIndex(points)


def ask(index, vector=None, limits=SearchFilter(), settings=SETTINGS):  # noqa: B008
    if vector is None:
        vector = PixelEncoder().encode_query(view_pixels(3, 50))
    candidates, exclusions = retrieve.retrieve_candidates(
        vector, limits, search_context(index, settings=settings), snapshot=index.info()
    )
    assert exclusions is None
    return candidates


def hit(number, score, kind="photo", group=None, point=None):
    return Hit(
        id=UUID(int=number),
        score=score,
        version=1,
        source_id=UUID(int=1),
        kind=kind,
        point=point or Point(0, 0),
        captured_at=None,
        group=group or str(number),
    )


def test_retrieve_sends_one_request_for_all_kinds(index):
    candidates = ask(index)
    (queries,) = index.requests
    assert [q.filter.source_kinds for q in queries] == [("photo",), ("street",)]
    assert {q.filter.organization_id for q in queries} == {US}
    assert {q.limit for q in queries} == {24}
    assert [candidate.rank for candidate in candidates] == list(range(len(candidates)))
    assert [candidate.score for candidate in candidates] == sorted(
        (e.score for e in candidates), reverse=True
    )
    ours = {p.id for p in index.points if p.organization_id == US}
    assert {candidate.id for candidate in candidates} <= ours
    assert len(candidates) == 12


def test_retrieve_sends_search_filter_with_every_query(index):
    circle = Circle(center=index.points[0].point, radius_m=5_000.0)
    candidates = ask(index, limits=SearchFilter(source_kinds=("street",), circle=circle))
    (queries,) = index.requests
    assert [q.filter.source_kinds for q in queries] == [("street",)]
    assert queries[0].filter.circle == circle
    assert candidates
    assert all(
        geodesic_m(candidate.point, circle.center) <= 5_000 and candidate.source_kind == "street"
        for candidate in candidates
    )


def test_retrieve_empty_index_is_not_queried():
    index = NumpyIndex([])
    assert ask(index) == ()
    assert index.requests == []


def test_retrieve_lower_scoring_kind_keeps_its_quota(points):
    # Street vectors are scaled down: their cosines are all below those of the photos.
    dimmed = [
        replace(p, vectors={"image": p.vectors["image"] * (0.01 if p.kind == "street" else 1)})
        for p in points
    ]
    kinds = [candidate.source_kind for candidate in ask(NumpyIndex(dimmed))]
    assert kinds.count("street") >= 3


scores = st.lists(st.integers(0, 20).map(lambda n: n / 20), max_size=12)


@given(scores, scores, st.integers(1, 16))
def test_merge_channels_keeps_best_of_each_kind(photo, street, limit):
    answers = [
        retrieve.sort_hits(hit(i, s, "photo") for i, s in enumerate(photo)),
        retrieve.sort_hits(hit(100 + i, s, "street") for i, s in enumerate(street)),
    ]
    slots = CandidateSlots(candidates=limit, gps_quota=0)
    merged = retrieve.merge_channels(answers, slots=slots, dedupe_m=0.0)
    assert len(merged) == min(limit, len(photo) + len(street))
    assert merged == retrieve.sort_hits(merged)
    for hits, kind in zip(answers, ("photo", "street"), strict=True):
        kept = [h for h in merged if h.kind == kind]
        assert kept == hits[: len(kept)], "the best of each kind are kept"
        assert len(kept) >= min(limit // 4, len(hits))


def deduplicate_by_loop(hits, nearer_than_m):
    kept = []
    for hit in hits:
        clash = [k for k in kept if k.group == hit.group and distance(k, hit) < nearer_than_m]
        if not clash:
            kept.append(hit)
    return kept


def distance(a, b):
    return haversine_m(np.array([a.point.lat, a.point.lon]), np.array([b.point.lat, b.point.lon]))


@pytest.mark.parametrize("seed", range(10))
def test_merge_channels_deduplicates_groups_within_distance(seed):
    rng = np.random.default_rng(seed)
    places = destination(
        np.full((60, 2), [5.0, 179.9999]), rng.uniform(0, 360, 60), rng.uniform(0, 80, 60)
    )
    hits = retrieve.sort_hits(
        hit(i, round(float(rng.uniform()), 2), group=f"g{i % 4}", point=Point(*place))
        for i, place in enumerate(places.tolist())
    )
    slots = CandidateSlots(candidates=len(hits), gps_quota=0)
    kept = retrieve.merge_channels([hits], slots=slots, dedupe_m=25.0)
    assert kept == deduplicate_by_loop(hits, 25.0)
    assert len(kept) < 60
    for a, b in combinations(kept, 2):
        assert a.group != b.group or distance(a, b) >= 25.0
    assert retrieve.merge_channels([hits], slots=slots, dedupe_m=0.0) == hits


def test_sort_hits_equal_scores_are_ordered_by_id():
    hits = [hit(i, 0.5 + noise) for i, noise in [(3, 1e-9), (1, 0.0), (2, -1e-9)]]
    assert [h.id.int for h in retrieve.sort_hits(hits)] == [1, 2, 3]


def test_require_same_model_other_bundle_or_loading_index_is_rejected(index):
    info = index.info()
    assert consistency.require_same_model(index, CONTRACT) == info
    index.state = replace(info, contract="other")
    with pytest.raises(BadBundleError, match="built for bundle other"):
        consistency.require_same_model(index, CONTRACT)
    index.state = replace(info, ready=False, loading="30 %")
    with pytest.raises(IndexUnavailableError, match="30 %"):
        consistency.require_same_model(index, CONTRACT)
    index.state = replace(info, contract=None, points=0)
    assert consistency.require_same_model(index, CONTRACT).points == 0


def test_consistent_snapshots_retry_after_index_swap(index):
    first = index.info()
    second = replace(first, build="the next build")
    snapshots = []
    for snapshot in consistency.consistent_snapshots(index, CONTRACT):
        snapshots.append(snapshot)
        index.state = second  # the swap falls between the name and the hits
    assert snapshots == [first, second]


def group_query(index, limit, per_group, settings=SETTINGS):
    return grouping.group_hits(
        PixelEncoder().encode_query(view_pixels(3, 50)),
        retrieve.to_index_filter(US, SearchFilter()),
        search_context(index, settings=settings),
        snapshot=index.info(),
        limit=limit,
        per_group=per_group,
    )


def test_group_hits_returns_best_groups_and_their_best_hits(index, points):
    vector = PixelEncoder().encode_query(view_pixels(3, 50))
    page = group_query(index, limit=5, per_group=2)
    best = {}
    for p in points:
        if p.organization_id == US:
            best.setdefault(p.group, []).append(float(p.vectors["image"] @ vector))
    slow = sorted(best, key=lambda name: -max(best[name]))[:5]
    assert [group.group for group in page] == slow
    for group in page[:2]:
        assert [h.score for h in group.hits] == pytest.approx(sorted(best[group.group])[::-1][:2])


def test_group_hits_large_sequence_does_not_hide_others(points):
    flood = [
        replace(p, id=UUID(int=n), group="flood", vectors={"image": points[24].vectors["image"]})
        for n, p in enumerate([points[24]] * 100)
    ]
    index = NumpyIndex([*flood, *points])
    page = group_query(index, limit=4, per_group=2)
    assert len(page) == 4
    assert len({group.group for group in page}) == 4
    assert all(len(group.hits) <= 2 for group in page)
    assert len(index.requests) == 2
    assert group_query(NumpyIndex([]), limit=4, per_group=2) == ()
