"""What two writers at once may not break: deletions stay, counts hold, nothing is settled early."""

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
from stack_fixtures import ServiceHarness, jpeg, write_photos


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()


def registered(harness, folder, org, source="photos"):
    """A batch whose files wait for a worker."""
    return register_folder(
        folder,
        source=source,
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def blocked(harness):
    """Whether somebody waits for a lock; polled until somebody does."""
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(200):
        if harness.scalar(asked):
            return True
        threading.Event().wait(0.02)
    return False


def test_a_correction_does_not_bring_a_deleted_image_back(harness, tmp_path):
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
            late = pool.submit(correct)
            assert blocked(harness)
        with pytest.raises(NotFoundError):
            late.result(10)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.index.count(IndexFilter(organization_id=org)) == 0


def test_nothing_of_an_erased_source_comes_back(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 3)
    batch = registered(harness, tmp_path / "in", org)
    with harness.database.write(org) as catalog:
        source = catalog.source("photos")
        open_one = catalog.open_batch(source.id)
    with harness.database.write(org) as catalog:
        catalog.erase_source(source.id)
    with harness.database.write(org) as catalog:
        assert catalog.batch(batch.id).received == 3
        with pytest.raises(ConflictError):
            catalog.add_items(
                open_one.id, [NewItem(external_id="late", file="late", uri="file:///late")]
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


def test_erasing_waits_for_a_worker_that_keeps_and_takes_its_rows_too(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 2)
    batch = registered(harness, tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        source = catalog.source("photos")
        ids = [item.id for item in catalog.batch_items(batch.id)]
    items = harness.repository.claim(ids, "here")
    readings = [
        (
            item,
            harness.parts.decoder.read(
                item.file, harness.blobs.path(item.uri), item.metadata_override
            ),
        )
        for item in items
    ]

    def erase():
        with harness.database.write(org) as catalog:
            return catalog.erase_source(source.id)

    waiting = []

    def originals(item, reading):
        """The first time, somebody erases the source while this worker writes."""
        if not waiting:
            waiting.append(pool.submit(erase))
            assert blocked(harness)
        return Originals(harness.blobs)(item, reading)

    with ThreadPoolExecutor(1) as pool:
        harness.repository.upsert_images(readings, originals)
        assert waiting[0].result(10) == 2
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0


def test_a_late_vector_settles_nobody_elses_file(harness, tmp_path):
    """Two workers, one id, other bytes: the first one's vector is dropped and settles nothing."""
    org = harness.organization()
    folder = tmp_path / "in"
    write_photos(folder, 1)
    first = registered(harness, folder, org)
    contract = harness.encoder.contract.digest

    def kept(batch, worker):
        with harness.database.read(org) as catalog:
            ids = [item.id for item in catalog.batch_items(batch.id)]
        (item,) = harness.repository.claim(ids, worker)
        reading = harness.parts.decoder.read(
            item.file, harness.blobs.path(item.uri), item.metadata_override
        )
        (one,) = harness.repository.upsert_images([(item, reading)], Originals(harness.blobs))
        vector = harness.encoder.encode([reading.faces[0].pixels])[0]
        return Embedded(image_id=one.images[0].id, sha256=reading.capture.sha256, vector=vector)

    def states():
        with harness.database.read(org) as catalog:
            return [catalog.batch_items(one.id)[0].status for one in (first, second)]

    early = kept(first, "one")
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    second = registered(harness, folder, org)
    late = kept(second, "two")

    harness.repository.save_vectors(contract, [early])
    pipeline.index_images([early.image_id], harness.parts)
    assert states() == ["stored", "stored"]
    assert harness.index.count(IndexFilter(organization_id=org)) == 0

    harness.repository.save_vectors(contract, [late])
    pipeline.index_images([late.image_id], harness.parts)
    assert states() == ["indexed", "updated"]
    assert harness.index.count(IndexFilter(organization_id=org)) == 1


def test_uploads_side_by_side_number_their_files_without_gaps(harness):
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
        places = [item.position for item in catalog.batch_items(batch.id)]
        paged = [item.position for item in catalog.batch_items(batch.id, after=50, limit=5)]
    assert places == list(range(1, 61))
    assert paged == [51, 52, 53, 54, 55]


def test_a_source_is_found_by_name_and_by_id_however_it_is_written(harness):
    org, other = harness.organization(), harness.organization("other")
    with harness.database.write(org) as catalog:
        made = catalog.add_source("walk", "photo")
        named_like_an_id = catalog.add_source("8b2f3a34-9e7e-4a4e-8f43-0a5b6f0f3c11", "photo")
        for one in ("walk", made.id, str(made.id), str(made.id).upper()):
            assert catalog.source(one).id == made.id
        assert catalog.source(named_like_an_id.name).id == named_like_an_id.id
    with harness.database.read(other) as catalog:
        for one in ("walk", made.id, str(made.id)):
            with pytest.raises(NotFoundError):
                catalog.source(one)


def test_who_lost_a_lease_gives_back_nothing_of_its_successor(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    batch = registered(harness, tmp_path / "in", org)
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


def test_an_item_given_up_says_so_on_the_rows_it_had_made(harness, tmp_path):
    """Else they would wait for a vector for ever, and count as images that can be found."""
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    batch = registered(harness, tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        ids = [item.id for item in catalog.batch_items(batch.id)]
    (item,) = harness.repository.claim(ids, "here")
    reading = harness.parts.decoder.read(
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


def test_what_reconcile_removes_can_be_ingested_again(harness, tmp_path):
    """As after a restore from an older backup: the index knows a version PostgreSQL does not."""
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
