"""The channel `raw` on real components: deleted, repaired, re-embedded, backed up and searched."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sqlalchemy import text

from nets.joint_bundles import random_joint_bundle
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.ingest import pipeline as ingest_pipeline
from pinpoint.ingest import reconcile
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.settings import EncoderSettings, SearchSettings, ServiceSettings, Settings
from pinpoint.stack.backup import dumps
from pinpoint.stack.backup.backup import write_backup
from pinpoint.stack.backup.restore import restore_backup
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from pinpoint.store.vectors.rebuild_source import RebuildSource
from stack_fixtures import ServiceHarness, write_photos

PHOTOS = 12
CHANNELS = {"image", "gps", "raw"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two bundles with the same networks, without and with the channel `raw`."""
    folder = tmp_path_factory.mktemp("bundles")
    return [
        random_joint_bundle(folder / name, raw_channel=raw_channel)
        for name, raw_channel in (("without", False), ("with", True))
    ]


@pytest.fixture
def harness(bundles, database_url, api_database_url, tmp_path):
    torch.set_num_threads(1)
    services = ServiceHarness(
        database_url, api_database_url, tmp_path / "home", bundle=str(bundles[1])
    )
    yield services
    services.close()


@pytest.fixture
def org(harness, tmp_path):
    """An organization with indexed photos in the folder `in`."""
    organization_id = harness.organization()
    write_photos(tmp_path / "in", PHOTOS)
    with harness.operator.write(organization_id) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    assert harness.ingest(tmp_path / "in", organization_id).indexed == PHOTOS
    return organization_id


def stored_vectors(harness, contract):
    """Bytes of the vectors in PostgreSQL by image and channel."""
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(
            text("SELECT image_id, channel, vector FROM embeddings WHERE contract = :contract"),
            {"contract": contract},
        ).all()
    return {(row.image_id, row.channel): bytes(row.vector) for row in rows}


def image_ids(harness):
    return [row[0] for row in harness.index.scroll(None, 1_000)]


def locate(harness, organization_id, photo, encoder=None, **settings):
    context = harness.search_context(
        organization_id, settings=SearchSettings(candidates=6, oversampling=1, **settings)
    )
    if encoder is not None:
        context = replace(context, encoder=encoder)
    query = QueryPhoto(data=photo.read_bytes(), file=photo.name, kind="photo")
    return pipeline.locate(query, SearchFilter(), context)


def test_locate_reports_cosines_of_raw_features(harness, org, tmp_path):
    photos = sorted((tmp_path / "in").glob("*"))
    points = harness.index.fetch(image_ids(harness), vectors=True)
    for photo in photos[:3]:
        pixels = harness.components.decoder.read("q", str(photo), query=True).faces[0].pixels
        vector = harness.encoder.encode_query_channels(pixels, "photo")["raw"]
        cosines = {point.id: float(point.vectors["raw"] @ vector) for point in points}
        answer = locate(harness, org, photo, raw_channel_fraction=0.5, gps_channel_fraction=0.0)
        by_raw = {
            ranked.candidate.id: ranked.candidate.channels["raw"]
            for ranked in answer.ranked
            if "raw" in ranked.candidate.channels
        }
        best = sorted(cosines, key=lambda image_id: -cosines[image_id])
        assert sorted(by_raw, key=lambda image_id: by_raw[image_id].rank)[0] == best[0]
        assert len(by_raw) >= 3
        for image_id, channel in by_raw.items():
            assert channel.score == pytest.approx(cosines[image_id], abs=2e-6)
        assert all("image" in ranked.candidate.channels for ranked in answer.ranked)


def test_locate_without_raw_quota_equals_bundle_without_raw(harness, org, bundles, tmp_path):
    """The same networks without the channel give the same answer, bit for bit."""
    without = EncoderHandle(Settings(encoder=EncoderSettings(bundle=str(bundles[0]), device="cpu")))
    live = harness.encoder.contract
    encoder = SimpleNamespace(
        contract=replace(without.contract, digest=live.digest, name=live.name),
        encode_query_channels=without.encode_query_channels,
    )
    for photo in sorted((tmp_path / "in").glob("*"))[:3]:
        answers = [
            locate(harness, org, photo, raw_channel_fraction=0.0),
            locate(harness, org, photo, encoder=encoder),
        ]
        first, second = (repr(replace(answer, timings_ms={})) for answer in answers)
        assert first == second


def test_deleted_image_leaves_no_raw_vector(harness, org, tmp_path):
    deleted = image_ids(harness)[0]
    with harness.database.write(org) as catalog:
        catalog.delete_image(deleted)
    harness.run()
    assert harness.index.fetch([deleted], vectors=True) == []
    contract = harness.encoder.contract.digest
    stored = stored_vectors(harness, contract)
    assert deleted not in {image_id for image_id, _ in stored}
    assert len(stored) == len(CHANNELS) * (PHOTOS - 1)
    for photo in (tmp_path / "in").glob("*"):
        answer = locate(harness, org, photo, raw_channel_fraction=1.0)
        assert deleted not in {ranked.candidate.id for ranked in answer.ranked}


def test_reconcile_restores_all_channels_of_missing_points(harness, org):
    lost = image_ids(harness)[:4]
    before = {point.id: point.vectors for point in harness.index.fetch(lost, vectors=True)}
    harness.index.delete_points(lost)
    drift = reconcile.reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    assert (drift.missing, drift.repaired) == (4, 4)
    harness.run()
    for point in harness.index.fetch(lost, vectors=True):
        assert set(point.vectors) == CHANNELS
        for channel, vector in point.vectors.items():
            assert np.array_equal(vector, before[point.id][channel])


def test_reembedding_adds_raw_vectors_and_equals_ingest(
    bundles, harness, org, database_url, api_database_url
):
    contract = harness.encoder.contract
    ingested = stored_vectors(harness, contract.digest)
    assert {channel for _, channel in ingested} == CHANNELS
    queue = CatalogReembedQueue(harness.owner)
    assert queue.list_missing(contract.digest, contract.dims) == []
    # An image without one of the channels counts as missing.
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM embeddings WHERE channel = 'raw'"))
    missing = queue.list_missing(contract.digest, contract.dims)
    assert len(missing) == PHOTOS
    report = ingest_pipeline.reembed_images(missing, harness.components, queue)
    assert (report.done, report.unreachable) == (PHOTOS, {})
    again = stored_vectors(harness, contract.digest)
    assert again.keys() == ingested.keys()
    for key, vector in again.items():
        difference = np.frombuffer(vector, "<f2").astype(float) - np.frombuffer(
            ingested[key], "<f2"
        )
        assert np.abs(difference).max() <= 1e-3, key
    assert queue.list_missing(contract.digest, contract.dims) == []
    # The vectors of the bundle without the channel are another contract's.
    other = EncoderHandle(Settings(encoder=EncoderSettings(bundle=str(bundles[0]), device="cpu")))
    parts = replace(harness.components, encoder=other)
    missing = queue.list_missing(other.contract.digest, other.contract.dims)
    assert ingest_pipeline.reembed_images(missing, parts, queue).done == PHOTOS
    channels = {channel for _, channel in stored_vectors(harness, other.contract.digest)}
    assert channels == {"image", "gps"}


def test_backup_and_restore_keep_raw_vectors(harness, org, bundles, database_url, tmp_path):
    settings = Settings(
        services=ServiceSettings(
            home=tmp_path / "home",
            database_url=database_url,
            broker_url="redis+socket:///nowhere.sock",
            qdrant_url="http://127.0.0.1:9",
        ),
        encoder=EncoderSettings(bundle=str(bundles[1]), device="cpu"),
    )
    contract = harness.encoder.contract
    before = stored_vectors(harness, contract.digest)
    write_backup(settings, tmp_path / "out", lambda _: None)
    shutil.rmtree(tmp_path / "home" / "blobs")
    harness.owner.close()
    harness.as_api.close()
    with dumps.open_connection(database_url) as connection:
        connection.execute("DROP SCHEMA pinpoint CASCADE")
        connection.execute("DROP SCHEMA layers CASCADE")
        connection.execute("DROP SCHEMA tenant CASCADE")
    restore_backup(settings, tmp_path / "out", replace=False, on_message=lambda _: None)
    assert stored_vectors(harness, contract.digest) == before
    source = RebuildSource(harness.owner, lambda: contract)
    points = [point for page in source.stream(chunk=5) for point in page]
    assert len(points) == PHOTOS
    assert all(set(point.vectors) == CHANNELS for point in points)
    assert source.spec().dims == contract.dims
