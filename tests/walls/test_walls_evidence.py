"""The spatial statements under the API's role: the same as an obvious loop, and by the index."""

from __future__ import annotations

import json
import random
from uuid import UUID, uuid4

import pytest
from geographiclib.geodesic import Geodesic
from sqlalchemy import text

from pinpoint.geo.cells import cells_of
from pinpoint.records import KINDS, Candidate, Point
from pinpoint.store import neighbours
from pinpoint.store.database import Transactions, api_engine, owner_engine

CONTRACT = "c" * 16
RADIUS_M = 300.0
PER_KIND = 5
# `<->` orders on the sphere: places whose distances differ by less than this may change places.
SPHERE = 0.008


@pytest.fixture
def owner(database_url):
    made = Transactions(owner_engine(database_url))
    yield made
    made.close()


@pytest.fixture
def as_api(api_database_url):
    made = Transactions(api_engine(api_database_url, own_login=True))
    yield made
    made.close()


def organizations(owner, count):
    """Ids of new organisations, each with one source of each kind: `(organisation, {kind: id})`."""
    made = []
    with owner.begin() as unit:
        for number in range(count):
            org, sources = uuid4(), {kind: uuid4() for kind in KINDS}
            unit.connection.execute(
                text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
                {"id": org, "name": f"org-{number}"},
            )
            for kind, source in sources.items():
                unit.connection.execute(
                    text(
                        "INSERT INTO sources (id, organization_id, name, kind, originals)"
                        " VALUES (:id, :org, :kind, :kind, 'copy')"
                    ),
                    {"id": source, "org": org, "kind": kind},
                )
            made.append((org, sources))
    return made


_COLUMNS = (
    "id, organization_id, source_id, kind, external_id, geog, position_from, sha256, size_bytes,"
    " format, width_px, height_px, cell_r5, cell_r7, cell_r9, state, version"
)


def put(owner, rows):
    """Rows of `(id, organisation, source, kind, point, state)`, each with a vector."""
    values = []
    for image, org, source, kind, point, state in rows:
        cells = cells_of(point)
        values.append(
            {"id": image, "org": org, "source": source, "kind": kind, "state": state}
            | {"lat": point.lat, "lon": point.lon}
            | {"r5": cells.r5, "r7": cells.r7, "r9": cells.r9, "contract": CONTRACT}
        )
    with owner.begin() as unit:
        unit.connection.execute(
            text(
                f"INSERT INTO images ({_COLUMNS}) VALUES (:id, :org, :source, :kind, :id,"
                " ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography, 'exif', 'x', 1, 'jpeg',"
                " 8, 8, :r5, :r7, :r9, :state, 1)"
            ),
            values,
        )
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " VALUES (:id, :contract, 'image', :org, '\\x003c')"
            ),
            values,
        )


def scattered(rng, centre, count):
    """Points up to 450 m around a centre, some of them at one and the same place."""
    points = []
    for _ in range(count):
        if points and rng.random() < 0.2:
            points.append(rng.choice(points))
            continue
        line = Geodesic.WGS84.Direct(
            centre.lat, centre.lon, rng.uniform(-180, 180), rng.uniform(0, 450)
        )
        points.append(Point(line["lat2"], (line["lon2"] + 180) % 360 - 180))
    return points


def metres(a, b):
    return Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon)["s12"]


def by_hand(rows, candidate, org, kind):
    """The obvious loop: `(distance, id)` of all that may speak for a candidate, nearest first."""
    near = [
        (metres(candidate.point, point), image)
        for image, owner_id, _, row_kind, point, state in rows
        if owner_id == org and row_kind == kind and state == "indexed" and image != candidate.id
    ]
    return sorted((round(d, 6), i) for d, i in near if d <= RADIUS_M)


CENTRES = {
    "paris": Point(48.8566, 2.3522),
    "antimeridian": Point(-16.8, 180.0),
    "west of it": Point(64.0, -179.9995),
    "south pole": Point(-90.0, 0.0),
    "near the north pole": Point(89.9985, 33.0),
    "equator": Point(0.0, 0.001),
}


@pytest.mark.parametrize("where", CENTRES)
def test_evidence_is_what_an_obvious_loop_finds(owner, as_api, where):
    rng = random.Random(where)
    (ours, theirs) = organizations(owner, 2)
    rows = []
    for point in scattered(rng, CENTRES[where], 160):
        org, sources = rng.choice((ours, theirs))
        kind = rng.choice(KINDS)
        state = rng.choice(("indexed",) * 5 + ("pending", "failed", "deleted"))
        image = UUID(int=rng.getrandbits(128), version=4)
        rows.append((image, org, sources[kind], kind, point, state))
    put(owner, rows)
    live = [row for row in rows if row[1] == ours[0] and row[5] == "indexed"]
    candidates = [
        Candidate(
            id=row[0],
            source_id=row[2],
            kind=row[3],
            point=row[4],
            captured_at=None,
            group=str(row[0]),
            score=0.5,
            rank=rank,
        )
        for rank, row in enumerate(rng.sample(live, 12))
    ]
    with as_api.begin(ours[0], read_only=True) as unit:
        found = neighbours.evidence(
            unit.connection,
            candidates,
            ours[0],
            contract=CONTRACT,
            radius_m=RADIUS_M,
            per_kind=PER_KIND,
        )
        # Whatever organisation a bug would name, the views show the context's only.
        assert not neighbours.evidence(
            unit.connection,
            candidates,
            theirs[0],
            contract=CONTRACT,
            radius_m=RADIUS_M,
            per_kind=PER_KIND,
        )
    assert [one.candidate_id for one in found] == sorted(
        (one.candidate_id for one in found), key=[c.id for c in candidates].index
    )
    compared = 0
    for candidate in candidates:
        for kind in KINDS:
            got = [one for one in found if one.candidate_id == candidate.id and one.kind == kind]
            compared += same(got, by_hand(rows, candidate, ours[0], kind), candidate)
    assert compared > 40


def same(got, wanted, candidate):
    """Compare one candidate's evidence of one kind with the loop's; returns how many there are."""
    assert len(got) == min(PER_KIND, len(wanted))
    distance = {image: d for d, image in wanted}
    for one, (d, _) in zip(got, wanted, strict=False):
        assert one.id in distance
        assert one.distance_m == pytest.approx(distance[one.id], abs=1e-3)
        assert one.distance_m == pytest.approx(d, rel=SPHERE, abs=1e-3)
    shown = [(round(one.distance_m, 3), one.id) for one in got]
    assert shown == sorted(shown)
    cut = len(got) < len(wanted)
    clear = not cut or wanted[len(got)][0] > wanted[len(got) - 1][0] * (1 + SPHERE)
    if clear:
        assert {one.id for one in got} == {image for _, image in wanted[: len(got)]}
    if cut and wanted[len(got)][0] == wanted[0][0]:
        # All at one place: the ids decide.
        assert [one.id for one in got] == [image for _, image in wanted[: len(got)]]
    return len(got)


def test_ties_end_at_the_id(owner, as_api):
    ((org, sources),) = organizations(owner, 1)
    here = Point(48.0, 2.0)
    ids = sorted(uuid4() for _ in range(20))
    shuffled = random.Random(1).sample(ids, len(ids))
    put(owner, [(one, org, sources["photo"], "photo", here, "indexed") for one in shuffled])
    asked = Candidate(
        id=uuid4(),
        source_id=sources["photo"],
        kind="photo",
        point=Point(48.0, 2.001),
        captured_at=None,
        group="g",
        score=1.0,
        rank=0,
    )
    with as_api.begin(org, read_only=True) as unit:
        found = neighbours.evidence(
            unit.connection, [asked], org, contract=CONTRACT, radius_m=250, per_kind=6
        )
    assert [one.id for one in found] == ids[:6]


@pytest.fixture
def crowded(owner):
    """20,000 rows of five organisations, all over one city, analysed."""
    made = organizations(owner, 5)
    with owner.begin() as unit:
        unit.connection.execute(text("ALTER TABLE images DISABLE TRIGGER USER"))
        for number, (org, sources) in enumerate(made):
            for kind, source in sources.items():
                unit.connection.execute(
                    text(
                        f"INSERT INTO images ({_COLUMNS})"
                        " SELECT gen_random_uuid(), :org, :source, :kind, n::text,"
                        " ST_SetSRID(ST_MakePoint(2.2 + 0.2 * random(), 48.8 + 0.1 * random()),"
                        " 4326)::geography, 'exif', 'x', 1, 'jpeg', 8, 8, n % 50, n % 500, n,"
                        " 'indexed', 1 FROM generate_series(1, 2000) AS s(n)"
                    ),
                    {"org": org, "source": source, "kind": kind, "number": number},
                )
        unit.connection.execute(text("ALTER TABLE images ENABLE TRIGGER USER"))
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " SELECT id, :contract, 'image', organization_id, '\\x003c' FROM images"
            ),
            {"contract": CONTRACT},
        )
        unit.connection.execute(text("ANALYZE images"))
        unit.connection.execute(text("ANALYZE embeddings"))
    return made[0][0]


def nodes(plan):
    """Every node of a plan, the outermost first."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def explained(as_api, org, statement, values):
    with as_api.begin(org, read_only=True) as unit:
        assert unit.connection.execute(text("SELECT current_user")).scalar_one() == "pinpoint_api"
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
        found = unit.connection.execute(explain, values).scalar_one()
    (one,) = json.loads(found) if isinstance(found, str) else found
    return list(nodes(one["Plan"]))


def check_spatial(plan, loops):
    """The spatial index is asked once for each place, and no table is read from end to end."""
    read = [node for node in plan if node.get("Relation Name") in ("images", "embeddings")]
    assert read
    assert "Seq Scan" not in {node["Node Type"] for node in read}
    spatial = [node for node in plan if node.get("Index Name", "").startswith("ix_images_geog")]
    assert sum(node["Actual Loops"] for node in spatial) == loops


def test_the_evidence_statement_uses_the_spatial_index_under_the_apis_role(as_api, crowded):
    rng = random.Random(3)
    candidates = [
        Candidate(
            id=uuid4(),
            source_id=uuid4(),
            kind="photo",
            point=Point(rng.uniform(48.8, 48.9), rng.uniform(2.2, 2.4)),
            captured_at=None,
            group="g",
            score=1.0,
            rank=rank,
        )
        for rank in range(24)
    ]
    values = neighbours.evidence_parameters(
        candidates, crowded, contract=CONTRACT, radius_m=250.0, per_kind=8
    )
    plan = explained(as_api, crowded, neighbours.EVIDENCE, values)
    check_spatial(plan, loops=len(candidates) * len(KINDS))


def test_the_neighbours_statement_uses_the_spatial_index_under_the_apis_role(as_api, crowded):
    values = {
        "lat": 48.85,
        "lon": 2.3,
        "radius_m": 500.0,
        "organization_id": crowded,
        "image_id": uuid4(),
        "kinds": list(KINDS),
        "limit": 20,
    }
    check_spatial(explained(as_api, crowded, neighbours._AROUND, values), loops=1)
