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


def register(harness, org, folder):
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def swept(harness, alive=True):
    return recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=0,
        is_alive=lambda _worker: alive,
    )


def reconciled(harness, *, mend=True):
    return reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue if mend else None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )


def batch_of(harness, org, batch):
    with harness.database.read(org) as catalog:
        return catalog.batch(batch.id)


@pytest.fixture
def org(harness):
    return harness.organization()


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "in", 6)
    return tmp_path / "in"


def test_a_lease_keeps_others_away_until_it_ends(harness, org, folder):
    register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    assert len(harness.repository.claim(ids, "host/1/0.00")) == 6
    assert harness.repository.claim(ids, "host/2/0.00") == []
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert [len(harness.repository.claim([one], "host/2/0.00")) for one in ids] == [1] * 6


def test_items_tried_too_often_fail_with_a_reason(harness, org, folder):
    batch = register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    assert len(harness.repository.claim(ids, "host/0/0.00")) == 6
    harness.repository.release_worker("host/0/0.00")
    for turn in range(1, 3):
        assert [len(harness.repository.claim([one], f"host/{turn}/0.00")) for one in ids] == [1] * 6
        harness.repository.release_worker(f"host/{turn}/0.00")
    assert [harness.repository.claim([one], "host/9/0.00") for one in ids] == [[]] * 6
    assert batch_of(harness, org, batch).failed == 6
    with harness.database.read(org) as catalog:
        assert {i.error_code for i in catalog.batch_items(batch.id)} == {"too_many_attempts"}
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 6
    harness.run()
    assert batch_of(harness, org, batch).indexed == 6


def test_the_sweep_sends_lost_jobs_again(harness, org, folder):
    batch = register(harness, org, folder)
    harness.queue.sent.clear()  # the broker lost them
    assert swept(harness).items == 6
    harness.run()
    assert batch_of(harness, org, batch).is_processed
    assert swept(harness).items == 0


def test_the_sweep_trusts_a_full_queue(harness, org, folder):
    register(harness, org, folder)
    before = list(harness.queue.sent)
    assert swept(harness).items == 0
    assert harness.queue.sent == before


def test_items_of_a_dead_worker_go_on_alone(harness, org, folder):
    register(harness, org, folder)
    _, ids = harness.queue.sent.pop()
    harness.repository.claim(ids, "host/1/0.00")
    assert swept(harness, alive=True).released == 0
    found = swept(harness, alive=False)
    assert (found.released, found.items) == (6, 6)
    assert [len(sent) for _, sent in harness.queue.sent] == [1] * 6
    harness.run()
    assert harness.index.count(IndexFilter(organization_id=org)) == 6


def test_an_index_that_is_away_costs_no_try(harness, org, folder, monkeypatch):
    batch = register(harness, org, folder)

    def away(*_given):
        raise IndexUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(harness.index, "upsert", away)
        for _ in range(5):
            swept(harness)
            for name, ids in list(harness.queue.sent):
                ingest = name == jobs.INGEST_ITEMS
                given = (ids, WORKER, harness.parts) if ingest else (ids, harness.parts)
                run = pipeline.ingest_items if ingest else pipeline.index_images
                with pytest.raises(IndexUnavailableError):
                    run(*given)
            harness.queue.sent.clear()
    standing = batch_of(harness, org, batch)
    assert (standing.stored, standing.failed) == (6, 0)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 0
    encode, calls = harness.parts.encoder.encode, []
    monkeypatch.setattr(
        harness.parts.encoder, "encode", lambda *given: calls.append(given) or encode(*given)
    )
    swept(harness)
    harness.run()
    assert batch_of(harness, org, batch).indexed == 6
    assert calls == []  # the vectors were kept


def test_a_picture_that_cannot_be_encoded_fails_alone(harness, org, folder, monkeypatch):
    encode = harness.parts.encoder.encode
    with (folder / "0003.jpg").open("rb") as file:
        assert file.read(2) == b"\xff\xd8"
    bad = harness.parts.decoder.read("x", str(folder / "0003.jpg")).faces[0].pixels

    def picky(images, kind=None):
        if any(image.shape == bad.shape and (image == bad).all() for image in images):
            raise RuntimeError("no vector for this one")
        return encode(images, kind)

    monkeypatch.setattr(harness.parts.encoder, "encode", picky)
    batch = harness.ingest(folder, org)
    assert (batch.indexed, batch.failed) == (5, 1)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    assert reconciled(harness).total == 0


def test_an_old_writer_neither_overwrites_nor_resurrects(harness, org, folder):
    harness.ingest(folder, org)
    image_id = harness.index.scroll(None, 1)[0][0]
    old = harness.index.fetch([image_id], vectors=True)
    with harness.operator.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(point=Point(lat=5, lon=5)))
    harness.run()
    harness.index.upsert(old)
    assert harness.index.fetch([image_id])[0].point.lat == pytest.approx(5, abs=1e-6)
    with harness.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    harness.index.upsert(old)
    assert harness.index.fetch([image_id]) == []


def test_a_late_worker_does_not_put_an_older_file_over_a_newer(harness, org, folder):
    register(harness, org, folder)
    _, slow = harness.queue.sent.pop()
    (folder / "0000.jpg").write_bytes(jpeg(500, 48.85, 2.35))
    newer = register(harness, org, folder)
    harness.run()
    held = harness.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    (folder / "0000.jpg").write_bytes(jpeg(0, 48.85, 2.35))
    pipeline.ingest_items(slow, WORKER, harness.parts)
    now = harness.scalar(
        "SELECT encode(sha256, 'hex') FROM images WHERE external_id = 'in/0000.jpg'"
    )
    assert now == held
    assert batch_of(harness, org, newer).indexed == 6
    assert harness.scalar("SELECT count(*) FROM batch_items WHERE error_code = 'superseded'") == 6


def test_reconcile_finds_and_mends_every_kind_of_drift(harness, org, folder):
    harness.ingest(folder, org)
    assert reconciled(harness).total == 0
    ids = [row[0] for row in harness.index.scroll(None, 10)]
    points = {point.id: point for point in harness.index.fetch(ids, vectors=True)}
    harness.index.delete_points([ids[0]])  # missing
    harness.index.delete_points([ids[1]])
    with harness.owner.begin() as unit:  # stale: the row moved on and nobody told the index
        unit.connection.execute(
            text("UPDATE images SET version = 7 WHERE id = :id"), {"id": ids[2]}
        )
    harness.index.upsert([points[ids[1]]])
    with harness.owner.begin() as unit:  # extra: the row is gone
        unit.connection.execute(text("DELETE FROM images WHERE id = :id"), {"id": ids[3]})
    seen = reconciled(harness, mend=False)
    assert (seen.missing, seen.stale, seen.extra, seen.repaired) == (1, 1, 1, 0)
    assert reconciled(harness).repaired == 3
    harness.run()
    assert reconciled(harness).total == 0
    assert harness.index.count(IndexFilter(organization_id=org)) == 5


def test_tombstones_go_when_no_writer_can_be_alive(harness, org, folder):
    harness.ingest(folder, org)
    image_id = harness.index.scroll(None, 1)[0][0]
    with harness.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    assert (image_id, 2, False) in harness.index.scroll(None, 10)
    assert swept(harness).tombstones == 1
    assert image_id not in [row[0] for row in harness.index.scroll(None, 10)]
    assert harness.scalar("SELECT count(*) FROM tombstones") == 0
    assert harness.ingest(folder, org).indexed == 1


def test_deleting_while_waiting_fails_the_item(harness, org, folder, monkeypatch):
    batch = register(harness, org, folder)
    monkeypatch.setattr(pipeline, "index_images", lambda *_: None)
    harness.run()
    assert batch_of(harness, org, batch).stored == 6
    victim = harness.scalar("SELECT id FROM images ORDER BY id LIMIT 1")
    with harness.database.write(org) as catalog:
        catalog.delete_image(victim)
    monkeypatch.undo()
    harness.queue.send(jobs.ERASE_IMAGES, [victim])
    swept_once = harness.queue.sent
    harness.run()
    assert swept_once == []
    swept(harness)
    harness.run()
    standing = batch_of(harness, org, batch)
    assert (standing.indexed, standing.failed) == (5, 1)
    assert standing.is_processed


def test_the_source_of_points_is_the_index(harness, org, folder):
    from pinpoint.store.vectors.rebuild_source import RebuildSource

    harness.ingest(folder, org)
    points = RebuildSource(harness.owner, lambda: harness.encoder.contract)
    mark = points.watermark()
    streamed = {point.id: point for chunk in points.stream(chunk=4) for point in chunk}
    held = {p.id: p for p in harness.index.fetch(list(streamed), vectors=True)}
    assert streamed.keys() == held.keys()
    for image_id, point in streamed.items():
        assert point.version == held[image_id].version
        assert point.vectors["image"] == pytest.approx(held[image_id].vectors["image"], abs=1e-3)
    changed = next(iter(streamed))
    assert [p for chunk in points.stream(points.watermark()) for p in chunk] == []
    with harness.operator.write(org) as catalog:
        catalog.update_image(changed, ImageUpdate(heading_deg=12))
    harness.run()
    assert [p.id for chunk in points.stream(mark) for p in chunk] == [changed]
