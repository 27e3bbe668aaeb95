"""Recovery after a crash: leases, lost jobs, fencing of old writers, reconciliation."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pinpoint import jobs
from pinpoint.errors import IndexUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.records import ImageUpdate, IndexFilter, Point
from registration import register_folder
from stack_fixtures import WORKER, jpeg, write_photos


def register(rig, org, folder):
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=rig.operator,
        settings=rig.settings,
    )


def recover(rig, alive=True):
    return recover_lost_work(
        ledger=rig.ledger,
        queue=rig.queue,
        index=rig.index,
        contract=rig.encoder.contract.digest,
        chunk=64,
        tombstone_s=0,
        is_alive=lambda _worker: alive,
    )


def reconcile(rig, *, repair=True):
    return reconcile_index_rows(
        ledger=rig.ledger,
        index=rig.index,
        queue=rig.queue if repair else None,
        contract=rig.encoder.contract.digest,
        chunk=64,
    )


def fetch_batch(rig, org, batch):
    with rig.database.read(org) as catalog:
        return catalog.batch(batch.id)


@pytest.fixture
def org(rig):
    return rig.organization()


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "in", 6)
    return tmp_path / "in"


def test_claim_leased_items_returns_none_until_lease_expires(rig, org, folder):
    register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    assert len(rig.ledger.claim(ids, "host/1/0.00")) == 6
    assert rig.ledger.claim(ids, "host/2/0.00") == []
    with rig.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert [len(rig.ledger.claim([item_id], "host/2/0.00")) for item_id in ids] == [1] * 6


def test_claim_after_max_attempts_fails_items(rig, org, folder):
    batch = register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    assert len(rig.ledger.claim(ids, "host/0/0.00")) == 6
    rig.ledger.release_worker("host/0/0.00")
    for turn in range(1, 3):
        assert [len(rig.ledger.claim([item_id], f"host/{turn}/0.00")) for item_id in ids] == [1] * 6
        rig.ledger.release_worker(f"host/{turn}/0.00")
    assert [rig.ledger.claim([item_id], "host/9/0.00") for item_id in ids] == [[]] * 6
    assert fetch_batch(rig, org, batch).failed == 6
    with rig.database.read(org) as catalog:
        assert {i.error_code for i in catalog.batch_items(batch.id)} == {"too_many_attempts"}
    with rig.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 6
    rig.run()
    assert fetch_batch(rig, org, batch).indexed == 6


def test_recover_lost_work_queues_lost_jobs(rig, org, folder):
    batch = register(rig, org, folder)
    rig.queue.sent.clear()  # the broker lost them
    assert recover(rig).items == 6
    rig.run()
    assert fetch_batch(rig, org, batch).is_processed
    assert recover(rig).items == 0


def test_recover_lost_work_with_full_queue_sends_nothing(rig, org, folder):
    register(rig, org, folder)
    before = list(rig.queue.sent)
    assert recover(rig).items == 0
    assert rig.queue.sent == before


def test_recover_lost_work_of_dead_worker_sends_items_singly(rig, org, folder):
    register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    rig.ledger.claim(ids, "host/1/0.00")
    assert recover(rig, alive=True).released == 0
    recovered = recover(rig, alive=False)
    assert (recovered.released, recovered.items) == (6, 6)
    assert [len(sent) for _, sent in rig.queue.sent] == [1] * 6
    rig.run()
    assert rig.index.count(IndexFilter(organization_id=org)) == 6


def test_ingest_items_index_unavailable_counts_no_attempt(rig, org, folder, monkeypatch):
    batch = register(rig, org, folder)

    def fail_upsert(*_arguments):
        raise IndexUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(rig.index, "upsert", fail_upsert)
        for _ in range(5):
            recover(rig)
            for name, ids in list(rig.queue.sent):
                ingest = name == jobs.INGEST_ITEMS
                arguments = (ids, WORKER, rig.parts) if ingest else (ids, rig.parts)
                run = pipeline.ingest_items if ingest else pipeline.index_images
                with pytest.raises(IndexUnavailableError):
                    run(*arguments)
            rig.queue.sent.clear()
    batch_after = fetch_batch(rig, org, batch)
    assert (batch_after.stored, batch_after.failed) == (6, 0)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 0
    encode, calls = rig.parts.encoder.encode, []
    monkeypatch.setattr(
        rig.parts.encoder,
        "encode",
        lambda *arguments: calls.append(arguments) or encode(*arguments),
    )
    recover(rig)
    rig.run()
    assert fetch_batch(rig, org, batch).indexed == 6
    assert calls == []  # the stored vectors are used


def test_ingest_image_that_cannot_be_encoded_fails_alone(rig, org, folder, monkeypatch):
    encode = rig.parts.encoder.encode
    with (folder / "0003.jpg").open("rb") as file:
        assert file.read(2) == b"\xff\xd8"
    bad = rig.parts.decoder.read("x", str(folder / "0003.jpg")).faces[0].pixels

    def encode_or_fail(images, kind=None):
        if any(image.shape == bad.shape and (image == bad).all() for image in images):
            raise RuntimeError("no vector for this one")
        return encode(images, kind)

    monkeypatch.setattr(rig.parts.encoder, "encode", encode_or_fail)
    batch = rig.ingest(folder, org)
    assert (batch.indexed, batch.failed) == (5, 1)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    assert reconcile(rig).total == 0


def test_index_upsert_of_old_version_changes_nothing(rig, org, folder):
    rig.ingest(folder, org)
    image_id = rig.index.scroll(None, 1)[0][0]
    old_points = rig.index.fetch([image_id], vectors=True)
    with rig.operator.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(point=Point(lat=5, lon=5)))
    rig.run()
    rig.index.upsert(old_points)
    assert rig.index.fetch([image_id])[0].point.lat == pytest.approx(5, abs=1e-6)
    with rig.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    rig.run()
    rig.index.upsert(old_points)
    assert rig.index.fetch([image_id]) == []


def test_ingest_items_late_worker_does_not_replace_newer_file(rig, org, folder):
    register(rig, org, folder)
    _, late_item_ids = rig.queue.sent.pop()
    (folder / "0000.jpg").write_bytes(jpeg(500, 48.85, 2.35))
    newer = register(rig, org, folder)
    rig.run()
    stored_hash = rig.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    (folder / "0000.jpg").write_bytes(jpeg(0, 48.85, 2.35))
    pipeline.ingest_items(late_item_ids, WORKER, rig.parts)
    hash_after = rig.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    assert hash_after == stored_hash
    assert fetch_batch(rig, org, newer).indexed == 6
    assert rig.scalar("SELECT count(*) FROM batch_items WHERE error_code = 'superseded'") == 6


def test_reconcile_repairs_every_kind_of_drift(rig, org, folder):
    rig.ingest(folder, org)
    assert reconcile(rig).total == 0
    ids = [row[0] for row in rig.index.scroll(None, 10)]
    points = {point.id: point for point in rig.index.fetch(ids, vectors=True)}
    rig.index.forget([ids[0]])  # missing
    rig.index.forget([ids[1]])
    with rig.owner.begin() as unit:  # stale: the row has a newer version than the index
        unit.connection.execute(
            text("UPDATE images SET version = 7 WHERE id = :id"), {"id": ids[2]}
        )
    rig.index.upsert([points[ids[1]]])
    with rig.owner.begin() as unit:  # extra: the row is deleted
        unit.connection.execute(text("DELETE FROM images WHERE id = :id"), {"id": ids[3]})
    drift = reconcile(rig, repair=False)
    assert (drift.missing, drift.stale, drift.extra, drift.repaired) == (1, 1, 1, 0)
    assert reconcile(rig).repaired == 3
    rig.run()
    assert reconcile(rig).total == 0
    assert rig.index.count(IndexFilter(organization_id=org)) == 5


def test_recover_lost_work_removes_expired_tombstones(rig, org, folder):
    rig.ingest(folder, org)
    image_id = rig.index.scroll(None, 1)[0][0]
    with rig.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    rig.run()
    assert (image_id, 2, False) in rig.index.scroll(None, 10)
    assert recover(rig).tombstones == 1
    assert image_id not in [row[0] for row in rig.index.scroll(None, 10)]
    assert rig.scalar("SELECT count(*) FROM tombstones") == 0
    assert rig.ingest(folder, org).indexed == 1


def test_delete_image_before_indexing_fails_its_item(rig, org, folder, monkeypatch):
    batch = register(rig, org, folder)
    monkeypatch.setattr(pipeline, "index_images", lambda *_: None)
    rig.run()
    assert fetch_batch(rig, org, batch).stored == 6
    deleted_id = rig.scalar("SELECT id FROM images ORDER BY id LIMIT 1")
    with rig.database.write(org) as catalog:
        catalog.delete_image(deleted_id)
    monkeypatch.undo()
    rig.queue.send(jobs.ERASE_IMAGES, [deleted_id])
    queued_after_delete = rig.queue.sent
    rig.run()
    assert queued_after_delete == []
    recover(rig)
    rig.run()
    batch_after = fetch_batch(rig, org, batch)
    assert (batch_after.indexed, batch_after.failed) == (5, 1)
    assert batch_after.is_processed


def test_rebuild_source_streams_points_of_index(rig, org, folder):
    from pinpoint.store.vectors.rebuild_source import RebuildSource

    rig.ingest(folder, org)
    points = RebuildSource(rig.owner, lambda: rig.encoder.contract)
    watermark = points.watermark()
    streamed = {point.id: point for chunk in points.stream(chunk=4) for point in chunk}
    indexed_points = {p.id: p for p in rig.index.fetch(list(streamed), vectors=True)}
    assert streamed.keys() == indexed_points.keys()
    for image_id, point in streamed.items():
        assert point.version == indexed_points[image_id].version
        assert point.vectors["image"] == pytest.approx(
            indexed_points[image_id].vectors["image"], abs=1e-3
        )
    changed_id = next(iter(streamed))
    assert [p for chunk in points.stream(points.watermark()) for p in chunk] == []
    with rig.operator.write(org) as catalog:
        catalog.update_image(changed_id, ImageUpdate(heading_deg=12))
    rig.run()
    assert [p.id for chunk in points.stream(watermark) for p in chunk] == [changed_id]
