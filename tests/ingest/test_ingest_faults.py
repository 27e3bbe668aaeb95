"""Disks that are full, clocks that are set, a database that goes in the middle of a job."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from celery import Celery
from sqlalchemy import text

from pinpoint import jobs
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
def waiting(harness, tmp_path):
    """Six files of a source that copies its originals, and the job that wants them."""
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
    assert name == jobs.INGEST_ITEMS
    return org, batch, ids


def _full(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tries(harness):
    return harness.scalar("SELECT max(attempts) FROM batch_items")


def test_a_full_blob_store_says_so_and_leaves_no_half(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path / "blobs")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(UnavailableError, match="free space on its disk") as caught:
            blobs.put(uuid4(), b"bytes")
    assert caught.value.reason == "blobs_unavailable"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


def test_a_full_blob_store_costs_no_try(harness, waiting, monkeypatch):
    org, batch, ids = waiting
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        for _ in range(5):
            with pytest.raises(UnavailableError):
                pipeline.ingest_items(ids, WORKER, harness.parts)
    assert _tries(harness) == 0
    assert pipeline.ingest_items(ids, WORKER, harness.parts) == 6
    with harness.database.read(org) as catalog:
        assert catalog.batch(batch.id).indexed == 6


def test_items_are_given_back_when_the_database_has_come_back(harness, waiting, monkeypatch):
    _, _, ids = waiting
    pauses, give_back = [], harness.repository.release_unprocessed

    def away(*_given):
        raise IndexUnavailableError("away")

    def twice_away(*given):
        if len(pauses) < 2:
            raise DatabaseUnavailableError("away too")
        give_back(*given)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.time, "sleep", pauses.append)
        patch.setattr(harness.index, "upsert", away)
        patch.setattr(harness.repository, "release_unprocessed", twice_away)
        with pytest.raises(IndexUnavailableError):
            pipeline.ingest_items(ids, WORKER, harness.parts)
    assert len(pauses) == 2
    assert _tries(harness) == 0
    assert harness.repository.active_workers() == []


def test_a_lease_from_before_the_clock_was_set_back_holds_nothing(harness, waiting):
    _, _, ids = waiting
    assert len(harness.repository.claim(ids, WORKER)) == 6
    assert harness.repository.expired_items(10) == []
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() + interval '1 h'"))
    assert len(harness.repository.expired_items(10)) == 6
    found = recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=60,
        is_alive=lambda _worker: True,
    )
    assert found.items == 6
    assert [len(harness.repository.claim([one], "host/2/0.00")) for one in ids] == [1] * 6


def test_beat_goes_on_when_the_clock_was_set_back():
    every = IntervalSchedule(30.0, nowfun=lambda: datetime.now(UTC))
    now = every.now()
    assert every.is_due(now + timedelta(hours=1)).is_due
    assert not every.is_due(now - timedelta(seconds=10)).is_due
    assert every.is_due(now - timedelta(seconds=31)).is_due


_CLOCK = [datetime(2026, 1, 1, 12, tzinfo=UTC)]


def _now():
    return _CLOCK[0]


def test_beat_plans_again_when_the_clock_was_set_back(tmp_path):
    clock = _CLOCK
    app = Celery("clock", broker="memory://")
    app.now = _now
    every = IntervalSchedule(30.0, nowfun=_now)
    app.conf.beat_schedule = {"sweep": {"task": "sweep", "schedule": every}}
    beat = ClockTolerantScheduler(app=app, schedule_filename=str(tmp_path / "beat"), lazy=True)
    beat.setup_schedule()
    sent = []
    beat.apply_entry = lambda entry, producer=None: sent.append(clock[0])

    def play(seconds):
        for _ in range(seconds):
            while beat.tick() == 0:
                pass
            clock[0] += timedelta(seconds=1)

    play(100)
    before = len(sent)
    assert before >= 3
    clock[0] -= timedelta(hours=1)
    play(100)
    beat.close()
    assert len(sent) >= before + 3


def test_a_worker_keeps_its_name_when_the_clock_is_set(monkeypatch):
    own = runtime.worker_name()
    assert runtime.is_alive(own)
    # What a step of the clock changes: the moment the machine was started, by the clock.
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1.0)
    assert runtime.is_alive(own)
    assert not runtime.is_alive(own[:-1] + ("1" if own[-1] != "1" else "2"))


@pytest.fixture
def stale(harness, waiting):
    """A worker that has read a row for the index, was stopped there, and lost its session."""
    org, _, ids = waiting
    pipeline.ingest_items(ids, WORKER, harness.parts)
    image_id = next(iter(harness.index.scroll(None, 1)))[0]
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(creator="second"))
    harness.queue.sent.clear()
    reading = harness.repository.lock_pending_images([image_id], harness.encoder.contract.digest)
    points = reading.__enter__()
    assert [point.version for point in points] == [2]
    # As a restart of PostgreSQL does, or its limit on idle transactions: the row lock is gone.
    _end_sessions(harness)

    def wake():
        harness.index.upsert(points)
        with pytest.raises(DatabaseUnavailableError):
            reading.__exit__(None, None, None)

    return org, image_id, wake


def _end_sessions(harness):
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND usename = current_user"
            )
        )


def _drift(harness):
    found = reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    return found.missing + found.stale + found.extra


def test_a_worker_that_wakes_up_does_not_overwrite_what_is_newer(harness, stale):
    org, image_id, wake = stale
    with harness.database.write(org) as catalog:
        catalog.update_image(image_id, ImageUpdate(creator="third"))
    harness.run()
    wake()
    found = {each: version for each, version, _ in harness.index.scroll(None, 10)}
    assert found[image_id] == 3
    assert _drift(harness) == 0


def test_a_worker_that_wakes_up_does_not_bring_back_what_was_deleted(harness, stale):
    org, image_id, wake = stale
    with harness.database.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    wake()
    assert image_id not in {each for each, _, alive in harness.index.scroll(None, 10) if alive}
    assert _drift(harness) == 0


def test_no_tombstone_is_forgotten_before_its_image_is_erased(harness, waiting):
    """A clock set forward, or an index that was away for a day, must not lose an id for good."""
    org, _, ids = waiting
    pipeline.ingest_items(ids, WORKER, harness.parts)
    image_id = next(iter(harness.index.scroll(None, 1)))[0]
    with harness.database.write(org) as catalog:
        catalog.delete_image(image_id)
    with harness.repository.expired_tombstones(0) as old:
        assert old == []
    harness.run()
    with harness.repository.expired_tombstones(0) as old:
        assert old == [image_id]
        harness.index.delete_points(old)
    assert image_id not in {each for each, _, _ in harness.index.scroll(None, 10)}
