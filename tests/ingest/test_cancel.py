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


def registered(harness, org, folder, count):
    write_photos(folder, count)
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def item_ids(harness, org, batch_id):
    with harness.database.read(org) as catalog:
        return [item.id for item in catalog.batch_items(batch_id)]


def test_cancel_waiting_files_are_given_up_and_those_under_work_finish(harness, tmp_path):
    org = harness.organization()
    batch = registered(harness, org, tmp_path / "in", 6)
    sent, harness.queue.sent[:] = list(harness.queue.sent), []
    ids = item_ids(harness, org, batch.id)
    pipeline.ingest_items(ids[:2], WORKER, harness.parts)  # done before
    held = harness.repository.claim(ids[2:4], "host/2/0.00")  # under work while it is canceled
    assert len(held) == 2
    with harness.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 2
        assert catalog.cancel_batch(batch.id) == 0
        now = catalog.batch(batch.id)
    assert (now.items, now.indexed, now.received, now.canceled) == (6, 2, 2, 2)
    assert (now.state, now.is_processed) == ("closed", False)
    harness.repository.release_worker("host/2/0.00")
    harness.queue.sent[:] = sent  # the broker still has the jobs of before
    harness.run()
    pipeline.ingest_items(ids[2:3], WORKER, harness.parts)
    pipeline.ingest_items(ids[3:4], WORKER, harness.parts)
    with harness.database.read(org) as catalog:
        done = catalog.batch(batch.id)
        canceled = catalog.batch_items(batch.id, status="canceled")
    assert (done.indexed, done.canceled, done.processed, done.is_processed) == (4, 2, 6, True)
    assert [item.id for item in canceled] == ids[4:]
    assert {(item.error_code, item.error_stage, item.attempts) for item in canceled} == {
        ("canceled", None, 0)
    }


def test_retry_canceled_files_are_sent_again(harness, tmp_path):
    org = harness.organization()
    batch = registered(harness, org, tmp_path / "in", 3)
    harness.queue.sent.clear()
    with harness.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 3
    assert harness.queue.sent == []
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 3
    assert [name for name, _ in harness.queue.sent] == [jobs.INGEST_ITEMS]
    harness.run()
    with harness.database.read(org) as catalog:
        done = catalog.batch(batch.id)
    assert (done.indexed, done.canceled, done.is_processed) == (3, 0, True)


def test_prune_removes_what_was_uploaded_for_canceled_files(harness):
    org = harness.organization()
    uri = harness.blobs.put(org, jpeg(1, 48.0, 2.0))
    with harness.database.write(org) as catalog:
        batch = catalog.open_batch(catalog.add_source("up", "photo").id)
        catalog.add_items(batch.id, [NewItem(external_id="a", file="a", uri=uri)])
    path = harness.blobs.path(uri)
    os.utime(path, (time.time() - 3 * DAY_S,) * 2)
    assert pruned(harness, OrganizationDeletion(harness.owner)).blobs == 0
    with harness.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 1
    assert pruned(harness, OrganizationDeletion(harness.owner)).blobs == 1
    assert not os.path.exists(path)
