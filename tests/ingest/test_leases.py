"""Who holds an item, how long, and what the loss of a worker says of its files."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import text

from pinpoint.ingest import pipeline
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.settings import WorkerSettings
from pinpoint.stack.job_sender import VISIBILITY_TIMEOUT_S
from pinpoint.store.ingest import heartbeat
from pinpoint.store.ingest.repository import CatalogIngestRepository
from registration import register_folder
from stack_fixtures import WORKER, write_photos

LEASE_S = 1.2


@pytest.fixture
def registered(harness, tmp_path):
    """An organization and a batch of six files; makes one."""

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


def make_repository(harness, lease_ttl_s=LEASE_S, max_attempts=3):
    contract = harness.encoder.contract.digest
    return CatalogIngestRepository(
        harness.owner, contract=lambda: contract, lease_ttl_s=lease_ttl_s, max_attempts=max_attempts
    )


class SlowEncoder:
    """Takes longer over a chunk than a lease lasts."""

    def __init__(self, encoder, while_it_works):
        self.contract, self._encoder, self._meanwhile = encoder.contract, encoder, while_it_works

    def encode(self, images, kind=None):
        self._meanwhile()
        return self._encoder.encode(images, kind)


def test_a_chunk_may_take_longer_than_its_lease(harness, registered):
    org, batch, ids = registered()
    repository = make_repository(harness)
    found = []

    def watch():
        until = time.monotonic() + 3 * LEASE_S
        while time.monotonic() < until:
            found.extend(repository.claim(ids, "host/2/0.00"))
            found.extend(item for one in ids for item in repository.claim([one], "host/2/0.00"))
            found.extend(repository.expired_items(10))
            time.sleep(0.1)

    parts = replace(
        harness.parts, repository=repository, encoder=SlowEncoder(harness.encoder, watch)
    )
    assert pipeline.ingest_items(ids, WORKER, parts) == 6
    assert found == []
    with harness.database.read(org) as catalog:
        assert catalog.batch(batch.id).indexed == 6
        assert {item.attempts for item in catalog.batch_items(batch.id)} == {1}


def test_the_lease_of_a_silent_worker_ends(harness, registered):
    _, _, ids = registered()
    repository = make_repository(harness)
    with repository.lease_heartbeat(ids, WORKER):
        repository.claim(ids, WORKER)
        time.sleep(2 * LEASE_S)
        assert repository.expired_items(10) == []
    time.sleep(1.5 * LEASE_S)
    assert len(repository.expired_items(10)) == 6


def test_a_chunk_hangs_when_redis_would_hand_it_out_again():
    assert heartbeat.MAX_INTERVAL_S == VISIBILITY_TIMEOUT_S
    assert WorkerSettings().lease_ttl_s < VISIBILITY_TIMEOUT_S


def test_a_worker_that_hangs_is_not_renewed_for_ever(harness, registered):
    _, _, ids = registered()
    repository = make_repository(harness)
    repository.claim(ids, WORKER)
    with heartbeat.lease_heartbeat(harness.owner, ids, WORKER, lease_ttl_s=LEASE_S, longest_s=0.0):
        time.sleep(1.5 * LEASE_S)
        assert len(repository.expired_items(10)) == 6


def test_only_leases_that_are_still_held_are_renewed(harness, registered):
    _, _, ids = registered()
    repository = make_repository(harness)
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


def test_renewing_waits_for_no_writer(harness, registered):
    """Else it could meet the worker's own transaction in a deadlock."""
    _, _, ids = registered()
    repository = make_repository(harness)
    repository.claim(ids, WORKER)
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("SELECT 1 FROM batch_items WHERE id = :id FOR UPDATE"), {"id": ids[0]}
        )
        with heartbeat.lease_heartbeat(harness.owner, ids, WORKER, lease_ttl_s=LEASE_S):
            time.sleep(2 * LEASE_S)
            assert [item for item, _ in repository.expired_items(10)] == [ids[0]]
            assert [one.name for one in threading.enumerate()].count("leases") == 1
    assert "leases" not in [one.name for one in threading.enumerate()]


def swept(harness, repository):
    """A sweep that finds every worker dead; the jobs that it sends."""
    recover_lost_work(
        repository=repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=60,
        is_alive=lambda _worker: False,
    )
    jobs, harness.queue.sent[:] = list(harness.queue.sent), []
    return [ids for _, ids in jobs]


def test_workers_killed_again_and_again_cost_no_innocent_file(harness, registered):
    """As an operator or the kernel does: whoever takes the first job is killed over it."""
    org, batch, ids = registered()
    repository = make_repository(harness, max_attempts=3)
    assert len(repository.claim(ids, "host/0/0.00")) == 6
    for kill in range(1, 7):
        assert len(repository.claim(swept(harness, repository)[0], f"host/{kill}/0.00")) == 1
    for job in swept(harness, repository):
        pipeline.ingest_items(job, WORKER, replace(harness.parts, repository=repository))
    with harness.database.read(org) as catalog:
        standing = catalog.batch(batch.id)
        tries = [item.attempts for item in catalog.batch_items(batch.id)]
    assert (standing.indexed, standing.failed) == (6, 0)
    assert tries == [3] * 6


def test_a_chunk_that_is_handed_out_again_counts_once(harness, registered):
    """A broker that sees its worker die gives the same chunk to the next one, and to the next."""
    _, _, ids = registered()
    assert len(harness.repository.claim(ids, "host/0/0.00")) == 6
    for kill in range(1, 5):
        harness.repository.release_worker(f"host/{kill - 1}/0.00")
        assert harness.repository.claim(ids, f"host/{kill}/0.00") == []
    assert harness.scalar("SELECT max(attempts) FROM batch_items") == 1
    assert [len(job) for job in swept(harness, harness.repository)] == [1] * 6


def test_a_file_that_kills_every_worker_lets_the_others_pass_and_is_given_up(harness, registered):
    org, batch, ids = registered()
    poison = ids[0]
    repository = make_repository(harness, max_attempts=3)
    repository.claim(ids, "host/0/0.00")
    killed = 1
    while jobs := swept(harness, repository):
        for job in jobs:
            if poison in job and repository.claim(job, f"host/{killed}/0.00"):
                killed += 1
                break
            pipeline.ingest_items(job, WORKER, replace(harness.parts, repository=repository))
    assert killed == 3
    with harness.database.read(org) as catalog:
        standing = catalog.batch(batch.id)
        (item,) = catalog.batch_items(batch.id, status="failed")
    assert (standing.is_processed, standing.indexed, standing.failed) == (True, 5, 1)
    assert (item.id, item.error_code) == (poison, "too_many_attempts")
    assert "batches retry" in item.error_message
