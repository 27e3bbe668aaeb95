"""Images of the catalog get vectors of another contract, from what is kept of their files."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from nets.towers import timm_bundle
from pinpoint.bootstrap import EncoderHandle
from pinpoint.errors import DatabaseUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.stored_images import MODIFIED_SINCE_INDEXING, RateLimiter
from pinpoint.records import Embedded
from pinpoint.settings import EncoderSettings, Settings
from pinpoint.store.db.rows import unpack_vector
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from pinpoint.store.vectors.rebuild_source import RebuildSource
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def reembed_queue(harness):
    return CatalogReembedQueue(harness.owner)


@pytest.fixture
def tiny(harness, tmp_path):
    """The parts of an ingest with a tiny tower instead of the descriptor."""
    folder = timm_bundle(tmp_path / "bundles" / "tiny")
    settings = Settings(encoder=EncoderSettings(bundle=str(folder), device="cpu"))
    return replace(harness.parts, encoder=EncoderHandle(settings))


def stored(harness, contract):
    """Vectors in PostgreSQL by image."""
    asked = text("SELECT image_id, vector FROM embeddings WHERE contract = :contract")
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(asked, {"contract": contract.digest}).all()
    return {row.image_id: unpack_vector(row.vector) for row in rows}


def missing(reembed_queue, parts):
    contract = parts.encoder.contract
    return reembed_queue.list_missing(contract.digest, contract.dims)


def reasons(found):
    return Counter(one.error_code for one in found.unreachable.values())


@pytest.mark.parametrize("originals", ["reference", "copy", "rendition"])
def test_every_policy_of_originals_can_be_encoded_again(
    harness, tiny, reembed_queue, tmp_path, originals
):
    write_photos(tmp_path / "in", 5)
    org = harness.organization()
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals=originals)
    assert harness.ingest(tmp_path / "in", org).indexed == 5
    old = stored(harness, harness.encoder.contract)
    ids = missing(reembed_queue, tiny)
    assert (len(ids), reembed_queue.count_live(), missing(reembed_queue, harness.parts)) == (
        5,
        5,
        [],
    )
    seen = []
    found = pipeline.reembed_images(ids, tiny, reembed_queue, on_images=seen.append)
    assert (found.done, found.unreachable, sum(seen)) == (5, {}, 5)
    fresh = stored(harness, tiny.encoder.contract)
    assert fresh.keys() == old.keys() == set(ids)
    assert {len(each) for each in fresh.values()} == {tiny.encoder.contract.dims["image"]}
    assert missing(reembed_queue, tiny) == []
    now = stored(harness, harness.encoder.contract)
    assert all(np.array_equal(now[each], old[each]) for each in old), "the old ones stay"


def test_the_vectors_are_those_that_an_ingest_would_have_made(
    harness, tiny, reembed_queue, tmp_path
):
    write_photos(tmp_path / "in", 3)
    org = harness.organization()
    harness.ingest(tmp_path / "in", org)
    pipeline.reembed_images(missing(reembed_queue, tiny), tiny, reembed_queue)
    for image_id, vector in stored(harness, tiny.encoder.contract).items():
        with harness.database.read(org) as catalog:
            name = catalog.image(image_id).external_id
        read = tiny.decoder.read(name, str(tmp_path / name), query=True)
        wanted = tiny.encoder.encode([read.faces[0].pixels], "photo")[0]
        assert np.abs(vector - wanted).max() < 1e-3


def test_what_cannot_be_reached_is_said_image_by_image(harness, tiny, reembed_queue, tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 5)
    harness.ingest(folder, harness.organization())
    (folder / "0001.jpg").unlink()
    (folder / "0002.jpg").write_bytes(jpeg(99, 1.0, 1.0))
    (folder / "0003.jpg").write_bytes(b"no picture")
    with harness.owner.begin() as unit:
        nowhere = "UPDATE images SET uri = NULL WHERE external_id = 'in/0004.jpg'"
        unit.connection.execute(text(nowhere))
    found = pipeline.reembed_images(missing(reembed_queue, tiny), tiny, reembed_queue)
    assert found.done == 1
    assert reasons(found) == {
        "missing_file": 2,
        MODIFIED_SINCE_INDEXING: 1,
        "unsupported_format": 1,
    }
    assert set(missing(reembed_queue, tiny)) == set(found.unreachable)


def test_a_pass_goes_on_where_a_broken_one_stopped(harness, tiny, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 70)
    harness.ingest(tmp_path / "in", harness.organization())

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.reembed_images(missing(reembed_queue, tiny), tiny, reembed_queue, on_images=stop)
    left = missing(reembed_queue, tiny)
    assert len(left) == 70 - 32
    assert pipeline.reembed_images(left, tiny, reembed_queue).done == 38
    assert len(stored(harness, tiny.encoder.contract)) == 70


def test_a_build_that_runs_sees_what_is_encoded_meanwhile(harness, tiny, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 4)
    harness.ingest(tmp_path / "in", harness.organization())
    points = RebuildSource(harness.owner, lambda: tiny.encoder.contract)
    mark = points.watermark()
    assert (points.bounds(), list(points.stream(since=mark))) == ((0, 0), [])
    pipeline.reembed_images(missing(reembed_queue, tiny), tiny, reembed_queue)
    assert points.bounds() == (4, 4)
    assert sum(len(page) for page in points.stream(since=mark)) == 4


def test_new_bytes_and_deletions_meanwhile_leave_no_wrong_vector(
    harness, tiny, reembed_queue, tmp_path
):
    folder = tmp_path / "in"
    write_photos(folder, 3)
    org = harness.organization()
    harness.ingest(folder, org)
    ids = missing(reembed_queue, tiny)
    files = reembed_queue.files(ids)
    (folder / "0000.jpg").write_bytes(jpeg(500, 10.0, 2.35))
    harness.ingest(folder, org)
    gone = next(file.images[0].id for file in files if file.file == "in/0001.jpg")
    with harness.database.write(org) as catalog:
        catalog.delete_image(gone)
    harness.run()
    reembed_queue.files = lambda _: files  # what was asked before the changes
    pipeline.reembed_images(ids, tiny, reembed_queue)
    del reembed_queue.files
    assert len(stored(harness, tiny.encoder.contract)) == 1
    (left,) = missing(reembed_queue, tiny)
    assert pipeline.reembed_images([left], tiny, reembed_queue).done == 1


def test_what_a_batch_is_still_at_is_left_to_it(harness, reembed_queue, tmp_path, monkeypatch):
    folder, org = tmp_path / "in", harness.organization()
    write_photos(folder, 3)
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="rendition")

    def gone(*_args, **_more):
        raise DatabaseUnavailableError("restarted between rows and vectors")

    with monkeypatch.context() as broken:
        broken.setattr(harness.parts.repository, "save_vectors", gone)
        with pytest.raises(DatabaseUnavailableError):
            harness.ingest(folder, org)
    contract = harness.encoder.contract
    asked = contract.digest, contract.dims
    assert len(reembed_queue.list_missing(*asked)) == 3, "rows without vectors"
    assert reembed_queue.list_missing(*asked, include_in_progress=False) == []
    with harness.owner.begin() as unit:
        failed = (
            "UPDATE batch_items SET status = 'failed', final_status = NULL, error_code = 'given up'"
        )
        unit.connection.execute(text(failed))
    assert len(reembed_queue.list_missing(*asked, include_in_progress=False)) == 3, (
        "nobody else would make them"
    )


def test_a_vector_that_a_batch_made_meanwhile_stays(harness, tiny, reembed_queue, tmp_path):
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", harness.organization())
    (image_id,) = missing(reembed_queue, tiny)
    contract, (file,) = tiny.encoder.contract, reembed_queue.files([image_id])
    made = np.full(contract.dims["image"], 0.25, dtype=np.float32)
    one = Embedded(image_id=image_id, sha256=file.images[0].sha256, vector=made)
    harness.repository.save_vectors(contract.digest, [one])
    pipeline.reembed_images([image_id], tiny, reembed_queue)
    assert np.array_equal(stored(harness, contract)[image_id], made)


def test_a_pace_is_kept():
    pace, begun = RateLimiter(200.0), time.monotonic()
    for _ in range(10):
        pace.acquire(10)
    assert 0.45 <= time.monotonic() - begun < 1.5
    begun = time.monotonic()
    RateLimiter(None).acquire(10_000)
    assert time.monotonic() - begun < 0.1
