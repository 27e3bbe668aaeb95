"""What a crash leaves behind is found and finished: leases, sweep, fencing, reconcile."""

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


def swept(rig, alive=True):
    return recover_lost_work(
        repository=rig.repository,
        queue=rig.queue,
        index=rig.index,
        contract=rig.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=0,
        is_alive=lambda _worker: alive,
    )


def reconciled(rig, *, mend=True):
    return reconcile_index_rows(
        repository=rig.repository,
        index=rig.index,
        queue=rig.queue if mend else None,
        contract=rig.encoder.contract.digest,
        chunk=64,
    )


def batch_of(rig, org, batch):
    with rig.database.read(org) as catalog:
        return catalog.batch(batch.id)


@pytest.fixture
def org(rig):
    return rig.organization()


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "in", 6)
    return tmp_path / "in"


def test_a_lease_keeps_others_away_until_it_ends(rig, org, folder):
    register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    assert len(rig.repository.claim(ids, "host/1/0.00")) == 6
    assert rig.repository.claim(ids, "host/2/0.00") == []
    with rig.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert [len(rig.repository.claim([one], "host/2/0.00")) for one in ids] == [1] * 6


def test_items_tried_too_often_fail_with_a_reason(rig, org, folder):
    batch = register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    assert len(rig.repository.claim(ids, "host/0/0.00")) == 6
    rig.repository.release_worker("host/0/0.00")
    for turn in range(1, 3):
        assert [len(rig.repository.claim([one], f"host/{turn}/0.00")) for one in ids] == [1] * 6
        rig.repository.release_worker(f"host/{turn}/0.00")
    assert [rig.repository.claim([one], "host/9/0.00") for one in ids] == [[]] * 6
    assert batch_of(rig, org, batch).failed == 6
    with rig.database.read(org) as catalog:
        assert {i.error_code for i in catalog.batch_items(batch.id)} == {"too_many_attempts"}
    with rig.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 6
    rig.run()
    assert batch_of(rig, org, batch).indexed == 6


def test_the_sweep_sends_lost_jobs_again(rig, org, folder):
    batch = register(rig, org, folder)
    rig.queue.sent.clear()  # the broker lost them
    assert swept(rig).items == 6
    rig.run()
    assert batch_of(rig, org, batch).is_processed
    assert swept(rig).items == 0


def test_the_sweep_trusts_a_full_queue(rig, org, folder):
    register(rig, org, folder)
    before = list(rig.queue.sent)
    assert swept(rig).items == 0
    assert rig.queue.sent == before


def test_items_of_a_dead_worker_go_on_alone(rig, org, folder):
    register(rig, org, folder)
    _, ids = rig.queue.sent.pop()
    rig.repository.claim(ids, "host/1/0.00")
    assert swept(rig, alive=True).released == 0
    found = swept(rig, alive=False)
    assert (found.released, found.items) == (6, 6)
    assert [len(sent) for _, sent in rig.queue.sent] == [1] * 6
    rig.run()
    assert rig.index.count(IndexFilter(organization_id=org)) == 6


def test_an_index_that_is_away_costs_no_try(rig, org, folder, monkeypatch):
    batch = register(rig, org, folder)

    def away(*_given):
        raise IndexUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(rig.index, "upsert", away)
        for _ in range(5):
            swept(rig)
            for name, ids in list(rig.queue.sent):
                ingest = name == jobs.INGEST_ITEMS
                given = (ids, WORKER, rig.parts) if ingest else (ids, rig.parts)
                run = pipeline.ingest_items if ingest else pipeline.index_images
                with pytest.raises(IndexUnavailableError):
                    run(*given)
            rig.queue.sent.clear()
    standing = batch_of(rig, org, batch)
    assert (standing.stored, standing.failed) == (6, 0)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 0
    encode, calls = rig.parts.encoder.encode, []
    monkeypatch.setattr(
        rig.parts.encoder, "encode", lambda *given: calls.append(given) or encode(*given)
    )
    swept(rig)
    rig.run()
    assert batch_of(rig, org, batch).indexed == 6
    assert calls == []  # the vectors were kept


def test_a_picture_that_cannot_be_encoded_fails_alone(rig, org, folder, monkeypatch):
    encode = rig.parts.encoder.encode
    with (folder / "0003.jpg").open("rb") as file:
        assert file.read(2) == b"\xff\xd8"
    bad = rig.parts.decoder.read("x", str(folder / "0003.jpg")).faces[0].pixels

    def picky(images, kind=None):
        if any(image.shape == bad.shape and (image == bad).all() for image in images):
            raise RuntimeError("no vector for this one")
        return encode(images, kind)

    monkeypatch.setattr(rig.parts.encoder, "encode", picky)
    batch = rig.ingest(folder, org)
    assert (batch.indexed, batch.failed) == (5, 1)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    assert reconciled(rig).total == 0


def test_an_old_writer_neither_overwrites_nor_resurrects(rig, org, folder):
    rig.ingest(folder, org)
    image_id = rig.index.scroll(None, 1)[0][0]
    old = rig.index.fetch([image_id], vectors=True)
    with rig.operator.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(point=Point(lat=5, lon=5)))
    rig.run()
    rig.index.upsert(old)
    assert rig.index.fetch([image_id])[0].point.lat == pytest.approx(5, abs=1e-6)
    with rig.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    rig.run()
    rig.index.upsert(old)
    assert rig.index.fetch([image_id]) == []


def test_a_late_worker_does_not_put_an_older_file_over_a_newer(rig, org, folder):
    register(rig, org, folder)
    _, slow = rig.queue.sent.pop()
    (folder / "0000.jpg").write_bytes(jpeg(500, 48.85, 2.35))
    newer = register(rig, org, folder)
    rig.run()
    held = rig.scalar("SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'")
    (folder / "0000.jpg").write_bytes(jpeg(0, 48.85, 2.35))
    pipeline.ingest_items(slow, WORKER, rig.parts)
    now = rig.scalar("SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'")
    assert now == held
    assert batch_of(rig, org, newer).indexed == 6
    assert rig.scalar("SELECT count(*) FROM batch_items WHERE error_code = 'superseded'") == 6


def test_reconcile_finds_and_mends_every_kind_of_drift(rig, org, folder):
    rig.ingest(folder, org)
    assert reconciled(rig).total == 0
    ids = [row[0] for row in rig.index.scroll(None, 10)]
    points = {point.id: point for point in rig.index.fetch(ids, vectors=True)}
    rig.index.delete_points([ids[0]])  # missing
    rig.index.delete_points([ids[1]])
    with rig.owner.begin() as unit:  # stale: the row moved on and nobody told the index
        unit.connection.execute(
            text("UPDATE images SET version = 7 WHERE id = :id"), {"id": ids[2]}
        )
    rig.index.upsert([points[ids[1]]])
    with rig.owner.begin() as unit:  # extra: the row is gone
        unit.connection.execute(text("DELETE FROM images WHERE id = :id"), {"id": ids[3]})
    seen = reconciled(rig, mend=False)
    assert (seen.missing, seen.stale, seen.extra, seen.repaired) == (1, 1, 1, 0)
    assert reconciled(rig).repaired == 3
    rig.run()
    assert reconciled(rig).total == 0
    assert rig.index.count(IndexFilter(organization_id=org)) == 5


def test_tombstones_go_when_no_writer_can_be_alive(rig, org, folder):
    rig.ingest(folder, org)
    image_id = rig.index.scroll(None, 1)[0][0]
    with rig.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    rig.run()
    assert (image_id, 2, False) in rig.index.scroll(None, 10)
    assert swept(rig).tombstones == 1
    assert image_id not in [row[0] for row in rig.index.scroll(None, 10)]
    assert rig.scalar("SELECT count(*) FROM tombstones") == 0
    assert rig.ingest(folder, org).indexed == 1


def test_deleting_while_waiting_fails_the_item(rig, org, folder, monkeypatch):
    batch = register(rig, org, folder)
    monkeypatch.setattr(pipeline, "index_images", lambda *_: None)
    rig.run()
    assert batch_of(rig, org, batch).stored == 6
    victim = rig.scalar("SELECT id FROM images ORDER BY id LIMIT 1")
    with rig.database.write(org) as catalog:
        catalog.delete_image(victim)
    monkeypatch.undo()
    rig.queue.send(jobs.ERASE_IMAGES, [victim])
    swept_once = rig.queue.sent
    rig.run()
    assert swept_once == []
    swept(rig)
    rig.run()
    standing = batch_of(rig, org, batch)
    assert (standing.indexed, standing.failed) == (5, 1)
    assert standing.is_processed


def test_the_source_of_points_is_the_index(rig, org, folder):
    from pinpoint.store.vectors.rebuild_source import RebuildSource

    rig.ingest(folder, org)
    points = RebuildSource(rig.owner, lambda: rig.encoder.contract)
    mark = points.watermark()
    streamed = {point.id: point for chunk in points.stream(chunk=4) for point in chunk}
    held = {p.id: p for p in rig.index.fetch(list(streamed), vectors=True)}
    assert streamed.keys() == held.keys()
    for image_id, point in streamed.items():
        assert point.version == held[image_id].version
        assert point.vectors["image"] == pytest.approx(held[image_id].vectors["image"], abs=1e-3)
    changed = next(iter(streamed))
    assert [p for chunk in points.stream(points.watermark()) for p in chunk] == []
    with rig.operator.write(org) as catalog:
        catalog.update_image(changed, ImageUpdate(heading_deg=12))
    rig.run()
    assert [p.id for chunk in points.stream(mark) for p in chunk] == [changed]
