"""An index that is ahead of PostgreSQL, and rows that come while it is mended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import ImageUpdate, IndexFilter, Point
from stack_fixtures import write_photos


def reconciled(harness, *, mend=True):
    found = reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue if mend else None,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    return found.missing, found.stale, found.extra, found.repaired


def mended(harness):
    """Whether mending leaves nothing to mend."""
    reconciled(harness)
    harness.run()
    return reconciled(harness) == (0, 0, 0, 0)


@pytest.fixture
def photos(harness, tmp_path):
    """Three indexed photos; their ids in order."""
    write_photos(tmp_path / "in", 3)
    harness.org = harness.organization()
    harness.ingest(tmp_path / "in", harness.org)
    harness.in_folder = tmp_path / "in"
    return [row[0] for row in harness.index.scroll(None, 10)]


def restored(harness, image_id, version):
    """The row as an older backup of PostgreSQL has it."""
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET version = :version, state = 'indexed' WHERE id = :id"),
            {"version": version, "id": image_id},
        )


def fixed(harness, image_id, **fields):
    with harness.database.write(harness.org) as catalog:
        catalog.update_image(image_id, ImageUpdate(**fields))
    harness.run()


def test_a_point_ahead_of_its_row_is_drift_and_is_mended(harness, photos):
    held = harness.index.fetch([photos[1]])[0].point
    fixed(harness, photos[1], point=Point(lat=5, lon=5))
    fixed(harness, photos[1], creator="somebody")
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET geog = ST_Point(:lon, :lat)::geography WHERE id = :id"),
            {"lon": held.lon, "lat": held.lat, "id": photos[1]},
        )
    restored(harness, photos[1], 1)
    assert reconciled(harness, mend=False) == (0, 1, 0, 0)
    assert reconciled(harness) == (0, 1, 0, 1)
    harness.run()
    assert reconciled(harness) == (0, 0, 0, 0)
    (point,) = harness.index.fetch([photos[1]])
    assert (point.point.lat, point.point.lon) == pytest.approx((held.lat, held.lon), abs=1e-6)
    assert point.version == 4
    assert harness.scalar("SELECT version FROM images WHERE id = :id", id=photos[1]) == 4


@pytest.mark.parametrize("version", [1, 2, 9])
def test_a_tombstone_over_a_living_row_is_drift_and_is_mended(harness, photos, version):
    """The image was deleted after the backup that PostgreSQL was restored from."""
    harness.index.write_tombstones({photos[2]: version})
    assert harness.index.fetch([photos[2]]) == []
    assert reconciled(harness, mend=False) == (1, 0, 0, 0)
    assert mended(harness)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_an_image_that_comes_again_under_a_forgotten_tombstone_is_found(harness, photos):
    """PostgreSQL lost the deletion's tombstone, the index did not."""
    with harness.database.write(harness.org) as catalog:
        catalog.delete_image(photos[0])
    harness.run()
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM tombstones"))
    assert harness.ingest(harness.in_folder, harness.org).indexed == 1
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 2
    assert mended(harness)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_what_changes_between_the_scans_is_no_drift(harness, photos, monkeypatch):
    scroll, done = harness.index.scroll, []

    def late(*given):
        if not done:
            done.append(True)
            fixed(harness, photos[0], creator="somebody")
            with harness.database.write(harness.org) as catalog:
                catalog.delete_image(photos[1])
            harness.run()
        return scroll(*given)

    monkeypatch.setattr(harness.index, "scroll", late)
    # Rows are read first: a page of them is older than what the index then holds.
    assert reconciled(harness, mend=False) == (0, 0, 0, 0)
    assert done


def test_an_image_that_comes_while_its_stray_point_is_forgotten_stays(harness, photos, monkeypatch):
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM images"))
    delete_points = harness.index.delete_points
    done = threading.Event()

    def again():
        batch = harness.ingest(harness.in_folder, harness.org)
        done.set()
        return batch

    def slow(ids):
        """The moment between asking for rows and forgetting points, made long."""
        coming = pool.submit(again)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not done.is_set() and not harness.scalar(waiting):
            done.wait(0.05)
        delete_points(ids)
        arrived.append(coming)

    arrived = []
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(harness.index, "delete_points", slow)
        assert reconciled(harness) == (0, 0, 3, 3)
        monkeypatch.undo()
        assert arrived[0].result(30).indexed == 3
    assert reconciled(harness) == (0, 0, 0, 0)
    assert harness.index.count(IndexFilter(organization_id=harness.org)) == 3


def test_a_deleted_image_keeps_its_tombstone(harness, photos):
    """What is forgotten of it could be brought back by a worker that has slept."""
    old = harness.index.fetch([photos[0]], vectors=True)
    with harness.database.write(harness.org) as catalog:
        catalog.delete_image(photos[0])
    harness.queue.sent.clear()
    reconciled(harness)
    harness.index.upsert(old)
    assert harness.index.fetch([photos[0]]) == []
    assert (photos[0], 2, False) in harness.index.scroll(None, 10)
