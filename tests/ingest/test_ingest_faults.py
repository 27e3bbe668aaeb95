"""Full disks, changed clocks, and a database that stops during a task."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from celery import Celery
from sqlalchemy import text

from pinpoint import tasks
from pinpoint.errors import DatabaseUnavailableError, IndexUnavailableError, UnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.records import ImageUpdate
from pinpoint.store.blobs import FolderBlobs
from pinpoint_workers import runtime
from pinpoint_workers.beat_schedule import ClockTolerantScheduler, IntervalSchedule
from registration import register_folder
from stack_fixtures import WORKER, write_photos


@pytest.fixture
def waiting_items(harness, tmp_path):
    """Six files of a source that copies its originals, and the ids of their task."""
    write_photos(tmp_path / "in", 6)
    org = harness.organization()
    batch = register_folder(
        tmp_path / "in",
        source="photos",
        kind="photo",
        originals="copy",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )
    name, ids = harness.queue.sent.pop()
    assert name == tasks.INGEST_ITEMS
    return org, batch, ids


def _raise_disk_full(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def max_attempts_counted(harness):
    return harness.scalar("SELECT max(attempts) FROM batch_items")


def test_blob_put_on_full_disk_raises_and_leaves_no_partial_file(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path / "blobs")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _raise_disk_full)
        with pytest.raises(UnavailableError, match="free space on its disk") as caught:
            blobs.put(uuid4(), b"bytes")
    assert caught.value.reason == "blobs_unavailable"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ingest_items_on_full_disk_counts_no_attempt(harness, waiting_items, monkeypatch):
    org, batch, ids = waiting_items
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _raise_disk_full)
        for _ in range(5):
            with pytest.raises(UnavailableError):
                pipeline.ingest_items(ids, WORKER, harness.components)
    assert max_attempts_counted(harness) == 0
    assert pipeline.ingest_items(ids, WORKER, harness.components) == 6
    with harness.database.read(org) as catalog:
        assert catalog.batch(batch.id).indexed == 6


def test_ingest_items_database_outage_retries_release_until_it_succeeds(
    harness, waiting_items, monkeypatch
):
    _, _, ids = waiting_items
    pauses, give_back = [], harness.repository.release_unprocessed

    def fail_upsert(*_arguments):
        raise IndexUnavailableError("away")

    def fail_release_twice(*arguments):
        if len(pauses) < 2:
            raise DatabaseUnavailableError("away too")
        give_back(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pinpoint.ingest.pipeline.time.sleep", pauses.append)
        patch.setattr(harness.index, "upsert", fail_upsert)
        patch.setattr(harness.repository, "release_unprocessed", fail_release_twice)
        with pytest.raises(IndexUnavailableError):
            pipeline.ingest_items(ids, WORKER, harness.components)
    assert len(pauses) == 2
    assert max_attempts_counted(harness) == 0
    assert harness.repository.active_workers() == []


def test_lease_after_clock_set_back_is_expired(harness, waiting_items):
    _, _, ids = waiting_items
    assert len(harness.repository.claim(ids, WORKER)) == 6
    assert harness.repository.expired_items(10) == []
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() + interval '1 h'"))
    assert len(harness.repository.expired_items(10)) == 6
    result = recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=60,
        is_alive=lambda _worker: True,
    )
    assert result.items == 6
    assert [len(harness.repository.claim([item_id], "host/2/0.00")) for item_id in ids] == [1] * 6


def test_interval_schedule_after_clock_set_back_is_due():
    interval = IntervalSchedule(30.0, nowfun=lambda: datetime.now(UTC))
    now = interval.now()
    assert interval.is_due(now + timedelta(hours=1)).is_due
    assert not interval.is_due(now - timedelta(seconds=10)).is_due
    assert interval.is_due(now - timedelta(seconds=31)).is_due


_CLOCK = [datetime(2026, 1, 1, 12, tzinfo=UTC)]


def _now():
    return _CLOCK[0]


def test_scheduler_after_clock_set_back_sends_tasks(tmp_path):
    clock = _CLOCK
    app = Celery("clock", broker="memory://")
    app.now = _now
    interval = IntervalSchedule(30.0, nowfun=_now)
    app.conf.beat_schedule = {"sweep": {"task": "sweep", "schedule": interval}}
    beat = ClockTolerantScheduler(app=app, schedule_filename=str(tmp_path / "beat"), lazy=True)
    beat.setup_schedule()
    sent = []
    beat.apply_entry = lambda entry, producer=None: sent.append(clock[0])

    def run_beat(seconds):
        for _ in range(seconds):
            while beat.tick() == 0:
                pass
            clock[0] += timedelta(seconds=1)

    run_beat(100)
    sent_before = len(sent)
    assert sent_before >= 3
    clock[0] -= timedelta(hours=1)
    run_beat(100)
    beat.close()
    assert len(sent) >= sent_before + 3


def test_worker_is_alive_after_clock_change(monkeypatch):
    worker_name = runtime.worker_name()
    assert runtime.is_alive(worker_name)
    # A change of the clock changes the boot time that the system reports.
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1.0)
    assert runtime.is_alive(worker_name)
    assert not runtime.is_alive(worker_name[:-1] + ("1" if worker_name[-1] != "1" else "2"))


@pytest.fixture
def stale_worker(harness, waiting_items):
    """A worker that read a row for the index, was stopped, and lost its database session."""
    org, _, ids = waiting_items
    pipeline.ingest_items(ids, WORKER, harness.components)
    image_id = next(iter(harness.index.scroll(None, 1)))[0]
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(creator="second"))
    harness.queue.sent.clear()
    reading = harness.repository.lock_pending_images([image_id], harness.encoder.contract.digest)
    points = reading.__enter__()
    assert [point.version for point in points] == [2]
    # A restart of PostgreSQL or its limit on idle transactions releases the row lock like this.
    _terminate_sessions(harness)

    def resume_worker():
        harness.index.upsert(points)
        with pytest.raises(DatabaseUnavailableError):
            reading.__exit__(None, None, None)

    return org, image_id, resume_worker


def _terminate_sessions(harness):
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND usename = current_user"
            )
        )


def count_drift(harness):
    result = reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    return result.missing + result.stale + result.extra


def test_stale_worker_does_not_overwrite_newer_version(harness, stale_worker):
    org, image_id, resume_worker = stale_worker
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(creator="third"))
    harness.run()
    resume_worker()
    versions = {point_id: version for point_id, version, _ in harness.index.scroll(None, 10)}
    assert versions[image_id] == 3
    assert count_drift(harness) == 0


def test_stale_worker_does_not_restore_deleted_image(harness, stale_worker):
    org, image_id, resume_worker = stale_worker
    with harness.database.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    resume_worker()
    assert image_id not in {
        point_id for point_id, _, alive in harness.index.scroll(None, 10) if alive
    }
    assert count_drift(harness) == 0


def test_expired_tombstones_exclude_images_not_yet_erased(harness, waiting_items):
    """A clock set forward or an index outage of a day must not lose an id."""
    org, _, ids = waiting_items
    pipeline.ingest_items(ids, WORKER, harness.components)
    image_id = next(iter(harness.index.scroll(None, 1)))[0]
    with harness.database.write(org) as catalog:
        catalog.delete_image(image_id)
    with harness.repository.expired_tombstones(0) as expired:
        assert expired == []
    harness.run()
    with harness.repository.expired_tombstones(0) as expired:
        assert expired == [image_id]
        harness.index.delete_points(expired)
    assert image_id not in {point_id for point_id, _, _ in harness.index.scroll(None, 10)}
