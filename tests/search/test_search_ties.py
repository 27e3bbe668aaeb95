"""Ties are broken by content: the same images under other ids give the same answer."""

from __future__ import annotations

import dataclasses
import random
from uuid import UUID

import numpy as np
import pytest
import torch

from media.pictures import saved
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.settings import SearchSettings
from search.in_memory import (
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    search_context,
    view_pixels,
)
from search.synthetic_views import view
from stack_fixtures import ServiceHarness

PLACES = 6


def tied_gallery():
    """Several images share each vector, and all images of a place share its position."""
    points = gallery(places=PLACES, views=6)
    by_place = {}
    for number, point in enumerate(points):
        first = by_place.setdefault(point.group.split("-")[1], point)
        yield dataclasses.replace(
            point,
            point=first.point,
            group=f"g{number}",
            content_key=f"{number * 7919 % 997:032x}",
            vectors={"image": points[number - number % 3].vectors["image"]},
        )


def with_random_ids(points, seed):
    draws = random.Random(seed)
    return [dataclasses.replace(point, id=UUID(int=draws.getrandbits(128))) for point in points]


def describe_by_content(points, answer):
    """Everything that ranking computes, with content keys in place of ids."""
    contents = {point.id: point.content_key for point in points}
    return [
        (
            contents[ranked.candidate.id],
            ranked.candidate.rank,
            ranked.weight,
            ranked.evidence_share,
            ranked.rerank_logit,
            [contents[photo.id] for photo in ranked.evidence],
            ranked.similarities,
        )
        for ranked in answer.ranked
    ]


@pytest.mark.parametrize("place", range(PLACES))
def test_locate_is_independent_of_ids(place):
    vector = PixelEncoder().encode_query(view_pixels(place, 777))
    settings = SearchSettings(candidates=12, dedupe_m=0.0, evidence_per_kind=4)
    described = []
    for seed in range(4):
        points = with_random_ids(tied_gallery(), seed)
        random.Random(seed).shuffle(points)
        context = search_context(NumpyIndex(points), DictDatabase(points), settings=settings)
        answer = pipeline.locate_encoded(vector, SearchFilter(), context)
        described.append((answer.point, describe_by_content(points, answer)))
    assert len(described[0][1]) == 12
    assert all(other == described[0] for other in described[1:])


@pytest.mark.timeout(300)
def test_rerank_logits_are_equal_in_two_organizations(database_url, api_database_url, tmp_path):
    """Two organizations have the same photos under other ids, four at each position."""
    torch.set_num_threads(1)
    harness = ServiceHarness(
        database_url, api_database_url, tmp_path / "harness", bundle="world-tiny"
    )
    folder = tmp_path / "in"
    folder.mkdir()
    lines = ["file,latitude,longitude"]
    for number in range(24):
        (folder / f"{number}.jpg").write_bytes(saved(view(number // 4, number), quality=90))
        lines.append(f"{number}.jpg,{48.0 + number // 4 * 0.01},{2.0 + number // 8 * 0.01}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    described = []
    try:
        for name in ("first", "second", "third"):
            organization_id = harness.organization(name)
            assert harness.ingest(folder / "manifest.csv", organization_id).indexed == 24
            ids = [row[0] for row in harness.index.scroll(None, 100, organization_id)]
            points = harness.index.fetch(ids, vectors=True)
            context = harness.search_context(
                organization_id,
                reranker=harness.encoder.reranker,
                settings=SearchSettings(candidates=16, dedupe_m=0.0),
            )
            photo = QueryPhoto(data=saved(view(2, 99)), file="q.jpg", kind="photo")
            answer = pipeline.locate(photo, SearchFilter(), context)
            assert answer.ranker == "rerank"
            vectors = {point.content_key: point.vectors["image"] for point in points}
            described.append((vectors, describe_by_content(points, answer)))
    finally:
        harness.close()
    (vectors, first), *others = described
    assert any(logit is not None for *_, logit, _, _ in first)
    for other_vectors, other in others:
        assert all(np.array_equal(other_vectors[key], vectors[key]) for key in vectors)
        assert other == first
