"""What nobody needs goes, what somebody needs stays, whoever looks at it meanwhile."""

from __future__ import annotations

import os
import time

import psycopg
import pytest
from sqlalchemy import text

from leftovers import DAY_S, pruned, swept
from pinpoint import jobs
from pinpoint.records import NewItem
from pinpoint.store.deletion.image_deletion import BACKUP_LOCK
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def tenant_deletion(rig):
    return OrganizationDeletion(rig.owner)


@pytest.fixture
def org(rig):
    return rig.organization()


def aged(rig, uri, days=2):
    path = rig.blobs.path(uri)
    os.utime(path, (time.time() - days * DAY_S,) * 2)
    return path


def test_orphans_go_and_wanted_blobs_stay(rig, tenant_deletion, org, tmp_path):
    wanted = rig.blobs.put(org, jpeg(1, 48, 2))
    waiting = rig.blobs.put(org, jpeg(2, 48, 2))
    orphan, young = rig.blobs.put(org, b"orphan"), rig.blobs.put(org, b"young")
    with rig.operator.write(org) as catalog:
        source = catalog.add_source("up", "photo")
        batch = catalog.open_batch(source.id)
        catalog.add_items(batch.id, [NewItem(external_id="a", file="a", uri=wanted)])
    rig.run()
    with rig.operator.write(org) as catalog:
        catalog.add_items(batch.id, [NewItem(external_id="b", file="b", uri=waiting)])
    rig.queue.sent.clear()
    kept = [aged(rig, wanted), aged(rig, waiting), rig.blobs.path(young)]
    lost = aged(rig, orphan)
    half = f"{lost}.part"
    open(half, "wb").close()
    os.utime(half, (time.time() - 2 * DAY_S,) * 2)
    found = pruned(rig, tenant_deletion)
    assert (found.blobs, found.partial_files) == (1, 1)
    assert all(os.path.exists(path) for path in kept)
    assert not os.path.exists(lost)
    assert not os.path.exists(half)


def test_no_blob_goes_while_a_backup_runs(rig, tenant_deletion, org, tmp_path, database_url):
    write_photos(tmp_path / "in", 1)
    with rig.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    rig.ingest(tmp_path / "in", org)
    orphan = aged(rig, rig.blobs.put(org, b"orphan"))
    victim = rig.index.scroll(None, 1)[0][0]
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as backup:
        backup.execute("SELECT pg_advisory_lock(%s)", (BACKUP_LOCK,))
        assert pruned(rig, tenant_deletion).blobs == 0
        with rig.operator.write(org) as catalog:
            catalog.delete_image(victim)
        rig.run()
        assert rig.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 1
    assert os.path.exists(orphan)
    assert pruned(rig, tenant_deletion).blobs == 1
    assert swept(rig).deletions == 1
    assert [name for name, _ in rig.queue.sent] == [jobs.ERASE_IMAGES]
    rig.run()
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert not any(path.is_file() for path in (rig.folder / "blobs").rglob("*"))


def test_the_audit_forgets(rig, tenant_deletion, org):
    with rig.database.write(org) as catalog:
        for _ in range(2):
            catalog.log_query(
                "locate", key_id=None, photo_sha256="00" * 32, bundle="descriptor", index_build=None
            )
    with rig.owner.begin() as unit:
        unit.connection.execute(
            text(
                "UPDATE audit_log SET created_at = now() - interval '2 days' "
                "WHERE id = (SELECT id FROM audit_log LIMIT 1)"
            )
        )
    assert pruned(rig, tenant_deletion).audit_rows == 1
    assert rig.scalar("SELECT count(*) FROM audit_log") == 1


def test_the_sweep_has_the_index_made_anew_when_it_forgets(rig, org, tmp_path):
    write_photos(tmp_path / "in", 2)
    rig.ingest(tmp_path / "in", org)
    calls = []
    swept(rig, rebuild=lambda: calls.append(1))
    assert calls == []
    with rig.operator.write(org) as catalog:
        catalog.delete_image(rig.index.scroll(None, 1)[0][0])
    rig.run()
    swept(rig, rebuild=lambda: calls.append(1))
    swept(rig, rebuild=lambda: calls.append(1))
    assert calls == [1]
