"""Batches that are canceled while workers are at them."""

from __future__ import annotations

import os
import time

from leftovers import DAY_S, pruned
from pinpoint import jobs
from pinpoint.ingest import pipeline
from pinpoint.records import NewItem
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from registration import register_folder
from stack_fixtures import WORKER, jpeg, write_photos


def registered(rig, org, folder, count):
    write_photos(folder, count)
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=rig.operator,
        settings=rig.settings,
    )


def item_ids(rig, org, batch_id):
    with rig.database.read(org) as catalog:
        return [item.id for item in catalog.batch_items(batch_id)]


def test_cancel_waiting_files_are_given_up_and_those_under_work_finish(rig, tmp_path):
    org = rig.organization()
    batch = registered(rig, org, tmp_path / "in", 6)
    sent, rig.queue.sent[:] = list(rig.queue.sent), []
    ids = item_ids(rig, org, batch.id)
    pipeline.ingest_items(ids[:2], WORKER, rig.parts)  # done before
    held = rig.repository.claim(ids[2:4], "host/2/0.00")  # under work while it is canceled
    assert len(held) == 2
    with rig.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 2
        assert catalog.cancel_batch(batch.id) == 0
        now = catalog.batch(batch.id)
    assert (now.items, now.indexed, now.received, now.canceled) == (6, 2, 2, 2)
    assert (now.state, now.is_processed) == ("closed", False)
    rig.repository.release_worker("host/2/0.00")
    rig.queue.sent[:] = sent  # the broker still has the jobs of before
    rig.run()
    pipeline.ingest_items(ids[2:3], WORKER, rig.parts)
    pipeline.ingest_items(ids[3:4], WORKER, rig.parts)
    with rig.database.read(org) as catalog:
        done = catalog.batch(batch.id)
        canceled = catalog.batch_items(batch.id, status="canceled")
    assert (done.indexed, done.canceled, done.processed, done.is_processed) == (4, 2, 6, True)
    assert [item.id for item in canceled] == ids[4:]
    assert {(item.error_code, item.error_stage, item.attempts) for item in canceled} == {
        ("canceled", None, 0)
    }


def test_retry_canceled_files_are_sent_again(rig, tmp_path):
    org = rig.organization()
    batch = registered(rig, org, tmp_path / "in", 3)
    rig.queue.sent.clear()
    with rig.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 3
    assert rig.queue.sent == []
    with rig.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 3
    assert [name for name, _ in rig.queue.sent] == [jobs.INGEST_ITEMS]
    rig.run()
    with rig.database.read(org) as catalog:
        done = catalog.batch(batch.id)
    assert (done.indexed, done.canceled, done.is_processed) == (3, 0, True)


def test_prune_removes_what_was_uploaded_for_canceled_files(rig):
    org = rig.organization()
    uri = rig.blobs.put(org, jpeg(1, 48.0, 2.0))
    with rig.database.write(org) as catalog:
        batch = catalog.open_batch(catalog.add_source("up", "photo").id)
        catalog.add_items(batch.id, [NewItem(external_id="a", file="a", uri=uri)])
    path = rig.blobs.path(uri)
    os.utime(path, (time.time() - 3 * DAY_S,) * 2)
    assert pruned(rig, OrganizationDeletion(rig.owner)).blobs == 0
    with rig.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 1
    assert pruned(rig, OrganizationDeletion(rig.owner)).blobs == 1
    assert not os.path.exists(path)
