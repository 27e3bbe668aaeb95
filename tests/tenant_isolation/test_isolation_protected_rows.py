"""Rows in protected areas: which ones SQL of the API sees, and how changes of areas reach them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pinpoint.api.v1.schemas.protected_areas import ProtectedAreaIn
from pinpoint.position_access import PositionAccess, apply_access
from pinpoint.records import Caller, Point
from pinpoint.store.db.protected_areas import ProtectedAreaStore
from tenant_isolation.protected_galleries import area_document
from tenant_isolation.rows import organizations, put

INSIDE = [Point(48.85, 3.0535), Point(-41.5, 173.25), Point(10.5, -180.0), Point(-90.0, 55.0)]
OUTSIDE = [Point(48.85, 3.06), Point(10.5, -179.9), Point(-88.9, 5.0)]


@pytest.fixture
def gallery(owner):
    """An organization with images inside and outside, and a store with an area over some."""
    ((org, sources), (other, _)) = organizations(owner, 2)
    images = {uuid4(): point for point in (*INSIDE, *OUTSIDE)}
    put(
        owner,
        [
            (image, org, sources["photo"], "photo", point, "indexed")
            for image, point in images.items()
        ],
    )
    return org, other, images


def create(owner, org, granularity="refuse", **options):
    store = ProtectedAreaStore(owner)
    caller = Caller(organization_id=org, organization="x", scopes=frozenset())
    properties = {"min_radius_m": 500.0} if granularity == "radius" else {}
    document = area_document(granularity, name=str(uuid4()), **properties)
    area = ProtectedAreaIn.model_validate(document).to_record()
    return store, caller, store.create(caller, area, **options)


def visible(as_api, org, rows=None):
    """Positions that a caller with this access sees, and the images that its counters count."""
    access = None if rows is None else PositionAccess(rows=rows, granularity="exact")
    with apply_access(access), as_api.begin(org, read_only=True) as unit:
        positions = unit.connection.execute(
            text("SELECT ST_Y(geom), ST_X(geom) FROM images ORDER BY 1, 2")
        ).all()
        counted = unit.connection.execute(
            text("SELECT coalesce(sum(images), 0) FROM cell_stats WHERE resolution = 5")
        ).scalar_one()
        listed = unit.connection.execute(text("SELECT count(*) FROM visible_images")).scalar_one()
    assert counted == listed == len(positions)
    return {Point(lat, lon) for lat, lon in positions}


@pytest.mark.parametrize("granularity", ["refuse", "radius"])
def test_views_hide_protected_rows_and_their_counts(owner, as_api, gallery, granularity):
    org, _, images = gallery
    store, caller, area = create(owner, org, granularity)
    assert not area.applied
    assert store.apply(60)
    assert store.area(org, area.id).applied
    everything = set(images.values())
    assert visible(as_api, org) == visible(as_api, org, "unprotected") == set(OUTSIDE)
    assert visible(as_api, org, "all") == visible(as_api, org, "operator") == everything
    coarse = visible(as_api, org, "coarse")
    assert coarse == (set(OUTSIDE) if granularity == "refuse" else everything)
    store.delete(caller, area.id)
    assert store.apply(60)
    assert visible(as_api, org) == everything
    with owner.begin() as unit:
        assert unit.connection.execute(text("SELECT count(*) FROM protected_areas")).scalar() == 0


def test_apply_changes_bounded_batches_and_counters_equal_a_recount(owner, as_api, gallery):
    org, _, _ = gallery
    create(owner, org)
    calls = 0
    with owner.begin() as unit:
        while unit.connection.execute(text("SELECT tenant.apply_protected_areas(1)")).scalar():
            calls += 1
    assert calls == len(INSIDE)
    columns = "cell, source_id, granularity, images, x_sum, y_sum, z_sum"
    with owner.begin() as unit:
        select = text(f"SELECT {columns} FROM cell_stats ORDER BY 1, 2, 3")
        before = unit.connection.execute(select).all()
        unit.connection.execute(
            text(
                "SELECT recount(array_agg(cell_r7), array_agg(source_id),"
                " array_agg(organization_id)) FROM images"
            )
        )
        assert unit.connection.execute(select).all() == before


def test_new_and_moved_images_get_the_granularity_of_their_position(owner, as_api, gallery):
    org, other, images = gallery
    store, _, _ = create(owner, org)
    store.apply(60)
    moved = next(image for image, point in images.items() if point == OUTSIDE[0])
    move = text("UPDATE images SET geog = 'POINT(3.0535 48.85)'::geography WHERE id = :id")
    with as_api.begin(org) as unit:
        # By a caller that loses sight of the image.
        assert unit.connection.execute(move, {"id": moved}).rowcount == 1
        assert unit.connection.execute(move, {"id": moved}).rowcount == 0
    assert OUTSIDE[0] not in visible(as_api, org)
    assert len(visible(as_api, org)) == len(OUTSIDE) - 1
    with owner.begin() as unit:
        others = "SELECT count(*) FROM images WHERE granularity <> 'exact' AND id = :id"
        assert unit.connection.execute(text(others), {"id": moved}).scalar() == 1
    assert visible(as_api, other) == set()


def test_area_of_the_installation_applies_to_all_organizations(owner, as_api, gallery):
    org, other, _ = gallery
    store, _, area = create(owner, other, whole_installation=True)
    store.apply(60)
    assert area.organization_id is None
    assert visible(as_api, org) == set(OUTSIDE)
    in_api = ProtectedAreaStore(as_api)
    assert in_api.list_areas(org, limit=10) == []
    with apply_access(PositionAccess(rows="operator", granularity="exact")):
        assert [found.id for found in in_api.list_areas(org, limit=10)] == [area.id]
    with as_api.begin(org) as unit:
        deleted = text("UPDATE protected_areas SET deleted_at = now() WHERE id = :id")
        assert unit.connection.execute(deleted, {"id": area.id}).rowcount == 0


def test_writer_of_an_area_waits_for_writers_of_positions(owner, gallery):
    org, _, images = gallery
    (image, *_) = images
    insert = text(
        "INSERT INTO protected_areas (id, name, granularity, purpose, geom) VALUES"
        " (gen_random_uuid(), 'x', 'city', 'y',"
        " ST_Multi(ST_SetSRID(ST_MakeEnvelope(0, 0, 1, 1), 4326)))"
    )
    with owner.begin() as writer:
        writer.connection.execute(
            text("UPDATE images SET geog = 'POINT(3.0535 48.85)'::geography WHERE id = :id"),
            {"id": image},
        )
        with owner.engine.connect() as connection:
            connection.execute(text("SET lock_timeout = '200ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                connection.execute(insert)
    with owner.begin(org) as unit:
        unit.connection.execute(insert)
