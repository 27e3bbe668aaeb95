"""Leases of items: renewal, expiry, and attempts after the loss of a worker."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import text

from pinpoint.ingest import pipeline
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.settings import WorkerSettings
from pinpoint.stack.broker.celery_config import VISIBILITY_TIMEOUT_S
from pinpoint.store.ingest import heartbeat
from pinpoint.store.ingest.repository import CatalogIngestRepository
from registration import register_folder
from stack_fixtures import WORKER, write_photos

LEASE_S = 1.2


@pytest.fixture
def register_batch(harness, tmp_path):
    """A function that registers a batch; returns organization, batch and item ids."""

    def make(count=6):
        write_photos(tmp_path / "in", count)
        org = harness.organization()
        batch = register_folder(
            tmp_path / "in",
            source="photos",
            kind="photo",
            organization_id=org,
            database=harness.operator,
            settings=harness.settings,
        )
        (_, ids) = harness.queue.sent.pop()
        return org, batch, ids

    return make


def create_ledger(harness, lease_ttl_s=LEASE_S, max_attempts=3):
    contract = harness.encoder.contract.digest
    return CatalogIngestRepository(
        harness.owner, contract=lambda: contract, lease_ttl_s=lease_ttl_s, max_attempts=max_attempts
    )


class SlowEncoder:
    """An encoder that takes longer for a chunk than a lease lasts."""

    def __init__(self, encoder, while_it_works):
        self.contract, self._encoder, self._meanwhile = encoder.contract, encoder, while_it_works

    def encode_channels(self, images, kind=None):
        self._meanwhile()
        return self._encoder.encode_channels(images, kind)


def test_lease_heartbeat_keeps_lease_of_long_chunk(harness, register_batch):
    org, batch, ids = register_batch()
    repository = create_ledger(harness)
    lost = []

    def watch():
        deadline = time.monotonic() + 3 * LEASE_S
        while time.monotonic() < deadline:
            lost.extend(repository.claim(ids, "host/2/0.00"))
            lost.extend(
                item for item_id in ids for item in repository.claim([item_id], "host/2/0.00")
            )
            lost.extend(repository.expired_items(10))
            time.sleep(0.1)

    parts = replace(
        harness.components, repository=repository, encoder=SlowEncoder(harness.encoder, watch)
    )
    assert pipeline.ingest_items(ids, WORKER, parts) == 6
    assert lost == []
    with harness.database.read(org) as catalog:
        assert catalog.batch(batch.id).indexed == 6
        assert {item.attempts for item in catalog.batch_items(batch.id)} == {1}


def test_lease_after_heartbeat_ends_expires(harness, register_batch):
    _, _, ids = register_batch()
    repository = create_ledger(harness)
    with repository.lease_heartbeat(ids, WORKER):
        repository.claim(ids, WORKER)
        time.sleep(2 * LEASE_S)
        assert repository.expired_items(10) == []
    time.sleep(1.5 * LEASE_S)
    assert len(repository.expired_items(10)) == 6


def test_heartbeat_max_interval_equals_redis_visibility_timeout():
    assert heartbeat.MAX_INTERVAL_S == VISIBILITY_TIMEOUT_S
    assert WorkerSettings().lease_ttl_s < VISIBILITY_TIMEOUT_S


def test_lease_heartbeat_stops_after_longest_interval(harness, register_batch):
    _, _, ids = register_batch()
    repository = create_ledger(harness)
    repository.claim(ids, WORKER)
    with heartbeat.lease_heartbeat(harness.owner, ids, WORKER, lease_ttl_s=LEASE_S, longest_s=0.0):
        time.sleep(1.5 * LEASE_S)
        assert len(repository.expired_items(10)) == 6


def test_lease_heartbeat_renews_only_held_leases(harness, register_batch):
    _, _, ids = register_batch()
    repository = create_ledger(harness)
    repository.claim(ids, WORKER)
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE batch_items SET lease_owner = 'host/2/0.00' WHERE id = :id"),
            {"id": ids[0]},
        )
    repository.release_unprocessed([ids[1]], WORKER)
    with heartbeat.lease_heartbeat(harness.owner, ids, WORKER, lease_ttl_s=LEASE_S):
        time.sleep(2 * LEASE_S)
        assert {item for item, _ in repository.expired_items(10)} == {ids[0], ids[1]}


def test_lease_heartbeat_skips_locked_rows(harness, register_batch):
    """Otherwise a renewal and the transaction of the worker could deadlock."""
    _, _, ids = register_batch()
    repository = create_ledger(harness)
    repository.claim(ids, WORKER)
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("SELECT 1 FROM batch_items WHERE id = :id FOR UPDATE"), {"id": ids[0]}
        )
        with heartbeat.lease_heartbeat(harness.owner, ids, WORKER, lease_ttl_s=LEASE_S):
            time.sleep(2 * LEASE_S)
            assert [item for item, _ in repository.expired_items(10)] == [ids[0]]
            assert [thread.name for thread in threading.enumerate()].count("leases") == 1
    assert "leases" not in [thread.name for thread in threading.enumerate()]


def recover_as_dead(harness, repository):
    """Recover with every worker dead; returns the tasks that were queued."""
    recover_lost_work(
        repository=repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=60,
        is_alive=lambda _worker: False,
    )
    queued_tasks, harness.queue.sent[:] = list(harness.queue.sent), []
    return [ids for _, ids in queued_tasks]


def test_recovery_after_repeated_worker_kills_fails_no_item(harness, register_batch):
    """As an operator or the kernel does: each worker is killed during its first task."""
    org, batch, ids = register_batch()
    repository = create_ledger(harness, max_attempts=3)
    assert len(repository.claim(ids, "host/0/0.00")) == 6
    for kill in range(1, 7):
        assert (
            len(repository.claim(recover_as_dead(harness, repository)[0], f"host/{kill}/0.00")) == 1
        )
    for task in recover_as_dead(harness, repository):
        pipeline.ingest_items(task, WORKER, replace(harness.components, repository=repository))
    with harness.database.read(org) as catalog:
        batch_after = catalog.batch(batch.id)
        attempts = [item.attempts for item in catalog.batch_items(batch.id)]
    assert (batch_after.indexed, batch_after.failed) == (6, 0)
    assert attempts == [3] * 6


def test_claim_redelivered_chunk_counts_one_attempt(harness, register_batch):
    """A broker delivers the chunk of a dead worker to the next worker, and again."""
    _, _, ids = register_batch()
    assert len(harness.repository.claim(ids, "host/0/0.00")) == 6
    for kill in range(1, 5):
        harness.repository.release_worker(f"host/{kill - 1}/0.00")
        assert harness.repository.claim(ids, f"host/{kill}/0.00") == []
    assert harness.scalar("SELECT max(attempts) FROM batch_items") == 1
    assert [len(task) for task in recover_as_dead(harness, harness.repository)] == [1] * 6


def test_recovery_of_file_that_kills_workers_fails_only_that_item(harness, register_batch):
    org, batch, ids = register_batch()
    poisoned_id = ids[0]
    repository = create_ledger(harness, max_attempts=3)
    repository.claim(ids, "host/0/0.00")
    workers_killed = 1
    while queued_tasks := recover_as_dead(harness, repository):
        for task in queued_tasks:
            if poisoned_id in task and repository.claim(task, f"host/{workers_killed}/0.00"):
                workers_killed += 1
                break
            pipeline.ingest_items(task, WORKER, replace(harness.components, repository=repository))
    assert workers_killed == 3
    with harness.database.read(org) as catalog:
        batch_after = catalog.batch(batch.id)
        (item,) = catalog.batch_items(batch.id, status="failed")
    assert (batch_after.is_processed, batch_after.indexed, batch_after.failed) == (True, 5, 1)
    assert (item.id, item.error_code) == (poisoned_id, "too_many_attempts")
    assert "batches retry" in item.error_message
