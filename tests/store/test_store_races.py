"""Concurrent writers: deletions are permanent, counts are exact, no item finishes early."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from pinpoint.errors import ConflictError, NotFoundError
from pinpoint.ingest import pipeline
from pinpoint.ingest.originals import Originals
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import Embedded, ImageUpdate, IndexFilter, NewItem
from registration import register_folder
from stack_fixtures import Rig, jpeg, write_photos


@pytest.fixture
def rig(database_url, api_database_url, tmp_path):
    services = Rig(database_url, api_database_url, tmp_path / "rig")
    yield services
    services.close()


def register(rig, folder, org, source="photos"):
    """A registered batch whose items wait for a worker."""
    return register_folder(
        folder,
        source=source,
        kind="photo",
        organization_id=org,
        database=rig.operator,
        settings=rig.settings,
    )


def wait_for_lock_waiter(rig):
    """Wait up to 4 s until a session waits for a lock; returns whether one does."""
    statement = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(200):
        if rig.scalar(statement):
            return True
        threading.Event().wait(0.02)
    return False


def test_update_image_after_concurrent_delete_raises_not_found(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    rig.ingest(tmp_path / "in", org)
    with rig.owner.begin() as unit:
        image = unit.connection.execute(text("SELECT id FROM images")).scalar_one()

    def correct():
        with rig.database.write(org) as catalog:
            catalog.update_image(image, ImageUpdate(creator="somebody"))

    with ThreadPoolExecutor(1) as pool:
        with rig.database.write(org) as catalog:
            catalog.delete_image(image)
            late_update = pool.submit(correct)
            assert wait_for_lock_waiter(rig)
        with pytest.raises(NotFoundError):
            late_update.result(10)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert rig.index.count(IndexFilter(organization_id=org)) == 0


def test_erase_source_with_waiting_items_indexes_none(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 3)
    batch = register(rig, tmp_path / "in", org)
    with rig.database.write(org) as catalog:
        source = catalog.source("photos")
        open_batch = catalog.open_batch(source.id)
    with rig.database.write(org) as catalog:
        catalog.erase_source(source.id)
    with rig.database.write(org) as catalog:
        assert catalog.batch(batch.id).received == 3
        with pytest.raises(ConflictError):
            catalog.add_items(
                open_batch.id, [NewItem(external_id="late", file="late", uri="file:///late")]
            )
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert rig.index.count(IndexFilter(organization_id=org)) == 0
    with rig.database.read(org) as catalog:
        assert {item.error_code for item in catalog.batch_items(batch.id)} == {"source_erased"}
        assert catalog.batch(batch.id).is_processed
    with rig.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 3
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert rig.ledger.lost_deletions(10) == []
    assert rig.scalar("SELECT count(*) FROM sources") == 0


def test_erase_source_waits_for_worker_and_removes_its_rows(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 2)
    batch = register(rig, tmp_path / "in", org)
    with rig.database.read(org) as catalog:
        source = catalog.source("photos")
        ids = [item.id for item in catalog.batch_items(batch.id)]
    items = rig.ledger.claim(ids, "here")
    readings = [
        (
            item,
            rig.parts.decoder.read(item.file, rig.blobs.path(item.uri), item.metadata_override),
        )
        for item in items
    ]

    def erase():
        with rig.database.write(org) as catalog:
            return catalog.erase_source(source.id)

    erase_futures = []

    def originals(item, reading):
        """On the first call, another session erases the source while this worker writes."""
        if not erase_futures:
            erase_futures.append(pool.submit(erase))
            assert wait_for_lock_waiter(rig)
        return Originals(rig.blobs)(item, reading)

    with ThreadPoolExecutor(1) as pool:
        rig.ledger.upsert_images(readings, originals)
        assert erase_futures[0].result(10) == 2
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0


def test_save_vectors_of_replaced_bytes_finishes_no_item(rig, tmp_path):
    """Two workers, one image, other bytes: the vector of the first worker is dropped."""
    org = rig.organization()
    folder = tmp_path / "in"
    write_photos(folder, 1)
    first = register(rig, folder, org)
    contract = rig.encoder.contract.digest

    def store_image(batch, worker):
        with rig.database.read(org) as catalog:
            ids = [item.id for item in catalog.batch_items(batch.id)]
        (item,) = rig.ledger.claim(ids, worker)
        reading = rig.parts.decoder.read(
            item.file, rig.blobs.path(item.uri), item.metadata_override
        )
        (stored_item,) = rig.ledger.upsert_images([(item, reading)], Originals(rig.blobs))
        vector = rig.encoder.encode([reading.faces[0].pixels])[0]
        return Embedded(
            image_id=stored_item.images[0].id, sha256=reading.capture.sha256, vector=vector
        )

    def states():
        with rig.database.read(org) as catalog:
            return [catalog.batch_items(batch.id)[0].status for batch in (first, second)]

    first_embedded = store_image(first, "one")
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    second = register(rig, folder, org)
    second_embedded = store_image(second, "two")

    rig.ledger.save_vectors(contract, [first_embedded])
    pipeline.index_images([first_embedded.image_id], rig.parts)
    assert states() == ["stored", "stored"]
    assert rig.index.count(IndexFilter(organization_id=org)) == 0

    rig.ledger.save_vectors(contract, [second_embedded])
    pipeline.index_images([second_embedded.image_id], rig.parts)
    assert states() == ["indexed", "updated"]
    assert rig.index.count(IndexFilter(organization_id=org)) == 1


def test_add_items_concurrently_numbers_positions_without_gaps(rig):
    org = rig.organization()
    with rig.database.write(org) as catalog:
        batch = catalog.open_batch(catalog.add_source("walk", "photo").id)

    def add(worker):
        for number in range(5):
            with rig.database.write(org) as catalog:
                catalog.add_items(
                    batch.id,
                    [
                        NewItem(external_id=f"{worker}-{number}-{n}", file="x", uri="file:///x")
                        for n in range(3)
                    ],
                )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    with rig.database.read(org) as catalog:
        positions = [item.position for item in catalog.batch_items(batch.id)]
        positions_of_page = [
            item.position for item in catalog.batch_items(batch.id, after=50, limit=5)
        ]
    assert positions == list(range(1, 61))
    assert positions_of_page == [51, 52, 53, 54, 55]


def test_source_lookup_accepts_name_and_id_in_any_case(rig):
    org, other = rig.organization(), rig.organization("other")
    with rig.database.write(org) as catalog:
        source = catalog.add_source("walk", "photo")
        named_like_an_id = catalog.add_source("8b2f3a34-9e7e-4a4e-8f43-0a5b6f0f3c11", "photo")
        for name_or_id in ("walk", source.id, str(source.id), str(source.id).upper()):
            assert catalog.source(name_or_id).id == source.id
        assert catalog.source(named_like_an_id.name).id == named_like_an_id.id
    with rig.database.read(other) as catalog:
        for name_or_id in ("walk", source.id, str(source.id)):
            with pytest.raises(NotFoundError):
                catalog.source(name_or_id)


def test_release_unprocessed_after_lost_lease_keeps_new_lease(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    batch = register(rig, tmp_path / "in", org)
    with rig.database.read(org) as catalog:
        ids = [item.id for item in catalog.batch_items(batch.id)]
    rig.ledger.claim(ids, "slow")
    with rig.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert len(rig.ledger.claim(ids, "quick")) == 1
    rig.ledger.release_unprocessed(ids, "slow")
    assert rig.ledger.active_workers() == ["quick"]
    rig.ledger.release_unprocessed(ids, "quick")
    assert rig.ledger.active_workers() == []
    assert rig.ledger.lost_items(10) == [(ids[0], 1)]


def test_claim_after_max_attempts_fails_stored_images(rig, tmp_path):
    """Otherwise the images would wait for a vector forever and count as searchable."""
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    batch = register(rig, tmp_path / "in", org)
    with rig.database.read(org) as catalog:
        ids = [item.id for item in catalog.batch_items(batch.id)]
    (item,) = rig.ledger.claim(ids, "here")
    reading = rig.parts.decoder.read(item.file, rig.blobs.path(item.uri), item.metadata_override)
    rig.ledger.upsert_images([(item, reading)], Originals(rig.blobs))
    with rig.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET attempts = 3, lease_until = NULL"))
    assert rig.ledger.claim(ids, "here") == []
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    with rig.database.read(org) as catalog:
        assert catalog.source("photos").images == 0
    with rig.database.write(org) as catalog:
        catalog.retry_batch(batch.id)
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 1


def test_ingest_after_reconcile_removal_indexes_image(rig, tmp_path):
    """After a restore from an older backup the index has a newer version than PostgreSQL."""
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    rig.ingest(tmp_path / "in", org)
    with rig.owner.begin() as unit:
        image = unit.connection.execute(text("SELECT id FROM images")).scalar_one()
    for name in ("one", "two", "three"):
        with rig.database.write(org) as catalog:
            catalog.update_image(image, ImageUpdate(creator=name))
        rig.run()
    with rig.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM images"))
    drift = reconcile_index_rows(
        ledger=rig.ledger,
        index=rig.index,
        queue=rig.queue,
        contract=rig.encoder.contract.digest,
        chunk=64,
    )
    assert (drift.extra, drift.repaired) == (1, 1)
    assert rig.index.count(IndexFilter(organization_id=org)) == 0
    assert rig.ingest(tmp_path / "in", org).indexed == 1
    assert rig.index.scroll(None, 10) == [(image, 1, True)]
