"""Search by text, photo, image, point and mixtures, against loops over all images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pinpoint.errors import BadRequestError, UnsupportedQueryError
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Box, Point, SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.search.gallery_search import SearchRequest, search_gallery
from pinpoint.search.query_vector import GalleryQuery, mix_vectors
from search.in_memory import (
    CONTRACT,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    search_context,
    view_pixels,
)

DIM = len(PixelEncoder().encode_query(view_pixels(0)))
PHOTO = QueryPhoto(data=view_pixels(3, 777).tobytes(), file="q.raw")


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class JointEncoder(PixelEncoder):
    """Encodes texts and positions as seeded vectors."""

    def encode_texts(self, texts):
        return np.stack([unit(sum(map(ord, text))) for text in texts])

    def encode_positions(self, positions):
        return np.stack([unit(int(abs(lat * 1e3 + lon))) for lat, lon in positions])


@pytest.fixture
def points():
    return gallery(places=12, views=3)


@pytest.fixture
def context(points):
    contract = replace(CONTRACT, dims={**CONTRACT.dims, "gps": DIM})
    return search_context(NumpyIndex(points), DictDatabase(points), encoder=JointEncoder(contract))


def search(context, search_filter=SearchFilter(), limit=30, per_group=3, **query):  # noqa: B008
    request = SearchRequest(query=GalleryQuery(**query), limit=limit, per_group=per_group)
    return search_gallery(request, search_filter, context)


def rank_by_loop(points, query, excluded=()):
    """All images by their cosine, in groups, one at a time."""
    groups = defaultdict(list)
    for point in points:
        if point.id not in excluded:
            score = sum(float(a) * float(b) for a, b in zip(point.vectors["image"], query))  # noqa: B905
            groups[point.group].append((-round(score, 5), point.id.int))
    pages = sorted(sorted(members)[:3] for members in groups.values())
    return [[score for score, _ in members] for members in pages[:30]]


def scores_of(result):
    return [[-round(hit.score, 5) for hit in group.hits] for group in result.groups]


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ({}, ("text", "photo", "image", "point")),
        ({"text": 3.0, "photo": 1.0}, ("text", "photo")),
        ({"photo": 0.25, "point": 0.0}, ("photo", "point")),
        ({"image": 2.0}, ("image", "text")),
    ],
)
def test_mixture_ranks_as_a_loop(points, context, weights, parts):
    images = [points[0], points[40]]
    query: dict[str, dict[str, Any]] = {
        "text": {"texts": ["a red door", "snow"]},
        "photo": {"photos": [PHOTO]},
        "image": {"image_ids": [image.id for image in images]},
        "point": {"point": Point(48.0, 2.0)},
    }
    encoder = context.encoder
    mean_text = encoder.encode_texts(["a red door", "snow"]).astype(np.float64).mean(axis=0)
    mean_image = np.mean([image.vectors["image"].astype(np.float64) for image in images], axis=0)
    vectors = {
        "text": mean_text / np.linalg.norm(mean_text),
        "photo": encoder.encode_query(view_pixels(3, 777)),
        "image": mean_image / np.linalg.norm(mean_image),
        "point": encoder.encode_positions([(48.0, 2.0)])[0],
    }
    fields: dict[str, Any] = {name: value for part in parts for name, value in query[part].items()}
    result = search(context, weights=weights, **fields)
    total = np.zeros(DIM)
    for part in parts:
        total += weights.get(part, 1.0) * vectors[part].astype(np.float64)
    excluded = {image.id for image in images} if "image" in parts else set()
    expected = rank_by_loop(points, total / np.linalg.norm(total), excluded)
    for group, members in zip(scores_of(result), expected, strict=True):
        assert group == pytest.approx(members, abs=2e-5)
    assert sum(result.weights.values()) == pytest.approx(1)
    assert set(result.weights) == set(parts)


def test_search_for_one_photo_or_image_equals_similar(points, context):
    for query, similar_query in (
        ({"photos": [PHOTO]}, PHOTO),
        ({"image_ids": [points[5].id]}, points[5].id),
    ):
        request = pipeline.SimilarRequest(query=similar_query, limit=30)
        similar = pipeline.similar(request, SearchFilter(), context)
        assert search(context, **query).groups == similar.groups


def test_weights_are_scale_free_and_checked(context):
    first = search(context, texts=["a"], photos=[PHOTO], weights={"text": 1.0, "photo": 3.0})
    second = search(context, texts=["a"], photos=[PHOTO], weights={"text": 10.0, "photo": 30.0})
    assert first.groups == second.groups
    with pytest.raises(BadRequestError, match="weight of point, but no point"):
        search(context, texts=["a"], weights={"point": 1.0})
    with pytest.raises(UnsupportedQueryError, match="positive sum"):
        search(context, texts=["a"], weights={"text": 0.0})
    with pytest.raises(BadRequestError, match="at least one"):
        search(context)


def test_mix_of_opposite_vectors_is_refused():
    with pytest.raises(UnsupportedQueryError, match="cancel"):
        mix_vectors([unit(1), -unit(1)], [0.5, 0.5])


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize("kinds", [(), ("street",)])
def test_point_without_location_encoder_finds_the_nearest(points, limit, kinds):
    here, box = Point(48.9, 2.4), Box(south=-90, west=-180, north=90, east=2.5)
    context = search_context(NumpyIndex(points), DictDatabase(points))
    search_filter = SearchFilter(box=box, source_kinds=kinds)
    result = search(context, search_filter, limit=limit, point=here)
    passing = [
        point for point in points if point.point.lon <= 2.5 and (not kinds or point.kind in kinds)
    ]
    nearest = defaultdict(list)
    for point in sorted(passing, key=lambda point: geodesic_m(point.point, here)):
        nearest[point.group].append(geodesic_m(point.point, here))
    expected = [distances[0] for distances in nearest.values()][:limit]
    actual = [geodesic_m(group.hits[0].point, here) for group in result.groups]
    assert actual == pytest.approx(expected, rel=1e-2, abs=1.0)
    assert result.by_distance


def test_point_without_location_encoder_cannot_be_mixed(points):
    context = search_context(NumpyIndex(points), DictDatabase(points))
    with pytest.raises(UnsupportedQueryError, match="no location encoder"):
        search(context, photos=[PHOTO], point=Point(1.0, 2.0))
