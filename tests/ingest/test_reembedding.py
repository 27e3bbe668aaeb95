"""Computing vectors of another contract for images of the catalog from their stored files."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from nets.towers import timm_bundle
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import DatabaseUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.stored_images import RateLimiter
from pinpoint.media.checks import MODIFIED_SINCE_INDEXING
from pinpoint.records import IMAGE_CHANNEL, Embedded
from pinpoint.settings import EncoderSettings, Settings
from pinpoint.store.db.rows import unpack_vector
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from pinpoint.store.vectors.rebuild_source import RebuildSource
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def reembed_queue(harness):
    return CatalogReembedQueue(harness.owner)


@pytest.fixture
def tiny_parts(harness, tmp_path):
    """Ingest services with a tiny encoder instead of the descriptor."""
    folder = timm_bundle(tmp_path / "bundles" / "tiny")
    settings = Settings(encoder=EncoderSettings(bundle=str(folder), device="cpu"))
    return replace(harness.components, encoder=EncoderHandle(settings))


def stored_vectors(harness, contract):
    """Vectors in PostgreSQL by image."""
    statement = text("SELECT image_id, vector FROM embeddings WHERE contract = :contract")
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(statement, {"contract": contract.digest}).all()
    return {row.image_id: unpack_vector(row.vector) for row in rows}


def missing_ids(reembed_queue, parts):
    contract = parts.encoder.contract
    return reembed_queue.list_missing(contract.digest, contract.dims)


def count_reasons(result):
    return Counter(rejection.error_code for rejection in result.unreachable.values())


@pytest.mark.parametrize("originals", ["reference", "copy", "rendition"])
def test_reembed_images_every_originals_policy_embeds_all(
    harness, tiny_parts, reembed_queue, tmp_path, originals
):
    write_photos(tmp_path / "in", 5)
    org = harness.organization()
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals=originals)
    assert harness.ingest(tmp_path / "in", org).indexed == 5
    old_vectors = stored_vectors(harness, harness.encoder.contract)
    ids = missing_ids(reembed_queue, tiny_parts)
    assert (
        len(ids),
        reembed_queue.count_live(),
        missing_ids(reembed_queue, harness.components),
    ) == (
        5,
        5,
        [],
    )
    counts = []
    result = pipeline.reembed_images(ids, tiny_parts, reembed_queue, on_images=counts.append)
    assert (result.done, result.unreachable, sum(counts)) == (5, {}, 5)
    new_vectors = stored_vectors(harness, tiny_parts.encoder.contract)
    assert new_vectors.keys() == old_vectors.keys() == set(ids)
    assert {len(vector) for vector in new_vectors.values()} == {
        tiny_parts.encoder.contract.dims["image"]
    }
    assert missing_ids(reembed_queue, tiny_parts) == []
    vectors_after = stored_vectors(harness, harness.encoder.contract)
    assert all(
        np.array_equal(vectors_after[image_id], old_vectors[image_id]) for image_id in old_vectors
    ), "the old ones stay"


def test_reembed_images_vectors_equal_ingest_vectors(harness, tiny_parts, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 3)
    org = harness.organization()
    harness.ingest(tmp_path / "in", org)
    pipeline.reembed_images(missing_ids(reembed_queue, tiny_parts), tiny_parts, reembed_queue)
    for image_id, vector in stored_vectors(harness, tiny_parts.encoder.contract).items():
        with harness.database.read(org) as catalog:
            name = catalog.image(image_id).external_id
        read = tiny_parts.decoder.read(name, str(tmp_path / name), query=True)
        expected = tiny_parts.encoder.encode([read.faces[0].pixels], "photo")[0]
        assert np.abs(vector - expected).max() < 1e-3


def test_reembed_images_unreachable_files_reported_per_image(
    harness, tiny_parts, reembed_queue, tmp_path
):
    folder = tmp_path / "in"
    write_photos(folder, 5)
    harness.ingest(folder, harness.organization())
    (folder / "0001.jpg").unlink()
    (folder / "0002.jpg").write_bytes(jpeg(99, 1.0, 1.0))
    (folder / "0003.jpg").write_bytes(b"no picture")
    with harness.owner.begin() as unit:
        nowhere = "UPDATE images SET uri = NULL WHERE external_id = 'in/0004.jpg'"
        unit.connection.execute(text(nowhere))
    result = pipeline.reembed_images(
        missing_ids(reembed_queue, tiny_parts), tiny_parts, reembed_queue
    )
    assert result.done == 1
    assert count_reasons(result) == {
        "missing_file": 2,
        MODIFIED_SINCE_INDEXING: 1,
        "unsupported_format": 1,
    }
    assert set(missing_ids(reembed_queue, tiny_parts)) == set(result.unreachable)


def test_reembed_images_interrupted_pass_resumes(harness, tiny_parts, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 70)
    harness.ingest(tmp_path / "in", harness.organization())

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.reembed_images(
            missing_ids(reembed_queue, tiny_parts), tiny_parts, reembed_queue, on_images=interrupt
        )
    remaining = missing_ids(reembed_queue, tiny_parts)
    assert len(remaining) == 70 - 32
    assert pipeline.reembed_images(remaining, tiny_parts, reembed_queue).done == 38
    assert len(stored_vectors(harness, tiny_parts.encoder.contract)) == 70


def test_rebuild_source_includes_vectors_written_during_build(
    harness, tiny_parts, reembed_queue, tmp_path
):
    write_photos(tmp_path / "in", 4)
    harness.ingest(tmp_path / "in", harness.organization())
    points = RebuildSource(harness.owner, lambda: tiny_parts.encoder.contract)
    watermark = points.watermark()
    assert (points.bounds(), list(points.stream(since=watermark))) == ((0, 0), [])
    pipeline.reembed_images(missing_ids(reembed_queue, tiny_parts), tiny_parts, reembed_queue)
    assert points.bounds() == (4, 4)
    assert sum(len(page) for page in points.stream(since=watermark)) == 4


def test_reembed_images_concurrent_changes_store_no_wrong_vectors(
    harness, tiny_parts, reembed_queue, tmp_path
):
    folder = tmp_path / "in"
    write_photos(folder, 3)
    org = harness.organization()
    harness.ingest(folder, org)
    ids = missing_ids(reembed_queue, tiny_parts)
    files = reembed_queue.files(ids)
    (folder / "0000.jpg").write_bytes(jpeg(500, 10.0, 2.35))
    harness.ingest(folder, org)
    deleted_id = next(file.images[0].id for file in files if file.file == "in/0001.jpg")
    with harness.database.write(org) as catalog:
        catalog.delete_image(deleted_id)
    harness.run()
    reembed_queue.files = lambda _: files  # the state before the changes
    pipeline.reembed_images(ids, tiny_parts, reembed_queue)
    del reembed_queue.files
    assert len(stored_vectors(harness, tiny_parts.encoder.contract)) == 1
    (remaining,) = missing_ids(reembed_queue, tiny_parts)
    assert pipeline.reembed_images([remaining], tiny_parts, reembed_queue).done == 1


def test_reembed_queue_missing_excludes_images_of_open_items(
    harness, reembed_queue, tmp_path, monkeypatch
):
    folder, org = tmp_path / "in", harness.organization()
    write_photos(folder, 3)
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="rendition")

    def fail_save_vectors(*_args, **_more):
        raise DatabaseUnavailableError("restarted between rows and vectors")

    with monkeypatch.context() as broken:
        broken.setattr(harness.components.repository, "save_vectors", fail_save_vectors)
        with pytest.raises(DatabaseUnavailableError):
            harness.ingest(folder, org)
    contract = harness.encoder.contract
    contract_key = contract.digest, contract.dims
    assert len(reembed_queue.list_missing(*contract_key)) == 3, "rows without vectors"
    assert reembed_queue.list_missing(*contract_key, include_in_progress=False) == []
    with harness.owner.begin() as unit:
        failed = (
            "UPDATE batch_items SET status = 'failed', final_status = NULL, error_code = 'given up'"
        )
        unit.connection.execute(text(failed))
    assert len(reembed_queue.list_missing(*contract_key, include_in_progress=False)) == 3, (
        "no open item will compute them"
    )


def test_reembed_images_existing_vector_is_kept(harness, tiny_parts, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", harness.organization())
    (image_id,) = missing_ids(reembed_queue, tiny_parts)
    contract, (file,) = tiny_parts.encoder.contract, reembed_queue.files([image_id])
    vector = np.full(contract.dims["image"], 0.25, dtype=np.float32)
    sha256 = file.images[0].sha256
    embedded = Embedded(image_id=image_id, sha256=sha256, vectors={IMAGE_CHANNEL: vector})
    harness.repository.save_vectors(contract.digest, [embedded])
    pipeline.reembed_images([image_id], tiny_parts, reembed_queue)
    assert np.array_equal(stored_vectors(harness, contract)[image_id], vector)


def test_rate_limiter_acquire_keeps_rate():
    limiter, started = RateLimiter(200.0), time.monotonic()
    for _ in range(10):
        limiter.acquire(10)
    assert 0.45 <= time.monotonic() - started < 1.5
    started = time.monotonic()
    RateLimiter(None).acquire(10_000)
    assert time.monotonic() - started < 0.1
