"""Reconciling an index that is ahead of PostgreSQL, and rows inserted during the repair."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import ImageUpdate, IndexFilter, Point
from stack_fixtures import write_photos


def reconcile(harness, *, repair=True):
    result = reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue if repair else None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    return result.missing, result.stale, result.extra, result.repaired


def repair_leaves_no_drift(harness):
    """Whether a repair leaves no drift."""
    reconcile(harness)
    harness.run()
    return reconcile(harness) == (0, 0, 0, 0)


@pytest.fixture
def image_ids(harness, tmp_path):
    """Three indexed photos; their ids in order."""
    write_photos(tmp_path / "in", 3)
    harness.org = harness.organization()
    harness.ingest(tmp_path / "in", harness.org)
    harness.in_folder = tmp_path / "in"
    return [row[0] for row in harness.index.scroll(None, 10)]


def restore_version(harness, image_id, version):
    """The row as an older backup of PostgreSQL has it."""
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET version = :version, state = 'indexed' WHERE id = :id"),
            {"version": version, "id": image_id},
        )


def correct_image(harness, image_id, **fields):
    with harness.database.write(harness.org) as catalog:
        catalog.update_image(image_id, ImageUpdate(**fields))
    harness.run()


def test_reconcile_point_ahead_of_row_is_repaired(harness, image_ids):
    original_point = harness.index.fetch([image_ids[1]])[0].point
    correct_image(harness, image_ids[1], point=Point(lat=5, lon=5))
    correct_image(harness, image_ids[1], creator="somebody")
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET geog = ST_Point(:lon, :lat)::geography WHERE id = :id"),
            {"lon": original_point.lon, "lat": original_point.lat, "id": image_ids[1]},
        )
    restore_version(harness, image_ids[1], 1)
    assert reconcile(harness, repair=False) == (0, 1, 0, 0)
    assert reconcile(harness) == (0, 1, 0, 1)
    harness.run()
    assert reconcile(harness) == (0, 0, 0, 0)
    (point,) = harness.index.fetch([image_ids[1]])
    assert (point.point.lat, point.point.lon) == pytest.approx(
        (original_point.lat, original_point.lon), abs=1e-6
    )
    assert point.version == 4
    assert harness.scalar("SELECT version FROM images WHERE id = :id", id=image_ids[1]) == 4


@pytest.mark.parametrize("version", [1, 2, 9])
def test_reconcile_tombstone_over_live_row_is_repaired(harness, image_ids, version):
    """The image was deleted after the backup that PostgreSQL was restored from."""
    harness.index.write_tombstones({image_ids[2]: version})
    assert harness.index.fetch([image_ids[2]]) == []
    assert reconcile(harness, repair=False) == (1, 0, 0, 0)
    assert repair_leaves_no_drift(harness)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_reconcile_new_image_under_lost_tombstone_is_repaired(harness, image_ids):
    """PostgreSQL lost the tombstone, the index did not."""
    with harness.database.write(harness.org) as catalog:
        catalog.delete_image(image_ids[0])
    harness.run()
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM tombstones"))
    assert harness.ingest(harness.in_folder, harness.org).indexed == 1
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 2
    assert repair_leaves_no_drift(harness)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_reconcile_changes_between_scans_are_no_drift(harness, image_ids, monkeypatch):
    scroll, changes_made = harness.index.scroll, []

    def scroll_after_changes(*arguments):
        if not changes_made:
            changes_made.append(True)
            correct_image(harness, image_ids[0], creator="somebody")
            with harness.database.write(harness.org) as catalog:
                catalog.delete_image(image_ids[1])
            harness.run()
        return scroll(*arguments)

    monkeypatch.setattr(harness.index, "scroll", scroll_after_changes)
    # Rows are read first: a page of them is older than what the index then holds.
    assert reconcile(harness, repair=False) == (0, 0, 0, 0)
    assert changes_made


def test_reconcile_image_ingested_during_forget_is_kept(harness, image_ids, monkeypatch):
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM images"))
    delete_points = harness.index.delete_points
    ingested = threading.Event()

    def ingest_again():
        batch = harness.ingest(harness.in_folder, harness.org)
        ingested.set()
        return batch

    def forget_slowly(ids):
        """Extend the time between reading the rows and forgetting the points."""
        ingest_future = pool.submit(ingest_again)
        waiting_locks = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not ingested.is_set() and not harness.scalar(waiting_locks):
            ingested.wait(0.05)
        delete_points(ids)
        ingest_futures.append(ingest_future)

    ingest_futures = []
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(harness.index, "delete_points", forget_slowly)
        assert reconcile(harness) == (0, 0, 3, 3)
        monkeypatch.undo()
        assert ingest_futures[0].result(30).indexed == 3
    assert reconcile(harness) == (0, 0, 0, 0)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_reconcile_deleted_image_keeps_tombstone(harness, image_ids):
    """A delayed worker could restore an image without a tombstone."""
    old_points = harness.index.fetch([image_ids[0]], vectors=True)
    with harness.database.write(harness.org) as catalog:
        catalog.delete_image(image_ids[0])
    harness.queue.sent.clear()
    reconcile(harness)
    harness.index.upsert(old_points)
    assert harness.index.fetch([image_ids[0]]) == []
    assert (image_ids[0], 2, False) in harness.index.scroll(None, 10)
