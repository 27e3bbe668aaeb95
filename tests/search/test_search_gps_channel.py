"""The channel `gps` on real components: stored, indexed, moved, rebuilt and searched.

Every test runs with the channels `image` and `gps`, and again with the channel `raw` added.
"""

from __future__ import annotations

import csv
from uuid import UUID

import numpy as np
import pytest
import torch
from sqlalchemy import text

from media.pictures import saved
from nets.joint_bundles import random_joint_bundle
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.ingest import pipeline as ingest_pipeline
from pinpoint.ingest import reconcile
from pinpoint.records import ImageUpdate, Point, SearchFilter
from pinpoint.search import pipeline
from pinpoint.settings import SearchSettings
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource
from search.synthetic_views import view
from stack_fixtures import ServiceHarness

CITIES = [(48.85, 2.35), (-33.9, 151.2), (64.1, -21.9), (-54.8, -68.3)]


@pytest.fixture(scope="module", params=[False, True], ids=["image-gps", "image-gps-raw"])
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    return random_joint_bundle(folder, raw_channel=request.param)


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
    # An item that changes nothing has no image.
    return {item.file: item.image_ids[0] for item in items if item.image_ids}


def images_in_cities(prefix="p", per_city=3):
    # Other seeds for another prefix: the same bytes in two sources would count as one image.
    first = 0 if prefix == "p" else 100
    return [
        (f"{prefix}{city}-{n}.jpg", first + 10 * city + n, lat + 0.01 * n, lon)
        for city, (lat, lon) in enumerate(CITIES)
        for n in range(per_city)
    ]


def stored_vectors(harness, image_id):
    """Stored vectors of one image: fp16 values by contract and channel."""
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(
            text("SELECT contract, channel, vector FROM embeddings WHERE image_id = :id"),
            {"id": image_id},
        ).all()
    return {(r.contract, r.channel): np.frombuffer(r.vector, "<f2") for r in rows}


def check_vectors(harness, image_id, lat, lon):
    """Check that both stores have all vectors of the image, and that of exactly this position."""
    alone = harness.encoder.encode_positions(np.array([[lat, lon]]))[0]
    contract, channels = harness.encoder.contract.digest, set(harness.encoder.contract.dims)
    rows = stored_vectors(harness, image_id)
    assert set(rows) == {(contract, channel) for channel in channels}
    np.testing.assert_allclose(rows[contract, "gps"], alone, atol=1e-3)
    (point,) = harness.index.fetch([image_id], vectors=True)
    assert set(point.vectors) == channels
    for channel, vector in point.vectors.items():
        stored = rows[contract, channel].astype(np.float32)
        np.testing.assert_allclose(vector, stored / np.linalg.norm(stored), atol=1e-6)
    assert (point.point.lat, point.point.lon) == pytest.approx((lat, lon), abs=1e-9)
    return rows[contract, "image"]


def update_image(harness, org, image_id, **fields):
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(**fields))
    harness.run()


def test_ingest_stores_image_and_gps_vectors(harness, tmp_path):
    org = harness.organization()
    rows = images_in_cities()
    ids = ingest(harness, org, tmp_path / "photo", rows)
    assert len(ids) == len(rows)
    for name, _, lat, lon in rows:
        check_vectors(harness, ids[name], lat, lon)
    channels = len(harness.encoder.contract.dims)
    assert harness.scalar("SELECT count(*) FROM embeddings") == channels * len(rows)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == len(rows)


def test_moved_image_gets_new_gps_vector_only(harness, tmp_path):
    org = harness.organization()
    rows = images_in_cities(per_city=1)
    ids = ingest(harness, org, tmp_path / "photo", rows)
    name, seed, lat, lon = rows[0]
    image_vector = check_vectors(harness, ids[name], lat, lon)

    # Other bundles lose the vector of the old position, and keep the vector of the image.
    with harness.owner.begin() as unit:
        for channel in ("image", "gps"):
            unit.connection.execute(
                text(
                    "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                    " VALUES (:id, 'other', :channel, :org, '\\x0000')"
                ),
                {"id": ids[name], "channel": channel, "org": org},
            )
    update_image(harness, org, ids[name], creator="ann", point=Point(10.0, 179.5))
    assert set(stored_vectors(harness, ids[name])) >= {("other", "image")}
    assert ("other", "gps") not in stored_vectors(harness, ids[name])
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM embeddings WHERE contract = 'other'"))
    assert np.array_equal(check_vectors(harness, ids[name], 10.0, 179.5), image_vector)

    # The file is ingested with other bytes: a corrected position stays, and so does its vector.
    ingest(harness, org, tmp_path / "photo", [(name, 70, lat, lon), *rows[1:]])
    assert not np.array_equal(check_vectors(harness, ids[name], 10.0, 179.5), image_vector)

    # Another position in the manifest moves the others; their pictures are not encoded again.
    other, seed, lat, lon = rows[1]
    image_vector = check_vectors(harness, ids[other], lat, lon)
    ingest(harness, org, tmp_path / "photo", [(other, seed, 1.0, -2.0)])
    assert np.array_equal(check_vectors(harness, ids[other], 1.0, -2.0), image_vector)


def test_ingest_crash_before_index_is_repaired_with_both_vectors(harness, tmp_path, monkeypatch):
    org = harness.organization()
    monkeypatch.setattr(ingest_pipeline, "index_images", lambda *_: None)
    rows = images_in_cities(per_city=1)
    ids = ingest(harness, org, tmp_path / "photo", rows)
    monkeypatch.undo()
    contract = harness.encoder.contract.digest
    channels = len(harness.encoder.contract.dims)
    assert harness.scalar("SELECT count(*) FROM embeddings") == (channels - 1) * len(rows)
    # An existing GPS vector does not list an image twice.
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " SELECT image_id, contract, 'gps', organization_id, vector FROM embeddings"
                " WHERE channel = 'image'"
            )
        )
    lost = harness.repository.unindexed_images(contract, 100)
    assert lost == sorted(ids.values())
    ingest_pipeline.index_images(lost, harness.components)
    for name, _, lat, lon in rows:
        check_vectors(harness, ids[name], lat, lon)


def test_rebuild_contains_all_channels(harness, tmp_path):
    org = harness.organization()
    ids = ingest(harness, org, tmp_path / "photo", images_in_cities())
    source = RebuildSource(harness.owner, lambda: harness.encoder.contract)
    built = EdgeIndex(tmp_path / "next")
    built.ensure(source.spec())
    for points in source.stream(chunk=5):
        built.upsert(points)
    try:
        for image_id in ids.values():
            (old,) = harness.index.fetch([image_id], vectors=True)
            (new,) = built.fetch([image_id], vectors=True)
            assert set(new.vectors) == set(harness.encoder.contract.dims)
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


def candidates_by_channel(answer, channel) -> list[tuple[int, UUID, Point]]:
    """Hits of a channel among the candidates, in the channel's order."""
    return sorted(
        (hit.rank, ranked.candidate.id, ranked.candidate.point)
        for ranked in answer.ranked
        for name, hit in ranked.candidate.channels.items()
        if name == channel and hit.rank is not None
    )


def test_locate_position_vector_finds_images_there(harness, tmp_path):
    org = harness.organization()
    ingest(harness, org, tmp_path / "photo", images_in_cities(per_city=4))
    ingest(harness, org, tmp_path / "street", images_in_cities("s", per_city=4), kind="street")
    for lat, lon in CITIES:
        vector = harness.encoder.encode_positions(np.array([[lat, lon]]))[0]
        answer = locate(harness, org, vector, gps_channel_fraction=0.5)
        assert len(answer.ranked) == 8
        hits_by_gps = candidates_by_channel(answer, "gps")
        assert [rank for rank, _, _ in hits_by_gps[:2]] == [0, 1]
        away_m = haversine_m(lat_lon([p for _, _, p in hits_by_gps[:2]]), np.array([lat, lon]))
        assert away_m.max() < 1.0, "one photo and one street view are at this position"
        for ranked in answer.ranked:
            (point,) = harness.index.fetch([ranked.candidate.id], vectors=True)
            for channel, hit in ranked.candidate.channels.items():
                stored = point.vectors[channel].astype(np.float64)
                cosine = stored @ vector / np.linalg.norm(stored) / np.linalg.norm(vector)
                assert hit.score == pytest.approx(float(cosine), abs=2e-6)
            assert ranked.candidate.score == ranked.candidate.channels["image"].score
        without = locate(harness, org, vector, gps_channel_fraction=0.0)
        assert all(list(ranked.candidate.channels) == ["image"] for ranked in without.ranked)


def test_locate_after_move_uses_new_position(harness, tmp_path):
    org = harness.organization()
    ids = ingest(harness, org, tmp_path / "photo", images_in_cities())
    vector = harness.encoder.encode_positions(np.array([[0.0, 180.0]]))[0]
    moved = ids["p2-1.jpg"]
    before = candidates_by_channel(locate(harness, org, vector, gps_channel_fraction=0.5), "gps")
    assert before[0][1] != moved
    update_image(harness, org, moved, point=Point(0.0, -180.0))
    after = candidates_by_channel(locate(harness, org, vector, gps_channel_fraction=0.5), "gps")
    assert after[0][:2] == (0, moved)
