"""A poisoned row fails alone: other rows of its chunk and other organizations are processed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from ingest.poisoned_values import CJK, COLUMNS, METADATA_OVERRIDES
from pinpoint import tasks
from pinpoint.errors import BadRequestError, DatabaseUnavailableError
from pinpoint.ingest import pipeline
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.records import NewItem
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from pinpoint.store.vectors.rebuild_source import RebuildSource
from registration import register_folder
from stack_fixtures import WORKER, jpeg, plain_jpeg, write_photos

GOOD = 4


@pytest.fixture(autouse=True)
def _quiet():
    """Rendering tracebacks with local variables would take seconds."""
    with structlog.testing.capture_logs():
        yield


def register(harness, folder, org):
    return register_folder(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )


def register_two_organizations(harness, tmp_path, poisoned=1):
    """Two organizations with a batch each; one task has all items, as after a recovery."""
    batches = {}
    for number, name in enumerate(("poisoned", "innocent")):
        many = GOOD + (poisoned if name == "poisoned" else 0)
        write_photos(tmp_path / name, many, first=100 * number)
        org = harness.organization(name)
        batches[name] = (org, register(harness, tmp_path / name, org))
    ids = [item_id for _, item_ids in harness.queue.sent for item_id in item_ids]
    harness.queue.sent[:] = [(tasks.INGEST_ITEMS, ids)]
    return batches


@pytest.fixture
def batches(harness, tmp_path):
    return register_two_organizations(harness, tmp_path)


def execute_sql(harness, statement, **values):
    with harness.owner.begin() as unit:
        return unit.connection.execute(text(statement), values)


def write_item_columns(harness, batches, number=0, **columns):
    """Write values into one item that no entry point accepts; returns its id."""
    with harness.owner.begin() as unit:
        item = unit.connection.execute(
            text(
                "SELECT id FROM batch_items WHERE batch_id = :batch"
                " ORDER BY ingest_seq LIMIT 1 OFFSET :number"
            ),
            {"batch": batches["poisoned"][1].id, "number": number},
        ).scalar_one()
        for column, value in columns.items():
            kind = "jsonb" if column == "metadata_override" else "text"
            unit.connection.execute(
                text(f"UPDATE batch_items SET {column} = CAST(:value AS {kind}) WHERE id = :id"),
                {"value": value, "id": item},
            )
    return item


def refuse_row_in_table(harness, table, event, column, value, code="XX000"):
    """Make the database refuse one row of a table, as a bug or a full page would."""
    which = "OLD" if event == "DELETE" else "NEW"
    execute_sql(
        harness,
        f"CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {which}.{column}::text = '{value}' THEN "
        f"RAISE EXCEPTION 'poisoned' USING ERRCODE = '{code}'; END IF; RETURN {which}; END $$",
    )
    execute_sql(
        harness,
        f"CREATE TRIGGER poison BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION poison()",
    )


def recover(harness):
    return recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=3_600,
        is_alive=lambda _worker: True,
    )


def batch_of(harness, batches, name):
    org, batch = batches[name]
    with harness.database.read(org) as catalog:
        return catalog.batch(batch.id)


def item_of(harness, batches, item_id):
    org, batch = batches["poisoned"]
    with harness.database.read(org) as catalog:
        return next(item for item in catalog.batch_items(batch.id) if item.id == item_id)


def test_claim_with_poisoned_rows_ends_only_those(harness, tmp_path):
    """Every kind of poison in one chunk with items of two organizations."""
    kinds = [("metadata_override", *case) for case in METADATA_OVERRIDES.values()] + COLUMNS
    batches = register_two_organizations(harness, tmp_path, poisoned=len(kinds))
    items = [
        write_item_columns(harness, batches, number, **{column: value})
        for number, (column, value, _) in enumerate(kinds)
    ]
    harness.run()
    assert batch_of(harness, batches, "innocent").indexed == GOOD
    assert batch_of(harness, batches, "poisoned").indexed == GOOD
    for _ in range(3):  # an unexpected error is retried with a chunk of one item
        recover(harness)
        harness.run()
    names = [
        *METADATA_OVERRIDES,
        *(f"{column} {number}" for number, (column, _, _) in enumerate(COLUMNS)),
    ]
    for name, item_id, (_, _, reason) in zip(names, items, kinds, strict=True):
        item = item_of(harness, batches, item_id)
        unforeseen = reason == "internal_error"
        assert (item.status, item.error_code, item.attempts) == (
            "failed" if unforeseen else "rejected",
            reason,
            3 if unforeseen else 1,
        ), name
        assert item.error_message, name
    assert batch_of(harness, batches, "poisoned").is_processed


def test_upsert_unexpected_error_counts_attempts_and_fails_item(harness, batches):
    item_id = write_item_columns(harness, batches, external_id="poison")
    refuse_row_in_table(harness, "images", "INSERT", "external_id", "poison")
    harness.run()
    assert batch_of(harness, batches, "innocent").indexed == GOOD
    assert batch_of(harness, batches, "poisoned").indexed == GOOD
    item = item_of(harness, batches, item_id)
    assert (item.status, item.error_code, item.attempts) == ("received", "internal_error", 1)
    assert "poisoned" not in (item.error_message or "")
    for tries in (2, 3, 3):
        assert recover(harness).items == 1
        harness.run()
        assert item_of(harness, batches, item_id).attempts == tries
    item = item_of(harness, batches, item_id)
    assert (item.status, item.error_code) == ("failed", "internal_error")
    assert recover(harness).items == 0
    execute_sql(harness, "DROP TRIGGER poison ON images")
    org, batch = batches["poisoned"]
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 1
    harness.run()
    item = item_of(harness, batches, item_id)
    assert (item.status, item.error_code, item.error_message) == ("indexed", None, None)


def test_upsert_value_refused_by_database_rejects_only_that_item(harness, batches):
    item_id = write_item_columns(harness, batches, external_id="poison")
    refuse_row_in_table(harness, "images", "INSERT", "external_id", "poison", code="54000")
    harness.run()
    item = item_of(harness, batches, item_id)
    assert (item.status, item.error_stage, item.error_code) == ("rejected", "store", "not_storable")
    assert batch_of(harness, batches, "innocent").indexed == GOOD
    assert batch_of(harness, batches, "poisoned").indexed == GOOD


def test_upsert_on_full_disk_raises_unavailable_and_counts_no_attempt(harness, batches):
    item_id = write_item_columns(harness, batches, external_id="poison")
    refuse_row_in_table(harness, "images", "INSERT", "external_id", "poison", code="53100")
    (_, ids) = harness.queue.sent.pop()
    with pytest.raises(DatabaseUnavailableError):
        pipeline.ingest_items(ids, WORKER, harness.components)
    assert item_of(harness, batches, item_id).attempts == 0
    assert harness.repository.active_workers() == []


def test_index_unreadable_vector_fails_only_that_image(harness, batches):
    (_, ids) = harness.queue.sent.pop()
    item_id = write_item_columns(harness, batches, external_id="poison")
    execute_sql(
        harness,
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF EXISTS (SELECT FROM images WHERE id = NEW.image_id AND external_id = 'poison') "
        "THEN NEW.vector := '\\x010203'; END IF; RETURN NEW; END $$",
    )
    execute_sql(
        harness,
        "CREATE TRIGGER spoil BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    pipeline.ingest_items(ids, WORKER, harness.components)
    item = item_of(harness, batches, item_id)
    assert (item.status, item.error_stage, item.error_code) == ("failed", "index", "not_indexed")
    assert batch_of(harness, batches, "innocent").indexed == GOOD
    assert batch_of(harness, batches, "poisoned").indexed == GOOD
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'failed'") == 1
    assert recover(harness).images == 0


def test_rebuild_source_unreadable_vector_omits_that_image(harness, batches):
    harness.run()
    with harness.owner.begin() as unit:
        poisoned = unit.connection.execute(text("SELECT min(id::text) FROM images")).scalar_one()
    execute_sql(
        harness, "UPDATE embeddings SET vector = '\\x01' WHERE image_id::text = :id", id=poisoned
    )
    source = RebuildSource(harness.owner, lambda: harness.encoder.contract)
    points = [point for page in source.stream() for point in page]
    assert len(points) == 2 * GOOD
    assert poisoned not in {str(point.id) for point in points}


def test_erase_images_undeletable_row_removes_the_others(harness, batches):
    harness.run()
    with harness.owner.begin() as unit:
        poisoned = unit.connection.execute(text("SELECT min(id::text) FROM images")).scalar_one()
    refuse_row_in_table(harness, "images", "DELETE", "id", poisoned)
    deleted_ids = []
    for org, _ in batches.values():
        with harness.database.write(org) as catalog:
            for source in catalog.sources():
                catalog.erase_source(source.id)
    for _, ids in harness.queue.sent:
        deleted_ids += ids
    with pytest.raises(Exception, match="poisoned"):
        pipeline.erase_images(deleted_ids, harness.components)
    assert harness.scalar("SELECT count(*) FROM images") == 1
    assert harness.index.count() == 0


def test_reconcile_version_beyond_column_repairs_the_others(harness, batches):
    harness.run()
    (first, second, *_) = [row[0] for row in harness.index.scroll(None, 100)]
    by_id = {point.id: point for point in harness.index.fetch([first, second], vectors=True)}
    harness.index.upsert([replace(by_id[first], version=2**40), replace(by_id[second], version=7)])

    def compare():
        return reconcile_index_rows(
            repository=harness.repository,
            index=harness.index,
            queue=harness.queue,
            contract=harness.encoder.contract.digest,
            chunk=64,
        )

    with pytest.raises(BadRequestError):
        compare()
    harness.run()
    versions = {image_id: version for image_id, version, _ in harness.index.scroll(None, 100)}
    assert versions[second] == 8
    assert versions[first] == 2**40


def test_reembed_images_unwritable_row_embeds_the_others(harness, batches):
    harness.run()
    with harness.owner.begin() as unit:
        poisoned = unit.connection.execute(text("SELECT min(id::text) FROM images")).scalar_one()
        unit.connection.execute(text("DELETE FROM embeddings"))
        ids = list(unit.connection.execute(text("SELECT id FROM images")).scalars())
    refuse_row_in_table(harness, "embeddings", "INSERT", "image_id", poisoned)
    done = pipeline.reembed_images(ids, harness.components, CatalogReembedQueue(harness.owner))
    assert done.done == 2 * GOOD
    assert {
        str(image_id): rejection.error_code for image_id, rejection in done.unreachable.items()
    } == {poisoned: "internal_error"}


def test_retry_batch_queues_failed_items_once(harness, batches):
    org, batch = batches["poisoned"]
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 0
    harness.queue.sent.clear()
    with harness.owner.begin() as unit:
        item_ids = list(
            unit.connection.execute(
                text("SELECT id FROM batch_items WHERE batch_id = :id ORDER BY ingest_seq"),
                {"id": batch.id},
            ).scalars()
        )
    harness.repository.claim(item_ids[1:], WORKER)
    execute_sql(harness, "UPDATE batch_items SET status = 'failed' WHERE id = :id", id=item_ids[0])
    counts = []
    for _ in range(40):
        with harness.database.write(org) as catalog:
            counts.append(catalog.retry_batch(batch.id))
    assert counts == [1] + [0] * 39
    assert harness.queue.sent == [(tasks.INGEST_ITEMS, [item_ids[0]])]
    assert harness.repository.active_workers() == [WORKER]


def test_register_unstorable_values_rejects_those_rows(harness, tmp_path):
    org = harness.organization()
    for seed in range(4):
        (tmp_path / f"{seed}.jpg").write_bytes(plain_jpeg(seed))
    rows = ["file,latitude,longitude,creator,id", "0.jpg,10,20,Ann,", f"1.jpg,11,21,{CJK},"]
    rows += [f"2.jpg,12,22,,{CJK}", f"3.jpg,13,23,{'é' * 900},"]
    (tmp_path / "m.csv").write_text("\n".join(rows), encoding="utf-8")
    batch = harness.ingest(tmp_path / "m.csv", org)
    assert (batch.is_processed, batch.indexed, batch.rejected) == (True, 2, 2)
    with harness.database.read(org) as catalog:
        error_codes = {item.file: item.error_code for item in catalog.batch_items(batch.id)}
    assert error_codes["1.jpg"] == error_codes["2.jpg"] == "text_too_long"


def test_register_long_paths_keeps_ids_within_limit(harness, tmp_path):
    """A URI writes each byte as three, so it is far longer than an entry of a b-tree."""
    org = harness.organization()
    fits = tmp_path / "in" / "/".join([CJK[:70]] * 5)
    too_long = tmp_path / "in" / "/".join([CJK[:75]] * 10)
    for seed, folder in enumerate((fits, too_long)):
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(jpeg(seed, 1.0 + seed, 2.0))
    batch = harness.ingest(tmp_path / "in", org)
    assert (batch.is_processed, batch.indexed, batch.rejected) == (True, 1, 1)
    assert harness.scalar("SELECT max(octet_length(uri)) FROM images") > 2_704
    with harness.database.read(org) as catalog:
        (item,) = catalog.batch_items(batch.id, status="rejected")
    assert item.error_code == "text_too_long"


def test_names_over_limit_raise_with_length(harness):
    org = harness.organization()
    with (
        harness.database.write(org) as catalog,
        pytest.raises(BadRequestError, match="at most 100"),
    ):
        catalog.add_source(CJK, "photo")
    with pytest.raises(BadRequestError, match="at most 100"):
        harness.api_keys.create_organization(CJK)


STATEMENTS = [
    ("SELECT 1 / 0", BadRequestError),
    ("SELECT '0001-01-01'::timestamptz - interval '9000 years'", BadRequestError),
    ("SELECT repeat('x', 10)::int", BadRequestError),
    ("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(1)", DatabaseUnavailableError),
    ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53300'; END $$", DatabaseUnavailableError),
    ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P01'; END $$", DatabaseUnavailableError),
    ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '54000'; END $$", BadRequestError),
    ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '23505'; END $$", IntegrityError),
    ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'XX000'; END $$", DBAPIError),
    ("SELECT * FROM no_such_table", ProgrammingError),
]


def test_database_errors_are_unavailable_only_for_server_faults(harness):
    for statement, kind in STATEMENTS:
        with pytest.raises(kind) as caught, harness.owner.begin() as unit:
            unit.connection.exec_driver_sql(statement)
        assert isinstance(caught.value, DatabaseUnavailableError) == (
            kind is DatabaseUnavailableError
        )


def test_add_items_invalid_unicode_raises_bad_request(harness):
    org = harness.organization()
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo")
        batch = catalog.open_batch(catalog.source("photos").id)
    for value in ("a\x00b", "a\ud800b"):
        item = NewItem(external_id=value, file="f", uri="file:///f")
        with pytest.raises(BadRequestError) as caught, harness.operator.write(org) as catalog:
            catalog.add_items(batch.id, [item])
        assert caught.value.reason == "not_storable"


def test_update_text_over_index_page_raises_bad_request(harness, batches):
    """The database refuses the value even without an earlier check."""
    harness.run()
    with pytest.raises(BadRequestError) as caught:
        execute_sql(harness, "UPDATE images SET creator = :creator", creator=CJK)
    assert caught.value.reason == "not_storable"
