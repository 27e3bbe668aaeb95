"""Identical bytes in several sources: one vote, never evidence of another source, all named."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

import numpy as np
import pytest

from pinpoint.geo.points import destination
from pinpoint.records import SOURCE_KINDS, Exclusions, Point, SearchFilter
from pinpoint.search import evidence, retrieve
from pinpoint.search.context import EvidenceSettings
from pinpoint.settings import SearchSettings
from search.in_memory import (
    US,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    picture,
    search_context,
)
from search.test_search_flow import Stack

OTHER = UUID(int=77)


def with_keys(points):
    return [replace(each, content_key=f"{each.id.hex}") for each in points]


def copy_of(point, *, number=0, kind=None, moved_m=0.0):
    """The same bytes in another source; its id is higher, so that the first one is kept."""
    place = np.array([point.point.lat, point.point.lon])
    lat, lon = (destination(place, 90.0, moved_m) if moved_m else place).tolist()
    return replace(
        point,
        id=UUID(int=(2**127 | uuid5(OTHER, f"{number}/{point.id}").int)),
        source_id=uuid5(OTHER, f"source {number}"),
        kind=kind or point.kind,
        point=Point(lat, lon),
        group=f"{point.group} again {number}",
    )


def low_ids(points):
    return [replace(each, id=UUID(int=each.id.int & (2**127 - 1))) for each in points]


@pytest.fixture(scope="module")
def points():
    return with_keys(low_ids(gallery(places=12, views=6)))


def plain(answer):
    """An answer without timings and the copies that it names."""
    citations = tuple(replace(each, copies=()) for each in answer.citations)
    with np.printoptions(threshold=0):
        return repr(replace(answer, timings_ms={}, citations=citations))


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", [0, 4, 9])
def test_locate_gallery_copied_to_other_sources_gives_the_same_answer(points, place, times):
    copied = [copy_of(each, number=number) for each in points for number in range(times)]
    photo = picture(place, 777).tobytes()
    alone, doubled = Stack(points).locate(photo), Stack([*points, *copied]).locate(photo)
    assert plain(doubled) == plain(alone)
    assert alone.citations
    assert all(each.copies == () for each in alone.citations)
    for cited in doubled.citations:
        assert len(cited.copies) == times
        assert {each.source_id for each in cited.copies}.isdisjoint({cited.source_id})


def test_locate_file_in_a_photo_and_a_street_source_is_one_candidate_and_no_evidence(points):
    first = points[0]
    other = "street" if first.kind == "photo" else "photo"
    twin = copy_of(first, kind=other)
    answer = Stack([*points, twin]).locate(picture(0, 0).tobytes())
    ids = [each.candidate.id for each in answer.ranked]
    assert first.id in ids
    assert twin.id not in ids
    assert all(near.id != twin.id for each in answer.ranked for near in each.evidence)
    cited = next(each for each in answer.citations if each.image_id == first.id)
    assert [(each.image_id, each.source_id) for each in cited.copies] == [(twin.id, twin.source_id)]


def test_evidence_copy_in_another_kind_counts_as_the_candidates_own_kind(points):
    """A file that the candidate's own source holds too is no word of another source."""
    near = [each for each in points if each.group == points[0].group]
    asked, seen = near[0], near[1]
    other = "street" if seen.kind == "photo" else "photo"
    twin = copy_of(seen, kind=other)
    twin = replace(twin, id=UUID(int=1))  # it would win by its id
    found = gathered([*points, twin], only=asked.id)
    assert twin.id not in {row.id for row in found[asked.id]}
    assert seen.id in {row.id for row in found[asked.id]}


def test_evidence_limited_to_the_copys_source_keeps_the_copy(points):
    near = [each for each in points if each.group == points[0].group]
    asked, seen = near[0], near[1]
    twin = copy_of(seen)
    limits = SearchFilter(source_ids=(twin.source_id,))
    found = gathered([*points, twin], only=asked.id, limits=limits)
    assert [row.id for row in found[asked.id]] == [twin.id]


def test_evidence_excluded_photo_does_not_come_back_as_its_copy(points):
    near = [each for each in points if each.group == points[0].group]
    asked, seen = near[0], near[1]
    twin = copy_of(seen)
    vector = seen.vectors["image"]
    found = gathered(
        [*points, twin],
        only=asked.id,
        vector=vector,
        exclusions=Exclusions(near_duplicate_cosine=0.999),
    )
    assert {seen.id, twin.id}.isdisjoint({row.id for row in found[asked.id]})


def test_candidates_moved_copy_is_merged_and_the_better_score_stays(points):
    """A correction moved one copy; the bytes are the same, so it is still one photo."""
    worse = replace(points[3], vectors={"image": -points[3].vectors["image"]})
    twin = replace(copy_of(worse, moved_m=40_000.0), vectors=points[3].vectors)
    index = NumpyIndex([each for each in points if each.id != worse.id] + [worse, twin])
    found, _ = retrieve.retrieve_candidates(
        points[3].vectors["image"],
        SearchFilter(),
        search_context(index, settings=SearchSettings(candidates=200)),
        snapshot=index.info(),
    )
    assert twin.id in {each.id for each in found}
    assert worse.id not in {each.id for each in found}


def test_candidates_without_copies_ask_the_index_once(points):
    stack = Stack(points)
    stack.locate(picture(2, 5).tobytes())
    assert len(stack.ports["index"].requests) == 1
    assert stack.ports["database"].log.count("evidence") == 1


def gathered(points, *, only, limits=None, vector=None, exclusions=None):
    """Evidence of one candidate of both kinds."""
    index, database = NumpyIndex(points), DictDatabase(points)
    vector = PixelEncoder().encode_query(picture(0, 1)) if vector is None else vector
    found, _ = retrieve.retrieve_candidates(
        vector,
        SearchFilter(),
        search_context(index, settings=SearchSettings(candidates=len(points))),
        snapshot=index.info(),
    )
    with database.read(US) as reader:
        return evidence.fetch_evidence(
            [each for each in found if each.id == only],
            evidence.EvidenceQuery(
                vector=vector,
                contract="d1g357",
                search_filter=limits or SearchFilter(source_kinds=SOURCE_KINDS),
                settings=EvidenceSettings(radius_m=5_000.0, per_kind=20),
            ),
            reader,
            exclusions,
        )
