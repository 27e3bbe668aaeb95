"""Locate and similar from bytes to answer, over ports held in memory."""

from __future__ import annotations

import dataclasses
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
    picture,
)

STAGES = ["decode", "encode", "retrieve", "evidence", "rank", "decide", "total"]


class Stack:
    """All ports of a search over one gallery of two organizations."""

    def __init__(self, points):
        self.points = points
        self.ports = {
            "decoder": PixelDecoder(),
            "encoder": PixelEncoder(),
            "index": NumpyIndex(points),
            "database": DictDatabase(points),
            "settings": SearchSettings(candidates=16),
        }

    def locate(self, data, organization=US, **options):
        asked = {"file": "q.raw", "limits": SearchFilter(), "kind": None, **options}
        return pipeline.locate(data, organization_id=organization, **asked, **self.ports)

    def similar(self, data, organization=US, **options):
        asked = {"file": "q.raw", "limits": SearchFilter(), "limit": 5, **options}
        return pipeline.similar(data, organization_id=organization, **asked, **self.ports)


@pytest.fixture
def stack():
    theirs = gallery(places=6, views=2, organization=THEM, around=(-40.0, 20.0))
    return Stack([*gallery(places=12, views=3), *theirs])


def photo(place, view=777):
    return picture(place, view).tobytes()


def same(answer):
    """An answer without its timings, to compare."""
    bare = dataclasses.replace(answer, timings_ms={})
    with np.printoptions(threshold=0):  # abbreviates the vectors
        return repr(bare)


@pytest.mark.parametrize("place", range(0, 12, 3))
def test_a_photo_is_found_at_its_place_with_its_evidence(stack, place):
    answer = stack.locate(photo(place))
    home = stack.points[place * 6].point
    assert geodesic_m(answer.point, home) < 200
    assert [region.probability for region in answer.credible_discs] == [0.5, 0.9]
    assert answer.calibrated is False
    assert sum(each.weight for each in answer.ranked) == pytest.approx(1, abs=1e-12)
    assert {c.source_kind for c in answer.citations} == {"photo", "street"}
    assert all(c.distance_m < 1_100 for c in answer.citations)
    assert (answer.bundle, answer.bundle_digest) == (CONTRACT.name, CONTRACT.digest)
    assert (answer.bundle_note, answer.ranker) == (CONTRACT.note, "vote")
    assert (answer.index_engine, answer.index_build) == ("qdrant-edge", "b1")
    assert answer.num_candidates == len(answer.ranked) == 16


def test_one_index_request_and_one_read_per_question(stack):
    stack.locate(photo(1))
    assert len(stack.ports["index"].requests) == 1
    assert stack.ports["database"].log == ["read", "evidence", "images", "copies"]


def test_stages_are_timed(stack):
    timings = stack.locate(photo(1)).timings_ms
    assert list(timings) == STAGES
    assert all(ms >= 0 for ms in timings.values())
    assert sum(list(timings.values())[:-1]) <= timings["total"] + 0.01


def test_the_same_photo_gets_the_same_answer_fifty_times(stack):
    answers = set()
    for turn in range(50):
        if turn % 5 == 0:
            stack.locate(photo(turn % 12, view=turn))
        answers.add(same(stack.locate(photo(5))))
    assert len(answers) == 1


def test_the_order_of_the_gallery_does_not_matter(stack):
    mixed = Stack(stack.points[::-1])
    assert same(mixed.locate(photo(7))) == same(stack.locate(photo(7)))


def test_locating_a_vector_is_locating_the_photo(stack):
    vector = PixelEncoder().encode_query(picture(4, 777))
    encoded = pipeline.locate_encoded(
        vector,
        limits=SearchFilter(),
        organization_id=US,
        contract=CONTRACT,
        index=stack.ports["index"],
        database=stack.ports["database"],
        settings=stack.ports["settings"],
    )
    assert same(encoded) == same(stack.locate(photo(4)))
    assert list(encoded.timings_ms) == STAGES[2:]


def test_organizations_do_not_see_each_other(stack):
    theirs = {p.id for p in stack.points if p.organization_id == THEM}
    for organization, own in ((US, False), (THEM, True)):
        answer = stack.locate(photo(2), organization=organization)
        ids = {each.candidate.id for each in answer.ranked}
        ids |= {e.id for each in answer.ranked for e in each.evidence}
        ids |= {c.image_id for c in answer.citations}
        assert ids
        assert (ids <= theirs) == own
        assert bool(ids & theirs) == own


@pytest.mark.parametrize("organization", [US, UUID(int=99)])
def test_an_empty_gallery_answers_that_it_does_not_know(stack, organization):
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


def test_bytes_that_are_no_photo_are_refused_with_their_reason(stack):
    with pytest.raises(BadPhotoError, match=r"q\.raw: not pixels") as caught:
        stack.locate(b"hello")
    assert caught.value.reason == "undecodable"
    with pytest.raises(TooLargeError, match="too big") as caught:
        stack.similar(b"huge")
    assert caught.value.reason == "too_many_pixels"


def test_an_index_of_another_bundle_is_refused(stack):
    index = stack.ports["index"]
    index.state = dataclasses.replace(index.info(), contract="other")
    with pytest.raises(BadBundleError):
        stack.locate(photo(1))
    with pytest.raises(BadBundleError):
        stack.similar(photo(1))


def test_similar_to_a_photo_is_grouped(stack):
    page = stack.similar(photo(3), limit=4, per_group=2)
    assert {each.group for each in page.groups[:2]} == {"photo-3", "street-3"}
    assert len(page.groups) == 4
    assert all(1 <= len(each.hits) <= 2 for each in page.groups)
    best = [each.hits[0].score for each in page.groups]
    assert best == sorted(best, reverse=True)
    assert (page.bundle, page.index_build) == ("pixels", "b1")
    assert list(page.timings_ms) == ["decode", "encode", "retrieve", "total"]
    assert stack.ports["database"].log == []


def test_similar_to_an_image_leaves_out_itself_or_its_group_or_nothing(stack):
    own = stack.points[0]

    def found(**options):
        page = stack.similar(None, image_id=own.id, limit=6, **options)
        return [hit for each in page.groups for hit in each.hits]

    beside = found()
    assert own.id not in {hit.id for hit in beside}
    assert own.group in {hit.group for hit in beside}
    apart = found(exclude_group=True)
    assert own.group not in {hit.group for hit in apart}
    assert apart[0].group == "street-0"
    itself = found(include_self=True)
    assert itself[0].id == own.id
    assert itself[0].score == pytest.approx(1, abs=1e-6)


def test_similar_to_a_foreign_image_is_as_unknown_as_to_none(stack):
    theirs = next(p.id for p in stack.points if p.organization_id == THEM)
    for unknown in (theirs, UUID(int=12345)):
        with pytest.raises(NotFoundError):
            stack.similar(None, image_id=unknown)
    assert stack.similar(None, image_id=theirs, organization=THEM).groups


def test_similar_to_an_image_that_is_not_indexed_says_so(stack):
    own = stack.points[0]
    stack.ports["index"].points = stack.points[1:]
    with pytest.raises(ConflictError, match="not in the index") as caught:
        stack.similar(None, image_id=own.id)
    assert caught.value.reason == "not_indexed"


@pytest.mark.parametrize(
    "options", [{"data": None}, {"image_id": UUID(int=1)}, {"limit": 0}, {"per_group": 0}]
)
def test_questions_that_make_no_sense_are_refused(stack, options):
    with pytest.raises(BadRequestError):
        stack.similar(**{"data": photo(1), **options})


def test_limits_narrow_the_answer(stack):
    answer = stack.locate(photo(3), limits=SearchFilter(source_kinds=("street",)))
    assert {each.candidate.source_kind for each in answer.ranked} == {"street"}
    assert {c.source_kind for c in answer.citations} == {"street"}
