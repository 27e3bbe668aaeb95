"""The evidence statement with the API role returns the same rows as brute force."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest
from geographiclib.geodesic import Geodesic

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.records import SOURCE_KINDS, Candidate, Circle, Point
from pinpoint.store.catalog import neighbors
from pinpoint.store.catalog.catalog_reader import Reader
from tenant_isolation.rows import CONTRACT, organizations, put

RADIUS_M = 300.0
PER_KIND = 5
# `<->` orders on the sphere: distances that differ by less than this may swap.
SPHERE = 0.008


def random_points(rng, center, count):
    """Points up to 450 m from a center, some with equal coordinates."""
    points = []
    for _ in range(count):
        if points and rng.random() < 0.2:
            points.append(rng.choice(points))
            continue
        line = Geodesic.WGS84.Direct(
            center.lat, center.lon, rng.uniform(-180, 180), rng.uniform(0, 450)
        )
        points.append(Point(line["lat2"], (line["lon2"] + 180) % 360 - 180))
    return points


def meters(a, b):
    return Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon)["s12"]


def sphere_meters(a, b):
    return float(haversine_m(lat_lon([a]), lat_lon([b]))[0])


def evidence_rows(connection, candidates, organization_id, *, exclude_circle=None, **limits):
    """The evidence of candidates, by the statement of the catalog reader."""
    parameters = neighbors.evidence_parameters(candidates, organization_id, **limits)
    return neighbors.fetch_evidence_rows(connection, candidates, parameters, exclude_circle)


def compute_evidence(rows, candidate, org, kind):
    """Brute force: `(distance, id)` of all evidence images of a candidate, nearest first."""
    near = [
        (meters(candidate.point, point), image)
        for image, owner_id, _, row_kind, point, state in rows
        if owner_id == org and row_kind == kind and state == "indexed" and image != candidate.id
    ]
    return sorted((round(d, 6), i) for d, i in near if d <= RADIUS_M)


CENTERS = {
    "paris": Point(48.8566, 2.3522),
    "antimeridian": Point(-16.8, 180.0),
    "west of it": Point(64.0, -179.9995),
    "south pole": Point(-90.0, 0.0),
    "near the north pole": Point(89.9985, 33.0),
    "equator": Point(0.0, 0.001),
}


@pytest.mark.parametrize("where", CENTERS)
def test_evidence_matches_brute_force(owner, as_api, where):
    rng = random.Random(where)
    (ours, theirs) = organizations(owner, 2)
    rows = []
    for point in random_points(rng, CENTERS[where], 160):
        org, sources = rng.choice((ours, theirs))
        kind = rng.choice(SOURCE_KINDS)
        state = rng.choice(("indexed",) * 5 + ("pending", "failed", "deleted"))
        image = UUID(int=rng.getrandbits(128), version=4)
        rows.append((image, org, sources[kind], kind, point, state))
    put(owner, rows)
    live = [row for row in rows if row[1] == ours[0] and row[5] == "indexed"]
    candidates = [
        Candidate(
            id=row[0],
            source_id=row[2],
            source_kind=row[3],
            point=row[4],
            captured_at=None,
            group=str(row[0]),
            score=0.5,
            rank=rank,
        )
        for rank, row in enumerate(rng.sample(live, 12))
    ]
    with as_api.begin(ours[0], read_only=True) as unit:
        evidence = evidence_rows(
            unit.connection,
            candidates,
            ours[0],
            contract=CONTRACT,
            radius_m=RADIUS_M,
            per_kind=PER_KIND,
        )
        # Whatever organization a bug would name, the views show the context's only.
        assert not evidence_rows(
            unit.connection,
            candidates,
            theirs[0],
            contract=CONTRACT,
            radius_m=RADIUS_M,
            per_kind=PER_KIND,
        )
        # A circle around a candidate leaves less evidence, and other images take its slots.
        circle = Circle(center=candidates[0].point, radius_m=200.0)
        outside = evidence_rows(
            unit.connection,
            candidates,
            ours[0],
            exclude_circle=circle,
            contract=CONTRACT,
            radius_m=RADIUS_M,
            per_kind=PER_KIND,
        )
    rows_outside = [row for row in rows if sphere_meters(row[4], circle.center) > 200.0]
    for candidate in candidates:
        for kind in SOURCE_KINDS:
            got = [r for r in outside if (r.candidate_id, r.source_kind) == (candidate.id, kind)]
            expected = compute_evidence(rows_outside, candidate, ours[0], kind)
            assert_same_evidence(got, expected, candidate)
    assert 0 < len(outside) < len(evidence)
    assert [row_.candidate_id for row_ in evidence] == sorted(
        (row_.candidate_id for row_ in evidence), key=[c.id for c in candidates].index
    )
    compared = 0
    for candidate in candidates:
        both = [
            (row_.distance_m, row_.id) for row_ in evidence if row_.candidate_id == candidate.id
        ]
        assert both == sorted(both), "nearest first, whatever the kind"
        for kind in SOURCE_KINDS:
            got = [
                row_
                for row_ in evidence
                if row_.candidate_id == candidate.id and row_.source_kind == kind
            ]
            compared += assert_same_evidence(
                got, compute_evidence(rows, candidate, ours[0], kind), candidate
            )
    assert compared > 40


def assert_same_evidence(got, expected, candidate):
    """Compare evidence of a candidate and source kind with brute force; returns its count."""
    assert len(got) == min(PER_KIND, len(expected))
    distance = {image: d for d, image in expected}
    for row, (d, _) in zip(got, expected, strict=False):
        assert row.id in distance
        assert row.distance_m == pytest.approx(distance[row.id], abs=1e-3)
        assert row.distance_m == pytest.approx(d, rel=SPHERE, abs=1e-3)
    distances = [(round(row.distance_m, 3), row.id) for row in got]
    assert distances == sorted(distances)
    cut = len(got) < len(expected)
    clear = not cut or expected[len(got)][0] > expected[len(got) - 1][0] * (1 + SPHERE)
    if clear:
        assert {row.id for row in got} == {image for _, image in expected[: len(got)]}
    if cut and expected[len(got)][0] == expected[0][0]:
        # Equal coordinates: ordered by id.
        assert [row.id for row in got] == [image for _, image in expected[: len(got)]]
    return len(got)


def test_evidence_with_one_radius_equals_density_adapted_radii(owner, as_api):
    """Compares the smallest sufficient radius of three per candidate with the largest radius."""
    rng, steps_m = random.Random(3), (80.0, 200.0, 440.0)
    ((org, sources),) = organizations(owner, 1)
    rows = [
        (uuid4(), org, sources["photo"], "photo", point, "indexed")
        for count, center in ((60, CENTERS["paris"]), (4, CENTERS["equator"]))
        for point in random_points(rng, center, count)
    ]
    put(owner, rows)
    candidates = [
        Candidate(
            id=uuid4(), source_id=sources["photo"], source_kind="photo", point=row[4],
            captured_at=None, group="g", score=1.0, rank=0,
        )
        for row in rows[::4]
    ]  # fmt: skip
    with as_api.begin(org, read_only=True) as unit:
        options = {"contract": CONTRACT, "per_kind": PER_KIND}
        every = {
            radius_m: evidence_rows(unit.connection, candidates, org, radius_m=radius_m, **options)
            for radius_m in steps_m
        }
    used = set()
    for candidate in candidates:
        evidence = {
            radius_m: [row.id for row in rows if row.candidate_id == candidate.id]
            for radius_m, rows in every.items()
        }
        enough = next((r for r in steps_m if len(evidence[r]) == PER_KIND), steps_m[-1])
        used.add(enough)
        assert evidence[enough] == evidence[steps_m[-1]]
    assert used == set(steps_m)


def test_evidence_with_equal_distances_is_ordered_by_id(owner, as_api):
    ((org, sources),) = organizations(owner, 1)
    here = Point(48.0, 2.0)
    ids = sorted(uuid4() for _ in range(20))
    shuffled = random.Random(1).sample(ids, len(ids))
    put(
        owner,
        [(image_id, org, sources["photo"], "photo", here, "indexed") for image_id in shuffled],
    )
    candidate = Candidate(
        id=uuid4(),
        source_id=sources["photo"],
        source_kind="photo",
        point=Point(48.0, 2.001),
        captured_at=None,
        group="g",
        score=1.0,
        rank=0,
    )
    with as_api.begin(org, read_only=True) as unit:
        evidence = evidence_rows(
            unit.connection, [candidate], org, contract=CONTRACT, radius_m=250, per_kind=6
        )
    assert [image_id.id for image_id in evidence] == ids[:6]


# One coordinate in space is near 0: the 32-bit floats of the index separate almost equal positions.
ALMOST_EQUAL = {
    "antimeridian": [Point(-16.9, 180.0), Point(-16.9, -180.0)],
    "antimeridian and equator": [Point(0.0, -180.0), Point(0.0, 180.0)],
    "north pole": [Point(90.0, lon) for lon in (180.0, -180.0, 0.0, 120.0, -90.0)],
    "south pole": [Point(-90.0, lon) for lon in (180.0, -180.0, 0.0, 45.0, -135.0)],
    "prime meridian": [Point(51.5, lon) for lon in (0.0, 3e-14, 1e-11, -1e-11)],
    "equator": [Point(lat, 37.1) for lat in (0.0, 1e-13, 1e-11, -1e-11)],
}


@pytest.mark.parametrize("where", ALMOST_EQUAL)
def test_images_at_almost_equal_positions_are_evidence_and_neighbors(owner, as_api, where):
    rng = random.Random(where)
    ((org, sources),) = organizations(owner, 1)
    rows = [
        (UUID(int=rng.getrandbits(128), version=4), org, sources[kind], kind, point, "indexed")
        for point in ALMOST_EQUAL[where]
        for kind in SOURCE_KINDS
        for _ in range(4)
    ]
    put(owner, rows)
    candidates = [
        Candidate(
            id=row[0], source_id=row[2], source_kind=row[3], point=row[4], captured_at=None,
            group="g", score=1.0, rank=rank,
        )
        for rank, row in enumerate(rows[::4])
    ]  # fmt: skip
    limits = {"contract": CONTRACT, "radius_m": RADIUS_M}
    far_circle = Circle(center=Point(10.0, 10.0), radius_m=100.0)
    with as_api.begin(org, read_only=True) as unit:
        for circle in (None, far_circle):
            evidence = evidence_rows(
                unit.connection, candidates, org, exclude_circle=circle, per_kind=99, **limits
            )
            cut = evidence_rows(
                unit.connection, candidates, org, exclude_circle=circle, per_kind=3, **limits
            )
            for candidate in candidates:
                ids = [row.id for row in evidence if row.candidate_id == candidate.id]
                assert sorted(ids) == sorted(row[0] for row in rows if row[0] != candidate.id)
                for kind in SOURCE_KINDS:
                    nearest = [
                        row.id
                        for row in cut
                        if (row.candidate_id, row.source_kind) == (candidate.id, kind)
                    ]
                    assert len(nearest) == 3
            assert all(row.distance_m < 1e-5 for row in evidence)
        for candidate in candidates:
            near = Reader(unit).neighbors(candidate.id, radius_m=RADIUS_M, limit=99)
            assert len(near) == len(rows) - 1
