"""Locate over a bundle's coordinate gallery: against a loop, and within search filters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from pinpoint.errors import BadPhotoError, BadRequestError, ConflictError
from pinpoint.geo.distance import haversine_m
from pinpoint.records import Box, Circle, CoordinateGallery, Point, Polygon, SearchFilter
from pinpoint.search import coordinate_pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.settings import SearchSettings
from search.in_memory import PixelDecoder, PixelEncoder, view_pixels

COUNT, TEMPERATURE = 400, 12.0


def coordinate_gallery(seed=0):
    """Coordinates with random vectors: every tenth is duplicated, and ten are in one city."""
    rng = np.random.default_rng(seed)
    positions = np.column_stack([rng.uniform(-80, 80, COUNT), rng.uniform(-180, 180, COUNT)])
    positions[50:60] = rng.uniform((48.83, 2.33), (48.87, 2.37), (10, 2))
    vectors = rng.normal(0, 1, (COUNT, 192))
    positions[1::10], vectors[1::10] = positions[::10], vectors[::10]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return CoordinateGallery(
        positions=positions,
        vectors=vectors.astype(np.float32),
        temperature=TEMPERATURE,
        digest="ab" * 32,
    )


@dataclass
class CoordinateEncoder(PixelEncoder):
    gallery: CoordinateGallery | None = None

    def coordinate_gallery(self):
        return self.gallery


def ask(gallery, seed=3, settings=None, **limits):
    return coordinate_pipeline.locate_by_coordinates(
        QueryPhoto(data=view_pixels(seed).tobytes(), file="q.jpg"),
        SearchFilter(**limits),
        decoder=PixelDecoder(),
        encoder=CoordinateEncoder(gallery=gallery),
        settings=settings or SearchSettings(),
    )


def by_loop(gallery, seed=3, inside=lambda point: True):
    """`(index, score, weight)` of every coordinate inside, best first."""
    query = PixelEncoder().encode_query(view_pixels(seed)).tolist()
    scores = {}
    for number, vector in enumerate(gallery.vectors.tolist()):
        if inside(Point(*gallery.positions[number].tolist())):
            scores[number] = sum(a * b for a, b in zip(query, vector, strict=True))
    weights = {number: math.exp(TEMPERATURE * score) for number, score in scores.items()}
    ordered = sorted(scores, key=lambda number: (-round(scores[number], 6), number))
    return [(n, scores[n], weights[n] / sum(weights.values())) for n in ordered]


def check_answer(answer, gallery, expected):
    """Check coordinates against the loop's, and credible discs against the mass of all of them."""
    assert answer.num_candidates == len(expected)
    assert len(answer.coordinates) == min(48, len(expected))
    for coordinate, (number, score, mass) in zip(answer.coordinates, expected, strict=False):
        assert (coordinate.point.lat, coordinate.point.lon) == tuple(gallery.positions[number])
        assert coordinate.score == pytest.approx(score, abs=2e-6)
        assert coordinate.weight == pytest.approx(mass, rel=1e-4)
    here = np.array([answer.point.lat, answer.point.lon])
    away_m = haversine_m(gallery.positions[[number for number, *_ in expected]], here)
    mass = np.array([mass for *_, mass in expected])
    for region in answer.credible_discs:
        assert mass[away_m <= region.radius_m].sum() >= region.probability - 1e-6
        assert mass[away_m < region.radius_m * (1 - 1e-9)].sum() < region.probability


@pytest.mark.parametrize("seed", range(5))
def test_locate_by_coordinates_equals_loop(seed):
    gallery = coordinate_gallery(seed)
    answer = ask(gallery, seed=seed)
    expected = by_loop(gallery, seed=seed)
    check_answer(answer, gallery, expected)
    assert sum(place.weight for place in answer.coordinates) < 1
    few = ask(gallery, seed=seed, settings=SearchSettings(candidates=5))
    assert few.coordinates == answer.coordinates[:5]
    assert few.num_candidates == COUNT
    again = replace(ask(gallery, seed=seed), timings_ms={})
    assert again == replace(answer, timings_ms={})


def test_locate_by_coordinates_warns_of_missing_evidence():
    answer = ask(coordinate_gallery())
    assert (answer.ranker, answer.index_engine, answer.index_build) == (
        "coordinates",
        "coordinates",
        "abababababababab",
    )
    assert (answer.ranked, answer.citations, answer.calibrated) == ((), (), False)
    assert "without evidence" in answer.warnings[0]
    assert set(answer.timings_ms) == {"retrieve", "decode", "encode", "rank", "decide", "total"}


def test_locate_by_coordinates_point_is_mode():
    gallery = coordinate_gallery()
    query = PixelEncoder().encode_query(view_pixels(3))
    vectors = gallery.vectors.copy()
    vectors[7] = query
    alone = ask(replace(gallery, vectors=vectors))
    assert (alone.point.lat, alone.point.lon) == tuple(gallery.positions[7])
    # Ten coordinates of one city, each slightly less similar than the isolated one.
    near = query + np.random.default_rng(1).normal(0, 0.03, (10, 192))
    vectors[50:60] = near / np.linalg.norm(near, axis=1, keepdims=True)
    city = ask(replace(gallery, vectors=vectors))
    assert city.coordinates[0].point == alone.point
    assert haversine_m(np.array([city.point.lat, city.point.lon]), (48.85, 2.35)) < 4_000


INSIDE = {
    "circle": (
        {"circle": Circle(center=Point(10.0, 175.0), radius_m=4_000_000)},
        lambda p: haversine_m(np.array([p.lat, p.lon]), np.array([10.0, 175.0])) <= 4_000_000,
    ),
    "box": (
        {"box": Box(south=-30, west=150, north=60, east=-120)},
        lambda p: -30 <= p.lat <= 60 and (p.lon >= 150 or p.lon <= -120),
    ),
    "polygon": (
        {"polygons": (Polygon(exterior=(Point(0, 0), Point(0, 60), Point(60, 0), Point(0, 0))),)},
        lambda p: p.lat > 0 and p.lon > 0 and p.lat + p.lon < 60,
    ),
    "circle and box": (
        {
            "circle": Circle(center=Point(0.0, 0.0), radius_m=6_000_000),
            "box": Box(south=0, west=-180, north=90, east=180),
        },
        lambda p: p.lat >= 0 and haversine_m(np.array([p.lat, p.lon]), np.zeros(2)) <= 6_000_000,
    ),
}


@pytest.mark.parametrize("shape", INSIDE)
def test_locate_by_coordinates_filter_renormalizes_weights(shape):
    limits, inside = INSIDE[shape]
    gallery = coordinate_gallery()
    answer, expected = ask(gallery, **limits), by_loop(gallery, inside=inside)
    assert 10 < len(expected) < COUNT // 2
    check_answer(answer, gallery, expected)
    everywhere = {
        (p.point, p.score)
        for p in ask(gallery, settings=SearchSettings(candidates=500)).coordinates
    }
    assert {(p.point, p.score) for p in answer.coordinates} <= everywhere, (
        "a limit changes no score"
    )


def test_locate_by_coordinates_empty_area_gives_no_position():
    answer = ask(coordinate_gallery(), circle=Circle(center=Point(89.9, 0.0), radius_m=10.0))
    assert (answer.point, answer.credible_discs, answer.coordinates) == (None, (), ())
    assert answer.num_candidates == 0
    assert answer.warnings


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"source_kinds": ("photo",)}, "source_kinds"),
        ({"source_ids": (UUID(int=1),)}, "sources"),
        ({"captured_after": datetime(2020, 1, 1, tzinfo=UTC)}, "datetime"),
        ({"captured_before": datetime(2020, 1, 1, tzinfo=UTC)}, "datetime"),
    ],
)
def test_locate_by_coordinates_image_filters_are_rejected(limits, word):
    with pytest.raises(BadRequestError, match=f"no source kind, source or time: omit {word},"):
        ask(coordinate_gallery(), **limits)


def test_locate_by_coordinates_raises_errors_of_locate():
    class EncoderWithoutCoordinates(PixelEncoder):
        def coordinate_gallery(self):
            raise ConflictError("knows none", reason="no_coordinates")

    photo, settings = QueryPhoto(data=b"x", file="q"), SearchSettings()
    with pytest.raises(ConflictError):
        coordinate_pipeline.locate_by_coordinates(
            photo,
            SearchFilter(),
            decoder=PixelDecoder(),
            encoder=EncoderWithoutCoordinates(),
            settings=settings,
        )
    with pytest.raises(BadPhotoError):
        coordinate_pipeline.locate_by_coordinates(
            photo,
            SearchFilter(),
            decoder=PixelDecoder(),
            encoder=CoordinateEncoder(gallery=coordinate_gallery()),
            settings=settings,
        )
