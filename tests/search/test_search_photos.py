"""Several photos of one place as one query."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pinpoint.errors import BadRequestError
from pinpoint.records import Crop, SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.candidates_and_evidence import encode_photos, list_distinct_photos
from pinpoint.search.context import QueryPhoto
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.vector_math import mean_direction
from search.in_memory import (
    DictDatabase,
    NumpyIndex,
    PixelDecoder,
    PixelEncoder,
    gallery,
    search_context,
    view_pixels,
)


def photo(place, view=777, noise=25.0, crop=None):
    return QueryPhoto(data=view_pixels(place, view, noise).tobytes(), file="q.raw", crop=crop)


def encode(*photos):
    return encode_photos(photos, PixelDecoder(), PixelEncoder(), Stopwatch())


def unit_vectors(seed, count):
    vectors = np.random.default_rng(seed).normal(size=(count, 48)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_mean_direction_equals_loop_and_has_the_highest_mean_cosine(seed):
    vectors = unit_vectors(seed, 4)
    mean = mean_direction(vectors)
    total = sum(vector.astype(float) for vector in vectors)
    np.testing.assert_allclose(mean, total / np.linalg.norm(total), atol=1e-7)
    assert mean.dtype == np.float32
    others = unit_vectors(seed + 100, 200)
    assert (vectors @ mean).mean() > (others @ vectors.T).mean(axis=1).max()


def test_mean_direction_does_not_depend_on_the_order():
    vectors = unit_vectors(1, 4)
    means = {mean_direction(vectors[list(o)]).tobytes() for o in itertools.permutations(range(4))}
    assert len(means) == 1


def test_mean_direction_of_opposite_vectors_is_0():
    vector = unit_vectors(2, 1)
    assert np.abs(mean_direction(np.concatenate([vector, -vector]))).max() == 0


def test_encode_photos_of_equal_photos_equals_one_photo():
    alone, repeated = encode(photo(3)), encode(photo(3), photo(3), photo(3))
    np.testing.assert_array_equal(alone.vector, repeated.vector)
    assert len(repeated.pixels) == 1
    fused = encode(photo(3), photo(3, view=5))
    assert len(fused.pixels) == 2
    assert not np.array_equal(fused.vector, alone.vector)


def test_list_distinct_photos_keeps_the_order_and_other_crops():
    whole, region = photo(1), photo(1, crop=Crop(0, 0, 40, 40))
    distinct = list_distinct_photos([photo(2), whole, region, photo(2), whole])
    assert distinct == [photo(2), whole, region]


def test_encode_photos_without_a_photo_is_rejected():
    with pytest.raises(BadRequestError, match="at least one photo"):
        encode()


def test_locate_several_noisy_photos_finds_places_that_one_photo_misses():
    points = gallery(places=12, views=3)
    context = search_context(NumpyIndex(points), DictDatabase(points))

    def share_of_correct(number):
        correct = 0
        for place in range(12):
            photos = [photo(place, view=900 + view, noise=400.0) for view in range(number)]
            answer = pipeline.locate(photos, SearchFilter(), context)
            best = max(answer.ranked, key=lambda entry: entry.candidate.score)
            correct += best.candidate.group in (f"photo-{place}", f"street-{place}")
        return correct / 12

    alone, fused = share_of_correct(1), share_of_correct(6)
    assert fused > alone
    assert fused >= 0.9


def test_locate_fused_query_does_not_depend_on_the_order_of_photos():
    points = gallery(places=6, views=2)
    context = search_context(NumpyIndex(points), DictDatabase(points))
    photos = [photo(2, view=view) for view in range(3)]
    weights = {
        tuple(
            (entry.candidate.id, entry.weight)
            for entry in pipeline.locate(order, SearchFilter(), context).ranked
        )
        for order in itertools.permutations(photos)
    }
    assert len(weights) == 1
