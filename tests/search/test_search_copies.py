"""Identical files in several sources give one candidate, no evidence, and one citation of all."""

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
    search_context,
    view_pixels,
)
from search.test_search_flow import Stack

OTHER = UUID(int=77)


def with_keys(points):
    return [replace(point, content_key=f"{point.id.hex}") for point in points]


def copy_of(point, *, number=0, kind=None, moved_m=0.0):
    """The same bytes in another source, with a higher id, so that the original is kept."""
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
    return [replace(point, id=UUID(int=point.id.int & (2**127 - 1))) for point in points]


@pytest.fixture(scope="module")
def points():
    return with_keys(low_ids(gallery(places=12, views=6)))


def without_timings_and_copies(answer):
    """Text of an answer without its timings and without copies in citations."""
    citations = tuple(replace(citation, copies=()) for citation in answer.citations)
    with np.printoptions(threshold=0):
        return repr(replace(answer, timings_ms={}, citations=citations))


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", [0, 4, 9])
def test_locate_gallery_copied_to_other_sources_gives_the_same_answer(points, place, times):
    copied = [copy_of(point, number=number) for point in points for number in range(times)]
    photo = view_pixels(place, 777).tobytes()
    alone, doubled = Stack(points).locate(photo), Stack([*points, *copied]).locate(photo)
    assert without_timings_and_copies(doubled) == without_timings_and_copies(alone)
    assert alone.citations
    assert all(citation.copies == () for citation in alone.citations)
    for cited in doubled.citations:
        assert len(cited.copies) == times
        assert {copy.source_id for copy in cited.copies}.isdisjoint({cited.source_id})


def test_locate_file_in_a_photo_and_a_street_source_is_one_candidate_and_no_evidence(points):
    first = points[0]
    other = "street" if first.kind == "photo" else "photo"
    twin = copy_of(first, kind=other)
    answer = Stack([*points, twin]).locate(view_pixels(0, 0).tobytes())
    ids = [ranked.candidate.id for ranked in answer.ranked]
    assert first.id in ids
    assert twin.id not in ids
    assert all(near.id != twin.id for ranked in answer.ranked for near in ranked.evidence)
    cited = next(citation for citation in answer.citations if citation.image_id == first.id)
    assert [(copy.image_id, copy.source_id) for copy in cited.copies] == [(twin.id, twin.source_id)]


def test_evidence_copy_in_another_kind_counts_as_the_candidates_own_kind(points):
    """The candidate's source has the same file, so it is no evidence of another source."""
    near = [point for point in points if point.group == points[0].group]
    candidate, neighbor = near[0], near[1]
    other = "street" if neighbor.kind == "photo" else "photo"
    twin = copy_of(neighbor, kind=other)
    twin = replace(twin, id=UUID(int=1))  # it would win by its id
    rows_of = evidence_of_candidate([*points, twin], only=candidate.id)
    assert twin.id not in {row.id for row in rows_of[candidate.id]}
    assert neighbor.id in {row.id for row in rows_of[candidate.id]}


def test_evidence_limited_to_the_copys_source_keeps_the_copy(points):
    near = [point for point in points if point.group == points[0].group]
    candidate, neighbor = near[0], near[1]
    twin = copy_of(neighbor)
    limits = SearchFilter(source_ids=(twin.source_id,))
    rows_of = evidence_of_candidate([*points, twin], only=candidate.id, limits=limits)
    assert [row.id for row in rows_of[candidate.id]] == [twin.id]


def test_evidence_excluded_photo_does_not_come_back_as_its_copy(points):
    near = [point for point in points if point.group == points[0].group]
    candidate, neighbor = near[0], near[1]
    twin = copy_of(neighbor)
    vector = neighbor.vectors["image"]
    rows_of = evidence_of_candidate(
        [*points, twin],
        only=candidate.id,
        vector=vector,
        exclusions=Exclusions(near_duplicate_cosine=0.999),
    )
    assert {neighbor.id, twin.id}.isdisjoint({row.id for row in rows_of[candidate.id]})


def test_candidates_moved_copy_is_merged_and_the_better_score_stays(points):
    """The position of one copy was corrected; equal bytes still count as one photo."""
    worse = replace(points[3], vectors={"image": -points[3].vectors["image"]})
    twin = replace(copy_of(worse, moved_m=40_000.0), vectors=points[3].vectors)
    index = NumpyIndex([point for point in points if point.id != worse.id] + [worse, twin])
    candidates, _ = retrieve.retrieve_candidates(
        points[3].vectors["image"],
        SearchFilter(),
        search_context(index, settings=SearchSettings(candidates=200)),
        snapshot=index.info(),
    )
    assert twin.id in {candidate.id for candidate in candidates}
    assert worse.id not in {candidate.id for candidate in candidates}


def test_candidates_without_copies_ask_the_index_once(points):
    stack = Stack(points)
    stack.locate(view_pixels(2, 5).tobytes())
    assert len(stack.ports["index"].requests) == 1
    assert stack.ports["database"].log.count("evidence") == 1


def evidence_of_candidate(points, *, only, limits=None, vector=None, exclusions=None):
    """Evidence of both source kinds of one candidate."""
    index, database = NumpyIndex(points), DictDatabase(points)
    vector = PixelEncoder().encode_query(view_pixels(0, 1)) if vector is None else vector
    candidates, _ = retrieve.retrieve_candidates(
        vector,
        SearchFilter(),
        search_context(index, settings=SearchSettings(candidates=len(points))),
        snapshot=index.info(),
    )
    with database.read(US) as reader:
        return evidence.fetch_evidence(
            [candidate for candidate in candidates if candidate.id == only],
            evidence.EvidenceQuery(
                vector=vector,
                contract="d1g357",
                search_filter=limits or SearchFilter(source_kinds=SOURCE_KINDS),
                settings=EvidenceSettings(radius_m=5_000.0, per_kind=20),
            ),
            reader,
            exclusions,
        )
