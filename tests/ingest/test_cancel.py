"""Canceling batches while workers process them."""

from __future__ import annotations

import os
import time

from leftovers import DAY_S, pruned
from pinpoint import tasks
from pinpoint.ingest import pipeline
from pinpoint.records import NewItem
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from registration import register_folder
from stack_fixtures import WORKER, jpeg, write_photos


def register(harness, org, folder, count):
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


def test_cancel_batch_cancels_waiting_items_and_finishes_claimed_items(harness, tmp_path):
    org = harness.organization()
    batch = register(harness, org, tmp_path / "in", 6)
    queued_tasks, harness.queue.sent[:] = list(harness.queue.sent), []
    ids = item_ids(harness, org, batch.id)
    pipeline.ingest_items(ids[:2], WORKER, harness.components)  # finished before the cancellation
    claimed = harness.repository.claim(ids[2:4], "host/2/0.00")  # claimed during the cancellation
    assert len(claimed) == 2
    with harness.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 2
        assert catalog.cancel_batch(batch.id) == 0
        after_cancel = catalog.batch(batch.id)
    assert (
        after_cancel.items,
        after_cancel.indexed,
        after_cancel.received,
        after_cancel.canceled,
    ) == (6, 2, 2, 2)
    assert (after_cancel.state, after_cancel.is_processed) == ("closed", False)
    harness.repository.release_worker("host/2/0.00")
    harness.queue.sent[:] = queued_tasks  # the broker still has the old tasks
    harness.run()
    pipeline.ingest_items(ids[2:3], WORKER, harness.components)
    pipeline.ingest_items(ids[3:4], WORKER, harness.components)
    with harness.database.read(org) as catalog:
        finished = catalog.batch(batch.id)
        canceled = catalog.batch_items(batch.id, status="canceled")
    assert (finished.indexed, finished.canceled, finished.processed, finished.is_processed) == (
        4,
        2,
        6,
        True,
    )
    assert [item.id for item in canceled] == ids[4:]
    assert {(item.error_code, item.error_stage, item.attempts) for item in canceled} == {
        ("canceled", None, 0)
    }


def test_retry_batch_queues_canceled_items(harness, tmp_path):
    org = harness.organization()
    batch = register(harness, org, tmp_path / "in", 3)
    harness.queue.sent.clear()
    with harness.database.write(org) as catalog:
        assert catalog.cancel_batch(batch.id) == 3
    assert harness.queue.sent == []
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 3
    assert [name for name, _ in harness.queue.sent] == [tasks.INGEST_ITEMS]
    harness.run()
    with harness.database.read(org) as catalog:
        finished = catalog.batch(batch.id)
    assert (finished.indexed, finished.canceled, finished.is_processed) == (3, 0, True)


def test_prune_removes_uploads_of_canceled_items(harness):
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
