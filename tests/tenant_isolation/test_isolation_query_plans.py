"""Query plans of statements with the API role use the indexes."""

from __future__ import annotations

import json
import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from pinpoint.records import SOURCE_KINDS, Candidate, Point
from pinpoint.store.catalog import image_listing, neighbors
from tenant_isolation.rows import COLUMNS, CONTRACT, organizations


@pytest.fixture
def large_organization(owner):
    """20,000 images of five organizations in one city, analyzed; returns one organization."""
    created = organizations(owner, 5)
    with owner.begin() as unit:
        unit.connection.execute(text("ALTER TABLE images DISABLE TRIGGER USER"))
        for number, (org, sources) in enumerate(created):
            for kind, source in sources.items():
                unit.connection.execute(
                    text(
                        f"INSERT INTO images ({COLUMNS})"
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
    return created[0][0]


def nodes(plan):
    """Every node of a plan, the outermost first."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def explain_nodes(as_api, org, statement, values):
    with as_api.begin(org, read_only=True) as unit:
        assert unit.connection.execute(text("SELECT current_user")).scalar_one() == "pinpoint_api"
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
        output = unit.connection.execute(explain, values).scalar_one()
    (plan,) = json.loads(output) if isinstance(output, str) else output
    return list(nodes(plan["Plan"]))


def check_spatial(plan, loops):
    """The plan has one spatial index scan per candidate and no sequential scan."""
    read = [node for node in plan if node.get("Relation Name") in ("images", "embeddings")]
    assert read
    assert "Seq Scan" not in {node["Node Type"] for node in read}
    names = ("ix_images_geog", *(f"ix_images_near_{kind}" for kind in SOURCE_KINDS))
    spatial = [node for node in plan if node.get("Index Name") in names]
    assert sum(node["Actual Loops"] for node in spatial) == loops


@pytest.mark.parametrize("radius_m", [250.0, 10_000.0])
def test_evidence_statement_as_api_role_uses_the_spatial_index(
    as_api, large_organization, radius_m
):
    rng = random.Random(3)
    candidates = [
        Candidate(
            id=uuid4(),
            source_id=uuid4(),
            source_kind="photo",
            point=Point(rng.uniform(48.8, 48.9), rng.uniform(2.2, 2.4)),
            captured_at=None,
            group="g",
            score=1.0,
            rank=rank,
        )
        for rank in range(24)
    ]
    values = neighbors.evidence_parameters(
        candidates, large_organization, contract=CONTRACT, radius_m=radius_m, per_kind=8
    )
    plan = explain_nodes(as_api, large_organization, neighbors.EVIDENCE, values)
    check_spatial(plan, loops=len(candidates) * len(SOURCE_KINDS))
    walked = [node for node in plan if node.get("Index Name", "").startswith("ix_images_")]
    # In order of distance, so however far it may look, it stops after the nearest few.
    assert max(node["Actual Rows"] for node in walked) <= 10


@pytest.mark.parametrize("pattern", [None, "19*", "1999"])
def test_image_page_statement_reads_no_more_rows_than_its_limit(
    as_api, large_organization, pattern
):
    with as_api.begin(large_organization, read_only=True) as unit:
        sources = list(unit.connection.execute(text("SELECT id FROM sources")).scalars())
    values = {
        "organization_id": large_organization,
        "source_ids": sources,
        "after_names": ["1500", ""],
        "after_ids": [uuid4(), UUID(int=0)],
        "states": list(image_listing.STATES),
        "limit": 50,
        **image_listing._name_parameters(pattern),
    }
    plan = explain_nodes(as_api, large_organization, image_listing.PAGE, values)
    assert "Seq Scan" not in {node["Node Type"] for node in plan if "Relation Name" in node}
    walked = [node for node in plan if node.get("Index Name") == "ix_images_listing"]
    assert walked
    # Index order per source and state: the scan stops after one page.
    assert max(node["Actual Rows"] for node in walked) <= 50
    assert not {"Sort"} & {node["Node Type"] for node in plan[2:] if node["Actual Rows"] > 300}


def test_id_prefix_statement_is_a_range_scan_of_an_id_index(as_api, large_organization):
    low, high = image_listing.id_range("abcdef")
    values = {
        "organization_id": large_organization,
        "low": low,
        "high": high,
        "states": list(image_listing.STATES),
        "patterns": ["%"],
        "limit": 10,
    }
    plan = explain_nodes(as_api, large_organization, image_listing.BY_PREFIX, values)
    # Either holds ids in their order.
    (used,) = [node for node in plan if "Index Name" in node]
    assert used["Index Name"] in ("pk_images", "uq_images_organization_id_id")
    assert "id >=" in used["Index Cond"]


def test_neighbors_statement_as_api_role_uses_the_spatial_index(as_api, large_organization):
    values = {
        "lat": 48.85,
        "lon": 2.3,
        "radius_m": 500.0,
        "organization_id": large_organization,
        "image_id": uuid4(),
        "kinds": list(SOURCE_KINDS),
        "limit": 20,
    }
    check_spatial(explain_nodes(as_api, large_organization, neighbors._AROUND, values), loops=1)
