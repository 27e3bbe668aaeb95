"""Search results of every implementation, compared with a plain loop."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import numpy as np
import pytest

from index_fixtures import EDGES, filled, index
from index_gallery import DIMS, ORG_A, ORG_B, SOURCES, SPEC, START, gallery, identity
from pinpoint.records import Box, Circle, IndexFilter, IndexQuery, Point, Polygon, Ring

__all__ = ["filled", "index"]
EVERYTHING = IndexFilter(organization_id=ORG_A)


def in_longitude_range(lon: float, west: float, east: float) -> bool:
    """Whether a longitude is in west..east; 180 and -180 are equal."""
    equal_longitudes = {lon, -lon} if abs(lon) == 180 else {lon}
    if west <= east:
        return any(west <= longitude <= east for longitude in equal_longitudes)
    return any(longitude >= west or longitude <= east for longitude in equal_longitudes)


def great_circle_m(a: Point, b: Point) -> float:
    la, lb = math.radians(a.lat), math.radians(b.lat)
    h = math.sin((lb - la) / 2) ** 2
    h += math.cos(la) * math.cos(lb) * math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(h)))


def in_ring(point: Point, ring: Ring) -> bool:
    inside = False
    for a, b in itertools.pairwise(ring):
        if (a.lat > point.lat) != (b.lat > point.lat):
            crossing = a.lon + (point.lat - a.lat) / (b.lat - a.lat) * (b.lon - a.lon)
            inside ^= point.lon < crossing
    return inside


def in_polygons(point: Point, polygons: tuple[Polygon, ...]) -> bool:
    return any(
        in_ring(point, polygon.exterior) and not any(in_ring(point, hole) for hole in polygon.holes)
        for polygon in polygons
    )


def matches(p, where: IndexFilter) -> bool:
    """The slow oracle of every filter."""
    circle_, box, t = where.circle, where.box, p.captured_at
    return (
        p.organization_id == where.organization_id
        and (not where.source_kinds or p.kind in where.source_kinds)
        and (not where.source_ids or p.source_id in where.source_ids)
        and (circle_ is None or great_circle_m(p.point, circle_.center) <= circle_.radius_m)
        and (box is None or box.south <= p.point.lat <= box.north)
        and (box is None or in_longitude_range(p.point.lon, box.west, box.east))
        and (not where.polygons or in_polygons(p.point, where.polygons))
        and (where.captured_after is None or (t is not None and t >= where.captured_after))
        and (where.captured_before is None or (t is not None and t < where.captured_before))
        and p.id not in where.exclude_ids
        and p.group not in where.exclude_groups
        and (
            where.exclude_circle is None
            or great_circle_m(p.point, where.exclude_circle.center) > where.exclude_circle.radius_m
        )
    )


def box(south, west, north, east):
    return {"box": Box(south=south, west=west, north=north, east=east)}


def circle(lat, lon, radius_m):
    return {"circle": Circle(center=Point(lat, lon), radius_m=radius_m)}


def ring(*corners):
    return tuple(Point(lat, lon) for lat, lon in (*corners, corners[0]))


AREA = Polygon(
    exterior=ring((-40, -60), (50, -70), (60, 80), (-30, 50)),
    holes=(ring((0, 0), (30, 0), (30, 40), (0, 40)), ring((-20, -40), (-10, -40), (-15, -10))),
)
SHAPES = {
    "organization": {},
    "kind": {"source_kinds": ("street",)},
    "both kinds": {"source_kinds": ("street", "photo")},
    "sources": {"source_ids": (SOURCES[0], SOURCES[2])},
    "no such source": {"source_ids": (UUID(int=7),)},
    "since": {"captured_after": START + timedelta(hours=100, microseconds=100)},
    "until": {"captured_before": START + timedelta(hours=100, microseconds=100)},
    "period": {
        "captured_after": START + timedelta(hours=10),
        "captured_before": START + timedelta(hours=50),
    },
    "not these ids": {"exclude_ids": tuple(identity(n) for n in range(50))},
    "not this circle": {"exclude_circle": Circle(center=Point(45, 7), radius_m=3_000_000)},
    "not this circle over the antimeridian": {
        "exclude_circle": Circle(center=Point(5, 179.9999), radius_m=2_000_000),
        "source_kinds": ("photo",),
    },
    "not these groups": {"exclude_groups": ("group-1", "group-2")},
    "box": box(-30, -20, 40, 60),
    "box over the antimeridian": box(-60, 150, 60, -150),
    "thin box at the antimeridian": box(-10, 179.9, 10, -179.9),
    "box to 180": box(-5, 90, 5, 180),
    "box from -180": box(-5, -180, 5, -90),
    "the meridian itself": box(-5, 180, 5, 180),
    "the meridian from both sides": box(-5, 180, 5, -180),
    "north cap box": box(80, -180, 90, 180),
    "south cap box": box(-90, -180, -80, 180),
    "whole world box": box(-90, -180, 90, 180),
    "all but a sliver": box(-90, 0, 90, -0.5),
    "circle": circle(45, 7, 3_000_000),
    "circle over the antimeridian": circle(5, 179.9999, 20_000),
    "circle on -180": circle(0, -180, 600_000),
    "one meter on 180": circle(0, 180, 1),
    "north pole": circle(90, 0, 1_500_000),
    "one meter on the pole": circle(90, 77, 1),
    "over the pole": circle(85, 20, 2_500_000),
    "south pole": circle(-90, -120, 1_000_000),
    "half the world": circle(0, 0, 10_000_000),
    "whole world": circle(10, 10, 21_000_000),
    "polygon": {"polygons": (Polygon(exterior=AREA.exterior),)},
    "polygon with holes": {"polygons": (AREA,)},
    "polygon in the hole of another": {
        "polygons": (AREA, Polygon(exterior=ring((5, 5), (25, 5), (25, 35))))
    },
    "polygons on both sides of the antimeridian": {
        "polygons": (
            Polygon(exterior=ring((-60, 120), (60, 120), (60, 180), (-60, 180))),
            Polygon(exterior=ring((-60, -180), (60, -180), (60, -120), (-60, -120))),
        )
    },
    "polygon at the edges": {
        "polygons": (Polygon(exterior=ring((-10, 100), (-10, 180), (90, 180), (90, 100))),)
    },
    "all at once": {"source_kinds": ("photo",), "captured_after": START, **box(-60, 100, 80, -100)},
}


@pytest.mark.timeout(120)
def test_search_every_filter_equals_plain_loop(filled):
    points = gallery(300, places=EDGES)
    for name, shape in SHAPES.items():
        for organization in (ORG_A, ORG_B):
            where = IndexFilter(organization_id=organization, **shape)
            expected_ids = {p.id for p in points if matches(p, where)}
            # Points on the edge of a ring may be inside or outside.
            boundary_ids = {p.id for p in points[: len(EDGES)]} if shape.get("polygons") else set()
            vector = points[0].vectors["image"]
            query = IndexQuery(channel="image", vector=vector, filter=where, limit=400, exact=True)
            hit_ids = {hit.id for hit in filled.search([query])[0]}
            assert hit_ids - boundary_ids == expected_ids - boundary_ids, name
            assert filled.count(where) == len(hit_ids), name


@pytest.mark.parametrize("channel", ["image", "gps"])
@pytest.mark.parametrize("exact", [True, False])
def test_search_equals_exact_numpy_search(filled, channel, exact):
    points = [p for p in gallery(300, places=EDGES) if p.organization_id == ORG_A]
    matrix = np.stack([p.vectors[channel] for p in points]).astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(10, DIMS[channel])).astype(np.float32)
    queries = [
        IndexQuery(channel=channel, vector=vector, filter=EVERYTHING, limit=20, exact=exact)
        for vector in vectors
    ]
    for vector, hits in zip(vectors, filled.search(queries), strict=True):
        scores = matrix @ (vector / np.linalg.norm(vector))
        best = np.argsort(-scores)[:20]
        assert [hit.id for hit in hits] == [points[i].id for i in best]
        np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
        assert all(type(hit.score) is float for hit in hits)


def test_search_hits_have_all_image_fields(filled):
    for point in gallery(300, places=EDGES)[1:60]:
        where = IndexFilter(organization_id=point.organization_id)
        query = IndexQuery(
            channel="image", vector=point.vectors["image"], filter=where, limit=1, exact=True
        )
        (hit,) = filled.search([query])[0]
        assert (hit.id, hit.version, hit.source_id) == (point.id, 1, point.source_id)
        assert (hit.kind, hit.point, hit.group) == (point.kind, point.point, point.group)
        assert hit.captured_at == point.captured_at


def test_search_batched_query_equals_single_query(filled, request):
    vector = gallery(300)[5].vectors["image"]
    query = IndexQuery(channel="image", vector=vector, filter=EVERYTHING, limit=48)
    other_query = replace(query, vector=-vector, limit=7, exact=True)
    single_hits = filled.search([query])[0]
    answers = [filled.search([query])[0], filled.search([other_query, query, other_query])[1]]
    if request.node.callspec.params["index"] == "memory":  # numpy's product depends on alignment
        assert all([hit.id for hit in hits] == [hit.id for hit in single_hits] for hits in answers)
    else:
        assert answers == [single_hits, single_hits]
    assert filled.search([]) == []


def test_search_equal_scores_are_ordered_by_id(index):
    index.ensure(SPEC)
    shared_vectors = gallery(1)[0].vectors
    points = [replace(p, vectors=shared_vectors, organization_id=ORG_A) for p in gallery(90)]
    index.upsert(points[::-1])
    for limit in (1, 10, 89, 90, 200):
        query = IndexQuery(
            channel="image",
            vector=shared_vectors["image"],
            filter=EVERYTHING,
            limit=limit,
            exact=True,
        )
        ids = [hit.id for hit in index.search([query])[0]]
        assert ids == sorted(p.id for p in points)[:limit]
