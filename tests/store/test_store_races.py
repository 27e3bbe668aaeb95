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
from pinpoint.records import IMAGE_CHANNEL, Embedded, ImageUpdate, IndexFilter, NewItem
from registration import register_folder
from stack_fixtures import ServiceHarness, jpeg, write_photos


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    services = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield services
    services.close()


def register(harness, folder, org, source="photos"):
    """A registered batch whose items wait for a worker."""
    return register_folder(
        folder,
        source=source,
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def wait_for_lock_waiter(harness):
    """Wait up to 4 s until a session waits for a lock; returns whether one does."""
    statement = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(200):
        if harness.scalar(statement):
            return True
        threading.Event().wait(0.02)
    return False


def test_update_image_after_concurrent_delete_raises_not_found(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", org)
    with harness.owner.begin() as unit:
        image = unit.connection.execute(text("SELECT id FROM images")).scalar_one()

    def correct():
        with harness.database.write(org) as catalog:
            catalog.update_image(image, ImageUpdate(creator="somebody"))

    with ThreadPoolExecutor(1) as pool:
        with harness.database.write(org) as catalog:
            catalog.delete_image(image)
            late_update = pool.submit(correct)
            assert wait_for_lock_waiter(harness)
        with pytest.raises(NotFoundError):
            late_update.result(10)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.index.count(IndexFilter(organization_id=org)) == 0


def test_erase_source_with_waiting_items_indexes_none(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 3)
    batch = register(harness, tmp_path / "in", org)
    with harness.database.write(org) as catalog:
        source = catalog.source("photos")
        open_batch = catalog.open_batch(source.id)
    with harness.database.write(org) as catalog:
        catalog.erase_source(source.id)
    with harness.database.write(org) as catalog:
        assert catalog.batch(batch.id).received == 3
        with pytest.raises(ConflictError):
            catalog.add_items(
                open_batch.id, [NewItem(external_id="late", file="late", uri="file:///late")]
            )
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.index.count(IndexFilter(organization_id=org)) == 0
    with harness.database.read(org) as catalog:
        assert {item.error_code for item in catalog.batch_items(batch.id)} == {"source_erased"}
        assert catalog.batch(batch.id).is_processed
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 3
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.repository.pending_deletions(10) == []
    assert harness.scalar("SELECT count(*) FROM sources") == 0


def test_erase_source_waits_for_worker_and_removes_its_rows(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 2)
    batch = register(harness, tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        source = catalog.source("photos")
        ids = [item.id for item in catalog.batch_items(batch.id)]
    items = harness.repository.claim(ids, "here")
    readings = [
        (
            item,
            harness.components.decoder.read(
                item.file, harness.blobs.path(item.uri), item.metadata_override
            ),
        )
        for item in items
    ]

    def erase():
        with harness.database.write(org) as catalog:
            return catalog.erase_source(source.id)

    erase_futures = []

    def originals(item, reading):
        """On the first call, another session erases the source while this worker writes."""
        if not erase_futures:
            erase_futures.append(pool.submit(erase))
            assert wait_for_lock_waiter(harness)
        return Originals(harness.blobs)(item, reading)

    with ThreadPoolExecutor(1) as pool:
        harness.repository.upsert_images(readings, originals)
        assert erase_futures[0].result(10) == 2
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0


def test_save_vectors_of_replaced_bytes_finishes_no_item(harness, tmp_path):
    """Two workers, one image, other bytes: the vector of the first worker is dropped."""
    org = harness.organization()
    folder = tmp_path / "in"
    write_photos(folder, 1)
    first = register(harness, folder, org)
    contract = harness.encoder.contract.digest

    def store_image(batch, worker):
        with harness.database.read(org) as catalog:
            ids = [item.id for item in catalog.batch_items(batch.id)]
        (item,) = harness.repository.claim(ids, worker)
        reading = harness.components.decoder.read(
            item.file, harness.blobs.path(item.uri), item.metadata_override
        )
        (stored_item,) = harness.repository.upsert_images(
            [(item, reading)], Originals(harness.blobs)
        )
        vector = harness.encoder.encode([reading.faces[0].pixels])[0]
        return Embedded(
            image_id=stored_item.images[0].id,
            sha256=reading.capture.sha256,
            vectors={IMAGE_CHANNEL: vector},
        )

    def states():
        with harness.database.read(org) as catalog:
            return [catalog.batch_items(batch.id)[0].status for batch in (first, second)]

    first_embedded = store_image(first, "one")
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    second = register(harness, folder, org)
    second_embedded = store_image(second, "two")

    harness.repository.save_vectors(contract, [first_embedded])
    pipeline.index_images([first_embedded.image_id], harness.components)
    assert states() == ["stored", "stored"]
    assert harness.index.count(IndexFilter(organization_id=org)) == 0

    harness.repository.save_vectors(contract, [second_embedded])
    pipeline.index_images([second_embedded.image_id], harness.components)
    assert states() == ["indexed", "updated"]
    assert harness.index.count(IndexFilter(organization_id=org)) == 1


def test_add_items_concurrently_numbers_positions_without_gaps(harness):
    org = harness.organization()
    with harness.database.write(org) as catalog:
        batch = catalog.open_batch(catalog.add_source("walk", "photo").id)

    def add(worker):
        for number in range(5):
            with harness.database.write(org) as catalog:
                catalog.add_items(
                    batch.id,
                    [
                        NewItem(external_id=f"{worker}-{number}-{n}", file="x", uri="file:///x")
                        for n in range(3)
                    ],
                )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    with harness.database.read(org) as catalog:
        positions = [item.position for item in catalog.batch_items(batch.id)]
        positions_of_page = [
            item.position for item in catalog.batch_items(batch.id, after=50, limit=5)
        ]
    assert positions == list(range(1, 61))
    assert positions_of_page == [51, 52, 53, 54, 55]


def test_source_lookup_accepts_name_and_id_in_any_case(harness):
    org, other = harness.organization(), harness.organization("other")
    with harness.database.write(org) as catalog:
        source = catalog.add_source("walk", "photo")
        for name_or_id in ("walk", source.id, str(source.id), str(source.id).upper()):
            assert catalog.source(name_or_id).id == source.id
    with harness.database.read(other) as catalog:
        for name_or_id in ("walk", source.id, str(source.id)):
            with pytest.raises(NotFoundError):
                catalog.source(name_or_id)


def test_release_unprocessed_after_lost_lease_keeps_new_lease(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    batch = register(harness, tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        ids = [item.id for item in catalog.batch_items(batch.id)]
    harness.repository.claim(ids, "slow")
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET lease_until = now() - interval '1s'"))
    assert len(harness.repository.claim(ids, "quick")) == 1
    harness.repository.release_unprocessed(ids, "slow")
    assert harness.repository.active_workers() == ["quick"]
    harness.repository.release_unprocessed(ids, "quick")
    assert harness.repository.active_workers() == []
    assert harness.repository.expired_items(10) == [(ids[0], 1)]


def test_claim_after_max_attempts_fails_stored_images(harness, tmp_path):
    """Otherwise the images would wait for a vector forever and count as searchable."""
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    batch = register(harness, tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        ids = [item.id for item in catalog.batch_items(batch.id)]
    (item,) = harness.repository.claim(ids, "here")
    reading = harness.components.decoder.read(
        item.file, harness.blobs.path(item.uri), item.metadata_override
    )
    harness.repository.upsert_images([(item, reading)], Originals(harness.blobs))
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET attempts = 3, lease_until = NULL"))
    assert harness.repository.claim(ids, "here") == []
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    with harness.database.read(org) as catalog:
        assert catalog.source("photos").images == 0
    with harness.database.write(org) as catalog:
        catalog.retry_batch(batch.id)
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'indexed'") == 1


def test_ingest_after_reconcile_removal_indexes_image(harness, tmp_path):
    """After a restore from an older backup the index has a newer version than PostgreSQL."""
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", org)
    with harness.owner.begin() as unit:
        image = unit.connection.execute(text("SELECT id FROM images")).scalar_one()
    for name in ("one", "two", "three"):
        with harness.database.write(org) as catalog:
            catalog.update_image(image, ImageUpdate(creator=name))
        harness.run()
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM images"))
    drift = reconcile_index_rows(
        repository=harness.repository,
        index=harness.index,
        queue=harness.queue,
        contract=harness.encoder.contract.digest,
        chunk=64,
    )
    assert (drift.extra, drift.repaired) == (1, 1)
    assert harness.index.count(IndexFilter(organization_id=org)) == 0
    assert harness.ingest(tmp_path / "in", org).indexed == 1
    assert harness.index.scroll(None, 10) == [(image, 1, True)]
