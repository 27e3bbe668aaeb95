"""Query plans of statements with the API role use the indexes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import event, text

from pinpoint.records import (
    SOURCE_KINDS,
    Box,
    Candidate,
    Circle,
    ImageFilter,
    ImagePosition,
    Point,
)
from pinpoint.store.catalog import neighbors
from pinpoint.store.catalog.image_listing import PLAN_SETTINGS, select_image_page
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.gallery.image_tiles import build_image_tile
from pinpoint.store.gallery.panoramax_tiles import build_map_tile
from tenant_isolation.conftest import create_database
from tenant_isolation.rows import COLUMNS, CONTRACT, organizations
from vector_tiles import tile_of


@pytest.fixture(scope="module")
def plan_database(postgres, server_paths):
    """A database that these tests only read after it is filled."""
    with create_database(postgres, server_paths) as database:
        yield database


@pytest.fixture(scope="module")
def as_api(plan_database):
    """Transactions of the API role."""
    transactions = Transactions(api_engine(plan_database.api, own_login=True))
    yield transactions
    transactions.close()


@pytest.fixture(scope="module")
def large_organization(plan_database):
    """20,000 images of five organizations in one city, analyzed; returns one organization."""
    owner = Transactions(owner_engine(plan_database.owner))
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
    owner.close()
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


def explain_page(as_api, org, image_filter, *, limit=50, after=None):
    """Plan nodes of a page of images, with the statement that the list sends."""
    statement = select_image_page(org, image_filter, limit=limit, after=after)
    with as_api.begin(org, read_only=True) as unit:
        unit.connection.execute(PLAN_SETTINGS)
        compiled = statement.compile(unit.connection, compile_kwargs={"render_postcompile": True})
        output = unit.connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}",
            {
                name: Jsonb(value) if isinstance(value, dict) else value
                for name, value in compiled.construct_params(extracted_parameters=None).items()
            },
        ).scalar_one()
    (plan,) = json.loads(output) if isinstance(output, str) else output
    return [node for node in nodes(plan["Plan"]) if node.get("Relation Name") != "sources"]


@pytest.mark.parametrize(
    ("image_filter", "index"),
    [
        (ImageFilter(), "ix_images_organization_id_file_name"),
        (ImageFilter(states=("indexed",)), "ix_images_organization_id_file_name"),
        (ImageFilter(file_name="19*"), "ix_images_organization_id_file_name"),
        (ImageFilter(file_name="1999"), "ix_images_organization_id_file_name"),
    ],
)
def test_image_page_statement_reads_no_more_rows_than_its_limit(
    as_api, large_organization, image_filter, index
):
    after = ImagePosition(file_name="1500", image_id=uuid4())
    plan = explain_page(as_api, large_organization, image_filter, after=after)
    (scan,) = [node for node in plan if node.get("Relation Name") == "images"]
    # Index order: the scan stops after one page.
    assert scan["Index Name"] == index
    assert 0 < scan["Actual Rows"] <= 50
    assert not {"Sort", "Seq Scan"} & {node["Node Type"] for node in plan}


@pytest.mark.parametrize(
    ("image_filter", "indexes"),
    [
        # Either holds ids in their order.
        (ImageFilter(id_prefix="abcdef"), {"pk_images", "uq_images_organization_id_id"}),
        (
            ImageFilter(box=Box(south=48.8, west=2.2, north=48.801, east=2.201)),
            {"ix_images_organization_id_geom"},
        ),
        (
            ImageFilter(circle=Circle(center=Point(48.85, 2.3), radius_m=50)),
            {"ix_images_organization_id_geom"},
        ),
        (ImageFilter(creators=("nobody",)), {"ix_images_organization_id_creator_id"}),
        (ImageFilter(cameras=("none",)), {"ix_images_organization_id_camera_id"}),
        (ImageFilter(sequences=("none",)), {"ix_images_organization_id_sequence_id"}),
        (ImageFilter(states=("failed",)), {"ix_images_not_indexed"}),
        (
            ImageFilter(captured_after=datetime(2026, 1, 1, tzinfo=UTC)),
            {"ix_images_organization_id_captured_at"},
        ),
        (ImageFilter(attributes=(("weather", "rain"),)), {"ix_images_attributes"}),
    ],
)
def test_image_page_statement_with_selective_filter_uses_its_index(
    as_api, large_organization, image_filter, indexes
):
    plan = explain_page(as_api, large_organization, image_filter)
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    assert used <= indexes
    assert used
    assert "Seq Scan" not in {node["Node Type"] for node in plan}


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


def test_tile_statements_use_the_spatial_index_of_the_organization(as_api, large_organization):
    tile = (15, *tile_of(48.85, 2.3, 15))
    builders = {
        "images": lambda connection: build_image_tile(connection, *tile, ImageFilter()),
        "map": lambda connection: build_map_tile(connection, *tile),
    }
    for name, build in builders.items():
        plans = []

        def explain(connection, _cursor, statement, parameters, *_, plans=plans):
            if not statement.startswith("EXPLAIN"):
                output = connection.exec_driver_sql(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
                ).scalar_one()
                plans.append(list(nodes(output[0]["Plan"])))

        with as_api.begin(
            large_organization, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA
        ) as unit:
            event.listen(unit.connection, "before_cursor_execute", explain)
            assert len(build(unit.connection)) > 100
        assert len(plans) == {"images": 1, "map": 2}[name]
        for plan in plans:
            read = [node for node in plan if node.get("Relation Name") == "images"]
            assert read
            assert "Seq Scan" not in {node["Node Type"] for node in read}
            spatial = [
                node for node in plan if node.get("Index Name") == "ix_images_organization_id_geom"
            ]
            assert spatial
            # One organization of five, and a small part of its square.
            assert max(node["Actual Rows"] for node in spatial) < 1_000
