"""Recovery after a crash: leases, lost tasks, fencing of old writers, reconciliation."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pinpoint import tasks
from pinpoint.errors import IndexUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.records import ImageUpdate, IndexFilter, Point
from registration import register_folder
from stack_fixtures import WORKER, jpeg, write_photos


def register(harness, org, folder):
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def recover(harness, alive=True):
    return recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=0,
        is_alive=lambda _worker: alive,
    )


def reconcile(harness, *, repair=True):
    return reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue if repair else None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )


def fetch_batch(harness, org, batch):
    with harness.database.read(org) as catalog:
        return catalog.batch(batch.id)


@pytest.fixture
def org(harness):
    return harness.organization()


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "in", 6)
    return tmp_path / "in"


def test_claim_leased_items_returns_none_until_lease_expires(harness, org, folder):
    register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    assert len(harness.repository.claim(ids, "host/1/0.00")) == 6
    assert harness.repository.claim(ids, "host/2/0.00") == []
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert [len(harness.repository.claim([item_id], "host/2/0.00")) for item_id in ids] == [1] * 6


def test_claim_after_max_attempts_fails_items(harness, org, folder):
    batch = register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    assert len(harness.repository.claim(ids, "host/0/0.00")) == 6
    harness.repository.release_worker("host/0/0.00")
    for turn in range(1, 3):
        assert [
            len(harness.repository.claim([item_id], f"host/{turn}/0.00")) for item_id in ids
        ] == [1] * 6
        harness.repository.release_worker(f"host/{turn}/0.00")
    assert [harness.repository.claim([item_id], "host/9/0.00") for item_id in ids] == [[]] * 6
    assert fetch_batch(harness, org, batch).failed == 6
    with harness.database.read(org) as catalog:
        assert {i.error_code for i in catalog.batch_items(batch.id)} == {"too_many_attempts"}
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 6
    harness.run()
    assert fetch_batch(harness, org, batch).indexed == 6


def test_recover_lost_work_queues_lost_tasks(harness, org, folder):
    batch = register(harness, org, folder)
    harness.queue.sent.clear()  # the broker lost them
    assert recover(harness).items == 6
    harness.run()
    assert fetch_batch(harness, org, batch).is_processed
    assert recover(harness).items == 0


def test_recover_lost_work_with_full_queue_sends_nothing(harness, org, folder):
    register(harness, org, folder)
    before = list(harness.queue.sent)
    assert recover(harness).items == 0
    assert harness.queue.sent == before


def test_recover_lost_work_of_dead_worker_sends_items_singly(harness, org, folder):
    register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    harness.repository.claim(ids, "host/1/0.00")
    assert recover(harness, alive=True).released == 0
    recovered = recover(harness, alive=False)
    assert (recovered.released, recovered.items) == (6, 6)
    assert [len(sent) for _, sent in harness.queue.sent] == [1] * 6
    harness.run()
    assert harness.index.count(IndexFilter(organization_id=org)) == 6


def test_ingest_items_index_unavailable_counts_no_attempt(harness, org, folder, monkeypatch):
    batch = register(harness, org, folder)

    def fail_upsert(*_arguments):
        raise IndexUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(harness.index, "upsert", fail_upsert)
        for _ in range(5):
            recover(harness)
            for name, ids in list(harness.queue.sent):
                ingest = name == tasks.INGEST_ITEMS
                arguments = (
                    (ids, WORKER, harness.components) if ingest else (ids, harness.components)
                )
                run = pipeline.ingest_items if ingest else pipeline.index_images
                with pytest.raises(IndexUnavailableError):
                    run(*arguments)
            harness.queue.sent.clear()
    batch_after = fetch_batch(harness, org, batch)
    assert (batch_after.stored, batch_after.failed) == (6, 0)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 0
    encode, calls = harness.components.encoder.encode_channels, []
    monkeypatch.setattr(
        harness.components.encoder,
        "encode_channels",
        lambda *arguments: calls.append(arguments) or encode(*arguments),
    )
    recover(harness)
    harness.run()
    assert fetch_batch(harness, org, batch).indexed == 6
    assert calls == []  # the stored vectors are used


def test_ingest_image_that_cannot_be_encoded_fails_alone(harness, org, folder, monkeypatch):
    encode = harness.components.encoder.encode_channels
    with (folder / "0003.jpg").open("rb") as file:
        assert file.read(2) == b"\xff\xd8"
    bad = harness.components.decoder.read("x", str(folder / "0003.jpg")).faces[0].pixels

    def encode_or_fail(images, kind=None):
        if any(image.shape == bad.shape and (image == bad).all() for image in images):
            raise RuntimeError("no vector for this one")
        return encode(images, kind)

    monkeypatch.setattr(harness.components.encoder, "encode_channels", encode_or_fail)
    batch = harness.ingest(folder, org)
    assert (batch.indexed, batch.failed) == (5, 1)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    assert reconcile(harness).total == 0


def test_index_upsert_of_old_version_changes_nothing(harness, org, folder):
    harness.ingest(folder, org)
    image_id = harness.index.scroll(None, 1)[0][0]
    old_points = harness.index.fetch([image_id], vectors=True)
    with harness.operator.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(point=Point(lat=5, lon=5)))
    harness.run()
    harness.index.upsert(old_points)
    assert harness.index.fetch([image_id])[0].point.lat == pytest.approx(5, abs=1e-6)
    with harness.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    harness.index.upsert(old_points)
    assert harness.index.fetch([image_id]) == []


def test_ingest_items_late_worker_does_not_replace_newer_file(harness, org, folder):
    register(harness, org, folder)
    _, late_item_ids = harness.queue.sent.pop()
    (folder / "0000.jpg").write_bytes(jpeg(500, 48.85, 2.35))
    newer = register(harness, org, folder)
    harness.run()
    stored_hash = harness.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    (folder / "0000.jpg").write_bytes(jpeg(0, 48.85, 2.35))
    pipeline.ingest_items(late_item_ids, WORKER, harness.components)
    hash_after = harness.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    assert hash_after == stored_hash
    assert fetch_batch(harness, org, newer).indexed == 6
    assert harness.scalar("SELECT count(*) FROM batch_items WHERE error_code = 'superseded'") == 6


def test_reconcile_repairs_every_kind_of_drift(harness, org, folder):
    harness.ingest(folder, org)
    assert reconcile(harness).total == 0
    ids = [row[0] for row in harness.index.scroll(None, 10)]
    points = {point.id: point for point in harness.index.fetch(ids, vectors=True)}
    harness.index.delete_points([ids[0]])  # missing
    harness.index.delete_points([ids[1]])
    with harness.owner.begin() as unit:  # stale: the row has a newer version than the index
        unit.connection.execute(
            text("UPDATE images SET version = 7 WHERE id = :id"), {"id": ids[2]}
        )
    harness.index.upsert([points[ids[1]]])
    with harness.owner.begin() as unit:  # extra: the row is deleted
        unit.connection.execute(text("DELETE FROM images WHERE id = :id"), {"id": ids[3]})
    drift = reconcile(harness, repair=False)
    assert (drift.missing, drift.stale, drift.extra, drift.repaired) == (1, 1, 1, 0)
    assert reconcile(harness).repaired == 3
    harness.run()
    assert reconcile(harness).total == 0
    assert harness.index.count(IndexFilter(organization_id=org)) == 5


def test_recover_lost_work_removes_expired_tombstones(harness, org, folder):
    harness.ingest(folder, org)
    image_id = harness.index.scroll(None, 1)[0][0]
    with harness.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    assert (image_id, 2, False) in harness.index.scroll(None, 10)
    assert recover(harness).tombstones == 1
    assert image_id not in [row[0] for row in harness.index.scroll(None, 10)]
    assert harness.scalar("SELECT count(*) FROM tombstones") == 0
    assert harness.ingest(folder, org).indexed == 1


def test_delete_image_before_indexing_fails_its_item(harness, org, folder, monkeypatch):
    batch = register(harness, org, folder)
    monkeypatch.setattr(pipeline, "index_images", lambda *_: None)
    harness.run()
    assert fetch_batch(harness, org, batch).stored == 6
    deleted_id = harness.scalar("SELECT id FROM images ORDER BY id LIMIT 1")
    with harness.database.write(org) as catalog:
        catalog.delete_image(deleted_id)
    monkeypatch.undo()
    harness.queue.send(tasks.ERASE_IMAGES, [deleted_id])
    queued_after_delete = harness.queue.sent
    harness.run()
    assert queued_after_delete == []
    recover(harness)
    harness.run()
    batch_after = fetch_batch(harness, org, batch)
    assert (batch_after.indexed, batch_after.failed) == (5, 1)
    assert batch_after.is_processed


def test_rebuild_source_streams_points_of_index(harness, org, folder):
    from pinpoint.store.vectors.rebuild_source import RebuildSource

    harness.ingest(folder, org)
    points = RebuildSource(harness.owner, lambda: harness.encoder.contract)
    watermark = points.watermark()
    streamed = {point.id: point for chunk in points.stream(chunk=4) for point in chunk}
    indexed_points = {p.id: p for p in harness.index.fetch(list(streamed), vectors=True)}
    assert streamed.keys() == indexed_points.keys()
    for image_id, point in streamed.items():
        assert point.version == indexed_points[image_id].version
        assert point.vectors["image"] == pytest.approx(
            indexed_points[image_id].vectors["image"], abs=1e-3
        )
    changed_id = next(iter(streamed))
    assert [p for chunk in points.stream(points.watermark()) for p in chunk] == []
    with harness.operator.write(org) as catalog:
        catalog.update_image(changed_id, ImageUpdate(heading_deg=12))
    harness.run()
    assert [p.id for chunk in points.stream(watermark) for p in chunk] == [changed_id]
