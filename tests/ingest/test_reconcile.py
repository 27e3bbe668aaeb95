"""An index that is ahead of PostgreSQL, and rows that come while it is mended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import ImageUpdate, IndexFilter, Point
from stack_fixtures import write_photos


def reconciled(rig, *, mend=True):
    found = reconcile_index_rows(
        repository=rig.ledger,
        index=rig.index,
        queue=rig.queue if mend else None,
        contract=rig.encoder.contract.digest,
        chunk=64,
    )
    return found.missing, found.stale, found.extra, found.repaired


def mended(rig):
    """Whether mending leaves nothing to mend."""
    reconciled(rig)
    rig.run()
    return reconciled(rig) == (0, 0, 0, 0)


@pytest.fixture
def photos(rig, tmp_path):
    """Three indexed photos; their ids in order."""
    write_photos(tmp_path / "in", 3)
    rig.org = rig.organization()
    rig.ingest(tmp_path / "in", rig.org)
    rig.in_folder = tmp_path / "in"
    return [row[0] for row in rig.index.scroll(None, 10)]


def restored(rig, image_id, version):
    """The row as an older backup of PostgreSQL has it."""
    with rig.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET version = :version, state = 'indexed' WHERE id = :id"),
            {"version": version, "id": image_id},
        )


def fixed(rig, image_id, **fields):
    with rig.database.write(rig.org) as catalog:
        catalog.update_image(image_id, ImageUpdate(**fields))
    rig.run()


def test_a_point_ahead_of_its_row_is_drift_and_is_mended(rig, photos):
    held = rig.index.fetch([photos[1]])[0].point
    fixed(rig, photos[1], point=Point(lat=5, lon=5))
    fixed(rig, photos[1], creator="somebody")
    with rig.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET geog = ST_Point(:lon, :lat)::geography WHERE id = :id"),
            {"lon": held.lon, "lat": held.lat, "id": photos[1]},
        )
    restored(rig, photos[1], 1)
    assert reconciled(rig, mend=False) == (0, 1, 0, 0)
    assert reconciled(rig) == (0, 1, 0, 1)
    rig.run()
    assert reconciled(rig) == (0, 0, 0, 0)
    (point,) = rig.index.fetch([photos[1]])
    assert (point.point.lat, point.point.lon) == pytest.approx((held.lat, held.lon), abs=1e-6)
    assert point.version == 4
    assert rig.scalar("SELECT version FROM images WHERE id = :id", id=photos[1]) == 4


@pytest.mark.parametrize("version", [1, 2, 9])
def test_a_tombstone_over_a_living_row_is_drift_and_is_mended(rig, photos, version):
    """The image was deleted after the backup that PostgreSQL was restored from."""
    rig.index.write_tombstones({photos[2]: version})
    assert rig.index.fetch([photos[2]]) == []
    assert reconciled(rig, mend=False) == (1, 0, 0, 0)
    assert mended(rig)
    assert rig.index.count(IndexFilter(organization_id=rig.org)) == 3


def test_an_image_that_comes_again_under_a_forgotten_tombstone_is_found(rig, photos):
    """PostgreSQL lost the deletion's tombstone, the index did not."""
    with rig.database.write(rig.org) as catalog:
        catalog.delete_image(photos[0])
    rig.run()
    with rig.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM tombstones"))
    assert rig.ingest(rig.in_folder, rig.org).indexed == 1
    assert rig.index.count(IndexFilter(organization_id=rig.org)) == 2
    assert mended(rig)
    assert rig.index.count(IndexFilter(organization_id=rig.org)) == 3


def test_what_changes_between_the_scans_is_no_drift(rig, photos, monkeypatch):
    scroll, done = rig.index.scroll, []

    def late(*given):
        if not done:
            done.append(True)
            fixed(rig, photos[0], creator="somebody")
            with rig.database.write(rig.org) as catalog:
                catalog.delete_image(photos[1])
            rig.run()
        return scroll(*given)

    monkeypatch.setattr(rig.index, "scroll", late)
    # Rows are read first: a page of them is older than what the index then holds.
    assert reconciled(rig, mend=False) == (0, 0, 0, 0)
    assert done


def test_an_image_that_comes_while_its_stray_point_is_forgotten_stays(rig, photos, monkeypatch):
    with rig.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM images"))
    delete_points = rig.index.delete_points
    done = threading.Event()

    def again():
        batch = rig.ingest(rig.in_folder, rig.org)
        done.set()
        return batch

    def slow(ids):
        """The moment between asking for rows and forgetting points, made long."""
        coming = pool.submit(again)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not done.is_set() and not rig.scalar(waiting):
            done.wait(0.05)
        delete_points(ids)
        arrived.append(coming)

    arrived = []
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(rig.index, "delete_points", slow)
        assert reconciled(rig) == (0, 0, 3, 3)
        monkeypatch.undo()
        assert arrived[0].result(30).indexed == 3
    assert reconciled(rig) == (0, 0, 0, 0)
    assert rig.index.count(IndexFilter(organization_id=rig.org)) == 3


def test_a_deleted_image_keeps_its_tombstone(rig, photos):
    """What is forgotten of it could be brought back by a worker that has slept."""
    old = rig.index.fetch([photos[0]], vectors=True)
    with rig.database.write(rig.org) as catalog:
        catalog.delete_image(photos[0])
    rig.queue.sent.clear()
    reconciled(rig)
    rig.index.upsert(old)
    assert rig.index.fetch([photos[0]]) == []
    assert (photos[0], 2, False) in rig.index.scroll(None, 10)
