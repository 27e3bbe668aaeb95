"""Locate and similar from bytes to answer, over in-memory ports."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from pinpoint.errors import (
    BadBundleError,
    BadPhotoError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    TooLargeError,
)
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    THEM,
    US,
    DictDatabase,
    NumpyIndex,
    PixelDecoder,
    PixelEncoder,
    gallery,
    view_pixels,
)

STAGES = ["decode", "encode", "retrieve", "evidence", "rank", "decide", "total"]


class Stack:
    """All ports of a search over one gallery of two organizations."""

    def __init__(self, points):
        self.points = points
        self.ports: dict[str, Any] = {
            "decoder": PixelDecoder(),
            "encoder": PixelEncoder(),
            "index": NumpyIndex(points),
            "database": DictDatabase(points),
            "settings": SearchSettings(candidates=16),
        }

    def locate(self, data, organization=US, limits=SearchFilter(), **options):  # noqa: B008
        return pipeline.locate(
            QueryPhoto(data=data, file="q.raw"), limits, self.context(organization), **options
        )

    def similar(self, query, organization=US, **options):
        if isinstance(query, bytes):
            query = QueryPhoto(data=query, file="q.raw")
        request = pipeline.SimilarRequest(query=query, **{"limit": 5, **options})
        return pipeline.similar(request, SearchFilter(), self.context(organization))

    def context(self, organization=US):
        return SearchContext(organization_id=organization, **self.ports)


@pytest.fixture
def stack():
    theirs = gallery(places=6, views=2, organization=THEM, around=(-40.0, 20.0))
    return Stack([*gallery(places=12, views=3), *theirs])


def photo(place, view=777):
    return view_pixels(place, view).tobytes()


def comparable(answer):
    """Text of an answer without its timings, for comparison."""
    untimed = dataclasses.replace(answer, timings_ms={})
    with np.printoptions(threshold=0):  # abbreviates the vectors
        return repr(untimed)


@pytest.mark.parametrize("place", range(0, 12, 3))
def test_locate_photo_gives_position_and_evidence(stack, place):
    answer = stack.locate(photo(place))
    expected = stack.points[place * 6].point
    assert geodesic_m(answer.point, expected) < 200
    assert [region.probability for region in answer.credible_discs] == [0.5, 0.9]
    assert answer.calibrated is False
    assert sum(ranked.weight for ranked in answer.ranked) == pytest.approx(1, abs=1e-12)
    assert {c.source_kind for c in answer.citations} == {"photo", "street"}
    assert all(c.distance_m < 1_100 for c in answer.citations)
    assert (answer.bundle, answer.bundle_digest) == (CONTRACT.name, CONTRACT.digest)
    assert (answer.bundle_note, answer.ranker) == (CONTRACT.note, "vote")
    assert (answer.index_engine, answer.index_build) == ("qdrant-edge", "b1")
    assert answer.num_candidates == len(answer.ranked) == 16


def test_locate_needs_one_index_request_and_one_read(stack):
    stack.locate(photo(1))
    assert len(stack.ports["index"].requests) == 1
    assert stack.ports["database"].log == ["read", "evidence", "images", "copies"]


def test_locate_stages_are_timed(stack):
    timings = stack.locate(photo(1)).timings_ms
    assert list(timings) == STAGES
    assert all(ms >= 0 for ms in timings.values())
    assert sum(list(timings.values())[:-1]) <= timings["total"] + 0.01


def test_locate_same_photo_repeatedly_gives_same_answer(stack):
    answers = set()
    for turn in range(50):
        if turn % 5 == 0:
            stack.locate(photo(turn % 12, view=turn))
        answers.add(comparable(stack.locate(photo(5))))
    assert len(answers) == 1


def test_locate_is_independent_of_gallery_order(stack):
    mixed = Stack(stack.points[::-1])
    assert comparable(mixed.locate(photo(7))) == comparable(stack.locate(photo(7)))


def test_locate_encoded_equals_locate(stack):
    vector = PixelEncoder().encode_query(view_pixels(4, 777))
    encoded = pipeline.locate_encoded(vector, SearchFilter(), stack.context())
    assert comparable(encoded) == comparable(dataclasses.replace(stack.locate(photo(4)), claims=()))
    assert list(encoded.timings_ms) == STAGES[2:]


def test_locate_uses_own_organization_only(stack):
    theirs = {p.id for p in stack.points if p.organization_id == THEM}
    for organization, is_theirs in ((US, False), (THEM, True)):
        answer = stack.locate(photo(2), organization=organization)
        ids = {ranked.candidate.id for ranked in answer.ranked}
        ids |= {e.id for ranked in answer.ranked for e in ranked.evidence}
        ids |= {c.image_id for c in answer.citations}
        assert ids
        assert (ids <= theirs) == is_theirs
        assert bool(ids & theirs) == is_theirs


@pytest.mark.parametrize("organization", [US, UUID(int=99)])
def test_locate_empty_gallery_gives_no_position(stack, organization):
    empty = Stack([]) if organization == US else stack
    answer = empty.locate(photo(1), organization=organization)
    assert (answer.point, answer.credible_discs, answer.ranked, answer.citations) == (
        None,
        (),
        (),
        (),
    )
    assert answer.num_candidates == 0
    assert empty.similar(photo(1), organization=organization).groups == ()


def test_locate_invalid_photo_is_rejected_with_reason(stack):
    with pytest.raises(BadPhotoError, match=r"q\.raw: not pixels") as caught:
        stack.locate(b"hello")
    assert caught.value.reason == "undecodable"
    with pytest.raises(TooLargeError, match="too big") as too_large:
        stack.similar(b"huge")
    assert too_large.value.reason == "too_many_pixels"


def test_locate_index_of_another_bundle_is_rejected(stack):
    index = stack.ports["index"]
    index.state = dataclasses.replace(index.info(), contract="other")
    with pytest.raises(BadBundleError):
        stack.locate(photo(1))
    with pytest.raises(BadBundleError):
        stack.similar(photo(1))


def test_similar_to_photo_is_grouped(stack):
    page = stack.similar(photo(3), limit=4, per_group=2)
    assert {group.group for group in page.groups[:2]} == {"photo-3", "street-3"}
    assert len(page.groups) == 4
    assert all(1 <= len(group.hits) <= 2 for group in page.groups)
    best = [group.hits[0].score for group in page.groups]
    assert best == sorted(best, reverse=True)
    assert (page.bundle, page.index_build) == ("pixels", "b1")
    assert list(page.timings_ms) == ["decode", "encode", "retrieve", "total"]
    assert stack.ports["database"].log == []


def test_similar_to_image_excludes_itself_or_its_group(stack):
    image = stack.points[0]

    def hits_of(**options):
        page = stack.similar(image.id, limit=6, **options)
        return [hit for group in page.groups for hit in group.hits]

    without_self = hits_of()
    assert image.id not in {hit.id for hit in without_self}
    assert image.group in {hit.group for hit in without_self}
    without_group = hits_of(exclude_group=True)
    assert image.group not in {hit.group for hit in without_group}
    assert without_group[0].group == "street-0"
    with_self = hits_of(include_self=True)
    assert with_self[0].id == image.id
    assert with_self[0].score == pytest.approx(1, abs=1e-6)


def test_similar_to_foreign_or_unknown_image_is_not_found(stack):
    theirs = next(p.id for p in stack.points if p.organization_id == THEM)
    for unknown in (theirs, UUID(int=12345)):
        with pytest.raises(NotFoundError):
            stack.similar(unknown)
    assert stack.similar(theirs, organization=THEM).groups


def test_similar_to_unindexed_image_is_a_conflict(stack):
    image = stack.points[0]
    stack.ports["index"].points = stack.points[1:]
    with pytest.raises(ConflictError, match="not in the index") as caught:
        stack.similar(image.id)
    assert caught.value.reason == "not_indexed"


@pytest.mark.parametrize("options", [{"limit": 0}, {"per_group": 0}])
def test_similar_invalid_limits_are_rejected(stack, options):
    with pytest.raises(BadRequestError):
        stack.similar(photo(1), **options)


def test_locate_applies_search_filter(stack):
    answer = stack.locate(photo(3), limits=SearchFilter(source_kinds=("street",)))
    assert {ranked.candidate.source_kind for ranked in answer.ranked} == {"street"}
    assert {c.source_kind for c in answer.citations} == {"street"}
