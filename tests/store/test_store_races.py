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
from stack_fixtures import Rig, jpeg, write_photos


@pytest.fixture
def rig(database_url, api_database_url, tmp_path):
    made = Rig(database_url, api_database_url, tmp_path / "rig")
    yield made
    made.close()


def registered(rig, folder, org, source="photos"):
    """A batch whose files wait for a worker."""
    return register_folder(
        folder,
        source=source,
        kind="photo",
        organization_id=org,
        database=rig.operator,
        settings=rig.settings,
    )


def blocked(rig):
    """Whether somebody waits for a lock; polled until somebody does."""
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(200):
        if rig.scalar(asked):
            return True
        threading.Event().wait(0.02)
    return False


def test_a_correction_does_not_bring_a_deleted_image_back(rig, tmp_path):
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
            late = pool.submit(correct)
            assert blocked(rig)
        with pytest.raises(NotFoundError):
            late.result(10)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert rig.index.count(IndexFilter(organization_id=org)) == 0


def test_nothing_of_an_erased_source_comes_back(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 3)
    batch = registered(rig, tmp_path / "in", org)
    with rig.database.write(org) as catalog:
        source = catalog.source("photos")
        open_one = catalog.open_batch(source.id)
    with rig.database.write(org) as catalog:
        catalog.erase_source(source.id)
    with rig.database.write(org) as catalog:
        assert catalog.batch(batch.id).received == 3
        with pytest.raises(ConflictError):
            catalog.add_items(
                open_one.id, [NewItem(external_id="late", file="late", uri="file:///late")]
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


def test_erasing_waits_for_a_worker_that_keeps_and_takes_its_rows_too(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 2)
    batch = registered(rig, tmp_path / "in", org)
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

    waiting = []

    def originals(item, reading):
        """The first time, somebody erases the source while this worker writes."""
        if not waiting:
            waiting.append(pool.submit(erase))
            assert blocked(rig)
        return Originals(rig.blobs)(item, reading)

    with ThreadPoolExecutor(1) as pool:
        rig.ledger.upsert_images(readings, originals)
        assert waiting[0].result(10) == 2
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0


def test_a_late_vector_settles_nobody_elses_file(rig, tmp_path):
    """Two workers, one id, other bytes: the first one's vector is dropped and settles nothing."""
    org = rig.organization()
    folder = tmp_path / "in"
    write_photos(folder, 1)
    first = registered(rig, folder, org)
    contract = rig.encoder.contract.digest

    def kept(batch, worker):
        with rig.database.read(org) as catalog:
            ids = [item.id for item in catalog.batch_items(batch.id)]
        (item,) = rig.ledger.claim(ids, worker)
        reading = rig.parts.decoder.read(
            item.file, rig.blobs.path(item.uri), item.metadata_override
        )
        (one,) = rig.ledger.upsert_images([(item, reading)], Originals(rig.blobs))
        vector = rig.encoder.encode([reading.faces[0].pixels])[0]
        return Embedded(image_id=one.images[0].id, sha256=reading.capture.sha256, vector=vector)

    def states():
        with rig.database.read(org) as catalog:
            return [catalog.batch_items(one.id)[0].status for one in (first, second)]

    early = kept(first, "one")
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    second = registered(rig, folder, org)
    late = kept(second, "two")

    rig.ledger.save_vectors(contract, [early])
    pipeline.index_images([early.image_id], rig.parts)
    assert states() == ["stored", "stored"]
    assert rig.index.count(IndexFilter(organization_id=org)) == 0

    rig.ledger.save_vectors(contract, [late])
    pipeline.index_images([late.image_id], rig.parts)
    assert states() == ["indexed", "updated"]
    assert rig.index.count(IndexFilter(organization_id=org)) == 1


def test_uploads_side_by_side_number_their_files_without_gaps(rig):
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
        places = [item.position for item in catalog.batch_items(batch.id)]
        paged = [item.position for item in catalog.batch_items(batch.id, after=50, limit=5)]
    assert places == list(range(1, 61))
    assert paged == [51, 52, 53, 54, 55]


def test_a_source_is_found_by_name_and_by_id_however_it_is_written(rig):
    org, other = rig.organization(), rig.organization("other")
    with rig.database.write(org) as catalog:
        made = catalog.add_source("walk", "photo")
        named_like_an_id = catalog.add_source("8b2f3a34-9e7e-4a4e-8f43-0a5b6f0f3c11", "photo")
        for one in ("walk", made.id, str(made.id), str(made.id).upper()):
            assert catalog.source(one).id == made.id
        assert catalog.source(named_like_an_id.name).id == named_like_an_id.id
    with rig.database.read(other) as catalog:
        for one in ("walk", made.id, str(made.id)):
            with pytest.raises(NotFoundError):
                catalog.source(one)


def test_who_lost_a_lease_gives_back_nothing_of_its_successor(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    batch = registered(rig, tmp_path / "in", org)
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


def test_an_item_given_up_says_so_on_the_rows_it_had_made(rig, tmp_path):
    """Else they would wait for a vector for ever, and count as images that can be found."""
    org = rig.organization()
    write_photos(tmp_path / "in", 1)
    batch = registered(rig, tmp_path / "in", org)
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


def test_what_reconcile_removes_can_be_ingested_again(rig, tmp_path):
    """As after a restore from an older backup: the index knows a version PostgreSQL does not."""
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
        repository=rig.ledger,
        index=rig.index,
        queue=rig.queue,
        contract=rig.encoder.contract.digest,
        chunk=64,
    )
    assert (drift.extra, drift.repaired) == (1, 1)
    assert rig.index.count(IndexFilter(organization_id=org)) == 0
    assert rig.ingest(tmp_path / "in", org).indexed == 1
    assert rig.index.scroll(None, 10) == [(image, 1, True)]
