"""Pruning removes blobs, audit rows and tombstones that nothing refers to, and nothing else."""

from __future__ import annotations

import os
import time
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from api import example_answers
from leftovers import DAY_S, pruned, swept
from pinpoint import tasks
from pinpoint.errors import NotFoundError
from pinpoint.records import AuditEntry, NewItem
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.deletion.image_deletion import BACKUP_LOCK
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def organization_deletion(harness):
    return OrganizationDeletion(harness.owner)


@pytest.fixture
def org(harness):
    return harness.organization()


def set_blob_age(harness, uri, days=2):
    path = harness.blobs.path(uri)
    os.utime(path, (time.time() - days * DAY_S,) * 2)
    return path


def test_prune_removes_only_orphaned_blobs(harness, organization_deletion, org, tmp_path):
    wanted_uri = harness.blobs.put(org, jpeg(1, 48, 2))
    waiting_uri = harness.blobs.put(org, jpeg(2, 48, 2))
    orphan_uri, young_uri = harness.blobs.put(org, b"orphan"), harness.blobs.put(org, b"young")
    with harness.operator.write(org) as catalog:
        source = catalog.add_source("up", "photo")
        batch = catalog.open_batch(source.id)
        catalog.add_items(batch.id, [NewItem(external_id="a", file="a", uri=wanted_uri)])
    harness.run()
    with harness.operator.write(org) as catalog:
        catalog.add_items(batch.id, [NewItem(external_id="b", file="b", uri=waiting_uri)])
    harness.queue.sent.clear()
    kept = [
        set_blob_age(harness, wanted_uri),
        set_blob_age(harness, waiting_uri),
        harness.blobs.path(young_uri),
    ]
    orphan_path = set_blob_age(harness, orphan_uri)
    partial_path = f"{orphan_path}.part"
    open(partial_path, "wb").close()
    os.utime(partial_path, (time.time() - 2 * DAY_S,) * 2)
    removed = pruned(harness, organization_deletion)
    assert (removed.blobs, removed.partial_files) == (1, 1)
    assert all(os.path.exists(path) for path in kept)
    assert not os.path.exists(orphan_path)
    assert not os.path.exists(partial_path)


def test_prune_during_backup_removes_no_blobs(
    harness, organization_deletion, org, tmp_path, database_url
):
    write_photos(tmp_path / "in", 1)
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    harness.ingest(tmp_path / "in", org)
    orphan_path = set_blob_age(harness, harness.blobs.put(org, b"orphan"))
    deleted_id = harness.index.scroll(None, 1)[0][0]
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as backup:
        backup.execute("SELECT pg_advisory_lock(%s)", (BACKUP_LOCK,))
        assert pruned(harness, organization_deletion).blobs == 0
        with harness.operator.write(org) as catalog:
            catalog.delete_image(deleted_id)
        harness.run()
        assert harness.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    assert os.path.exists(orphan_path)
    assert pruned(harness, organization_deletion).blobs == 1
    assert swept(harness).deletions == 1
    assert [name for name, _ in harness.queue.sent] == [tasks.ERASE_IMAGES]
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert not any(path.is_file() for path in (harness.folder / "blobs").rglob("*"))


def test_prune_removes_expired_audit_rows(harness, organization_deletion, org):
    with harness.database.write(org) as catalog:
        for _ in range(2):
            catalog.log_access(AuditEntry(operation="locate", key_id=None))
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "UPDATE audit_log SET created_at = now() - interval '2 days' "
                "WHERE id = (SELECT id FROM audit_log WHERE operation = 'locate' LIMIT 1)"
            )
        )
    assert pruned(harness, organization_deletion).audit_rows == 1
    count = "SELECT count(*) FROM audit_log WHERE operation = 'locate'"
    assert harness.scalar(count) == 1


def test_kept_query_disappears_when_it_expires_and_is_then_pruned(
    harness, organization_deletion, org
):
    answer = example_answers.answer()
    with harness.database.write(org) as catalog:
        old, young = (catalog.keep_query(answer, retention_days=days) for days in (1, 2))
    assert (young.expires_at - young.created_at).days == 2
    assert (young.point, young.radius_m, young.probability) == (answer.point, 99.0, 0.9)
    layer = "SELECT count(*) FROM layers.queries"
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE kept_queries SET expires_at = now() - interval '1 s' WHERE id = :id"),
            {"id": old.id},
        )
    with harness.as_api.begin(org, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA) as unit:
        row = unit.connection.execute(text("SELECT * FROM layers.queries")).one()
    assert (row.id, row.lat, row.lon, row.bundle) == (young.id, 48.85, 2.35, "descriptor")
    with harness.as_api.begin(
        uuid4(), read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA
    ) as unit:
        assert unit.connection.execute(text(layer)).scalar_one() == 0
    with harness.database.write(org) as catalog:
        assert [kept.id for kept in catalog.kept_queries(limit=9)] == [young.id]
        with pytest.raises(NotFoundError):
            catalog.delete_kept_query(old.id)
        key = (young.created_at, young.id)
        assert catalog.kept_queries(limit=9, before=key) == []
    assert harness.scalar("SELECT count(*) FROM kept_queries") == 2
    assert pruned(harness, organization_deletion).kept_queries == 1
    with harness.database.write(org) as catalog:
        catalog.delete_kept_query(young.id)
    assert harness.scalar("SELECT count(*) FROM kept_queries") == 0


def test_recover_lost_work_rebuilds_index_after_tombstone_removal(harness, org, tmp_path):
    write_photos(tmp_path / "in", 2)
    harness.ingest(tmp_path / "in", org)
    calls = []
    swept(harness, rebuild=lambda: calls.append(1))
    assert calls == []
    with harness.operator.write(org) as catalog:
        catalog.delete_image(harness.index.scroll(None, 1)[0][0])
    harness.run()
    swept(harness, rebuild=lambda: calls.append(1))
    swept(harness, rebuild=lambda: calls.append(1))
    assert calls == [1]
