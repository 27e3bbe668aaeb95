"""Searches without hidden images equal those of a gallery without them, or say that they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pinpoint.records import SearchFilter
from pinpoint.search import pipeline, visible_hits
from pinpoint.search.context import HiddenImages, QueryPhoto
from pinpoint.search.pipeline import SimilarRequest
from pinpoint.settings import SearchSettings
from search.in_memory import DictDatabase, NumpyIndex, gallery, search_context, view_pixels

PHOTO = QueryPhoto(data=view_pixels(3, 777).tobytes(), file="q.raw")
FEW = SearchSettings(candidates=2, oversampling=2)
"""Four hits of each kind."""


@pytest.fixture
def points():
    return gallery(places=10, views=5)


def hide(points, number):
    """Ids of the images that are most similar to the photo, of both kinds."""
    index = NumpyIndex(points)
    request = SimilarRequest(query=PHOTO, limit=200, per_group=200)
    result = pipeline.similar(request, SearchFilter(), search_context(index, None))
    hits = sorted((hit for group in result.groups for hit in group.hits), key=lambda hit: hit.order)
    return {hit.id for hit in hits[:number]}


def open_contexts(points, hidden):
    """A context that hides images, and one of a gallery that never had them."""
    reduced = [point for point in points if point.id not in hidden]
    hidden_images = HiddenImages(find=lambda ids: hidden & set(ids))
    contexts = [
        search_context(NumpyIndex(rows), DictDatabase(reduced), settings=FEW)
        for rows in (points, reduced)
    ]
    return replace(contexts[0], hidden_images=hidden_images), contexts[1]


def locate(context):
    return replace(pipeline.locate(PHOTO, SearchFilter(), context), timings_ms={})


def find_similar(context):
    request = SimilarRequest(query=PHOTO, limit=2, per_group=1)
    return replace(pipeline.similar(request, SearchFilter(), context), timings_ms={})


@pytest.mark.parametrize("search", [locate, find_similar])
@pytest.mark.parametrize("number", [0, 3, 20, 60])
def test_search_with_hidden_images_equals_that_of_a_gallery_without_them(points, search, number):
    context, reduced = open_contexts(points, hide(points, number))
    assert search(context) == search(reduced)
    assert not context.hidden_images.cut_searches


def test_search_ends_when_it_has_enough_visible_hits(points):
    context, _ = open_contexts(points, hide(points, 3))
    find_similar(context)
    # The second, larger one has hidden images too, but four visible ones before them.
    assert len(context.index.requests) == 2


@pytest.mark.parametrize("search", [locate, find_similar])
def test_search_that_is_cut_says_so(points, search, monkeypatch):
    monkeypatch.setattr(visible_hits, "MAX_SEARCHES", 1)
    context, _ = open_contexts(points, hide(points, 2))
    assert search(context).warnings == (visible_hits.CUT_SEARCH_WARNING,)
    monkeypatch.undo()
    monkeypatch.setattr(visible_hits, "MAX_HITS", 4)
    context, _ = open_contexts(points, hide(points, 4 * visible_hits.MAX_SEARCHES * 2 + 8))
    assert search(context).warnings == (visible_hits.CUT_SEARCH_WARNING,)
    # Fewer hidden images: the same limits suffice.
    context, reduced = open_contexts(points, hide(points, 8))
    assert search(context) == search(reduced)


def test_search_that_returns_the_whole_gallery_is_complete(points, monkeypatch):
    monkeypatch.setattr(visible_hits, "MAX_SEARCHES", 1)
    rows = points[:3]
    context, reduced = open_contexts(rows, {rows[0].id})
    assert locate(context) == locate(reduced)
