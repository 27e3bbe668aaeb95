"""The channel `gps` on real parts: stored, indexed, moved, rebuilt and found."""

from __future__ import annotations

import csv
from uuid import UUID

import numpy as np
import pytest
import torch
from sqlalchemy import text

from media.pictures import saved
from nets.towers import timm_bundle
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.ingest import pipeline as ingest_pipeline
from pinpoint.ingest import reconcile
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.records import ImageUpdate, Point, SearchFilter
from pinpoint.search import pipeline
from pinpoint.settings import SearchSettings
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource
from search.views import view
from stack_fixtures import ServiceHarness

DIM = 24
CITIES = [(48.85, 2.35), (-33.9, 151.2), (64.1, -21.9), (-54.8, -68.3)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    tower = read_bundle(timm_bundle(folder / "bare"))
    torch.manual_seed(3)
    heads = KindHeads(HeadsSpec(feature_dim=tower.contract.dims["image"], hidden=16, dim=DIM))
    location = LocationTower(LocationSpec(hidden=16, dim=DIM))
    said = {"name": "tiny-space", "license": "CC0", "note": "Random weights."}
    networks = JointNetworks(heads=heads, location=location)
    return write_joint_embedding(folder / "tiny", tower=tower, networks=networks, **said)


@pytest.fixture
def harness(bundle, database_url, api_database_url, tmp_path):
    torch.set_num_threads(1)
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness", bundle=str(bundle))
    yield made
    made.close()


def ingest(harness, org, folder, rows, kind="photo"):
    """Ingest `(name, seed, lat, lon)` by a manifest; image ids by name."""
    folder.mkdir(exist_ok=True)
    for name, seed, _, _ in rows:
        (folder / name).write_bytes(saved(view(seed, seed), quality=90))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "latitude", "longitude"])
        writer.writerows([name, lat, lon] for name, _, lat, lon in rows)
    batch = harness.ingest(folder / "manifest.csv", org, source=kind, kind=kind)
    with harness.database.read(org) as catalog:
        items = catalog.batch_items(batch.id)
    # What changes nothing becomes no image.
    return {each.file: each.image_ids[0] for each in items if each.image_ids}


def everywhere(prefix="p", per_city=3):
    # Other seeds for another prefix: the same bytes in two sources would count as one image.
    first = 0 if prefix == "p" else 100
    return [
        (f"{prefix}{city}-{n}.jpg", first + 10 * city + n, lat + 0.01 * n, lon)
        for city, (lat, lon) in enumerate(CITIES)
        for n in range(per_city)
    ]


def rows_of(harness, image_id):
    """Stored vectors of one image: fp16 values by contract and channel."""
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(
            text("SELECT contract, channel, vector FROM embeddings WHERE image_id = :id"),
            {"id": image_id},
        ).all()
    return {(r.contract, r.channel): np.frombuffer(r.vector, "<f2") for r in rows}


def check_place(harness, image_id, lat, lon):
    """The vector of exactly this position is in both stores, and the picture's beside it."""
    alone = harness.encoder.encode_positions(np.array([[lat, lon]]))[0]
    contract = harness.encoder.contract.digest
    rows = rows_of(harness, image_id)
    assert set(rows) == {(contract, "image"), (contract, "gps")}
    np.testing.assert_allclose(rows[contract, "gps"], alone, atol=1e-3)
    (point,) = harness.index.fetch([image_id], vectors=True)
    assert set(point.vectors) == {"image", "gps"}
    for channel, vector in point.vectors.items():
        stored = rows[contract, channel].astype(np.float32)
        np.testing.assert_allclose(vector, stored / np.linalg.norm(stored), atol=1e-6)
    assert (point.point.lat, point.point.lon) == pytest.approx((lat, lon), abs=1e-9)
    return rows[contract, "image"]


def fix(harness, org, image_id, **fields):
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(**fields))
    harness.run()


def test_every_image_has_the_vector_of_its_place_beside_its_pictures(harness, tmp_path):
    org = harness.organization()
    rows = everywhere()
    ids = ingest(harness, org, tmp_path / "photo", rows)
    assert len(ids) == len(rows)
    for name, _, lat, lon in rows:
        check_place(harness, ids[name], lat, lon)
    assert harness.scalar("SELECT count(*) FROM embeddings") == 2 * len(rows)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == len(rows)


def test_an_image_that_moves_takes_its_vector_along(harness, tmp_path):
    org = harness.organization()
    rows = everywhere(per_city=1)
    ids = ingest(harness, org, tmp_path / "photo", rows)
    name, seed, lat, lon = rows[0]
    picture = check_place(harness, ids[name], lat, lon)

    # What another bundle made of the old place goes; of the picture nothing has changed.
    with harness.owner.begin() as unit:
        for channel in ("image", "gps"):
            unit.connection.execute(
                text(
                    "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                    " VALUES (:id, 'other', :channel, :org, '\\x0000')"
                ),
                {"id": ids[name], "channel": channel, "org": org},
            )
    fix(harness, org, ids[name], creator="ann", point=Point(10.0, 179.5))
    assert set(rows_of(harness, ids[name])) >= {("other", "image")}
    assert ("other", "gps") not in rows_of(harness, ids[name])
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM embeddings WHERE contract = 'other'"))
    assert np.array_equal(check_place(harness, ids[name], 10.0, 179.5), picture)

    # The file comes again with other bytes: a position fixed by hand stays, and so its vector.
    ingest(harness, org, tmp_path / "photo", [(name, 70, lat, lon), *rows[1:]])
    assert not np.array_equal(check_place(harness, ids[name], 10.0, 179.5), picture)

    # Another position in the manifest moves the others; their pictures are not encoded again.
    other, seed, lat, lon = rows[1]
    picture = check_place(harness, ids[other], lat, lon)
    ingest(harness, org, tmp_path / "photo", [(other, seed, 1.0, -2.0)])
    assert np.array_equal(check_place(harness, ids[other], 1.0, -2.0), picture)


def test_a_crash_before_the_index_leaves_a_row_that_gets_both(harness, tmp_path, monkeypatch):
    org = harness.organization()
    monkeypatch.setattr(ingest_pipeline, "index_images", lambda *_: None)
    rows = everywhere(per_city=1)
    ids = ingest(harness, org, tmp_path / "photo", rows)
    monkeypatch.undo()
    contract = harness.encoder.contract.digest
    assert harness.scalar("SELECT count(*) FROM embeddings") == len(rows)
    # A gps vector of before does not make an image wait twice.
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " SELECT image_id, contract, 'gps', organization_id, vector FROM embeddings"
            )
        )
    lost = harness.repository.unindexed_images(contract, 100)
    assert lost == sorted(ids.values())
    ingest_pipeline.index_images(lost, harness.parts)
    for name, _, lat, lon in rows:
        check_place(harness, ids[name], lat, lon)


def test_a_rebuild_needs_no_encoder_and_holds_both_channels(harness, tmp_path):
    org = harness.organization()
    ids = ingest(harness, org, tmp_path / "photo", everywhere())
    source = RebuildSource(harness.owner, lambda: harness.encoder.contract)
    built = EdgeIndex(tmp_path / "next")
    built.ensure(source.spec())
    for points in source.stream(chunk=5):
        built.upsert(points)
    try:
        for image_id in ids.values():
            (old,) = harness.index.fetch([image_id], vectors=True)
            (new,) = built.fetch([image_id], vectors=True)
            assert set(new.vectors) == {"image", "gps"}
            for channel in new.vectors:
                np.testing.assert_array_equal(new.vectors[channel], old.vectors[channel])
        drift = reconcile.reconcile_index_rows(
            repository=harness.repository,
            index=built,
            queue=None,
            contract=source.spec().contract,
            chunk=64,
        )
        assert (drift.checked, drift.total) == (len(ids), 0)
    finally:
        built.close()


def locate(harness, org, vector, **settings):
    return pipeline.locate_encoded(
        vector,
        SearchFilter(),
        harness.search_context(
            org, settings=SearchSettings(candidates=8, oversampling=1, **settings)
        ),
    )


def found_by(answer, channel) -> list[tuple[int, UUID, Point]]:
    """Candidates that a channel has found, in its order."""
    return sorted(
        (of.rank, each.candidate.id, each.candidate.point)
        for each in answer.ranked
        for name, of in each.candidate.channels.items()
        if name == channel and of.rank is not None
    )


def test_a_vector_like_a_place_finds_the_images_that_stand_there(harness, tmp_path):
    org = harness.organization()
    ingest(harness, org, tmp_path / "photo", everywhere(per_city=4))
    ingest(harness, org, tmp_path / "street", everywhere("s", per_city=4), kind="street")
    for lat, lon in CITIES:
        vector = harness.encoder.encode_positions(np.array([[lat, lon]]))[0]
        answer = locate(harness, org, vector, gps_channel_fraction=0.5)
        assert len(answer.ranked) == 8
        by_place = found_by(answer, "gps")
        assert [rank for rank, _, _ in by_place[:2]] == [0, 1]
        away_m = haversine_m(lat_lon([p for _, _, p in by_place[:2]]), np.array([lat, lon]))
        assert away_m.max() < 1.0, "one photo and one street view stand right there"
        for each in answer.ranked:
            (point,) = harness.index.fetch([each.candidate.id], vectors=True)
            for channel, of in each.candidate.channels.items():
                stored = point.vectors[channel].astype(np.float64)
                cosine = stored @ vector / np.linalg.norm(stored) / np.linalg.norm(vector)
                assert of.score == pytest.approx(float(cosine), abs=2e-6)
            assert each.candidate.score == each.candidate.channels["image"].score
        without = locate(harness, org, vector, gps_channel_fraction=0.0)
        assert all(list(each.candidate.channels) == ["image"] for each in without.ranked)


def test_a_move_is_seen_by_the_next_question(harness, tmp_path):
    org = harness.organization()
    ids = ingest(harness, org, tmp_path / "photo", everywhere())
    vector = harness.encoder.encode_positions(np.array([[0.0, 180.0]]))[0]
    moved = ids["p2-1.jpg"]
    before = found_by(locate(harness, org, vector, gps_channel_fraction=0.5), "gps")
    assert before[0][1] != moved
    fix(harness, org, moved, point=Point(0.0, -180.0))
    after = found_by(locate(harness, org, vector, gps_channel_fraction=0.5), "gps")
    assert after[0][:2] == (0, moved)
