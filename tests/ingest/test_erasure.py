"""Erasing removes every row, index point and byte."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from api import example_answers
from leftovers import found_in_folder, found_in_tables, pruned, swept
from media.pictures import exif, noise, saved, xmp
from pinpoint.errors import NotFoundError
from pinpoint.ingest.erase import erase_organization
from pinpoint.records import AuditEntry, IndexFilter, KeyGrant
from pinpoint.stack.backup.compaction import compact_tables
from pinpoint.stack.index.build import build_index
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource
from stack_fixtures import write_photos


@pytest.fixture
def organization_deletion(harness):
    return OrganizationDeletion(harness.owner)


@pytest.fixture
def org(harness):
    return harness.organization()


def create_organization_with_photos(harness, tmp_path, name, seed):
    """An organization with copied originals, a rejected file, an audit row and a key."""
    org = harness.organization(name)
    harness.api_keys.create_key(name, "phone", KeyGrant(scopes=("locate",)))
    folder = tmp_path / f"in-{name}"
    write_photos(folder, 4, first=seed, lat=48 + seed / 1000)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"{name}-secret-{path.name}")
    (folder / f"{name}-secret-bad.jpg").write_bytes(b"no picture")
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy", license=f"{name}-secret-license")
    harness.ingest(folder, org)
    with harness.database.write(org) as catalog:
        photo = hashlib.sha256(name.encode()).hexdigest()
        catalog.log_access(
            AuditEntry(operation="locate", key_id=None, photo_sha256=photo, bundle="descriptor")
        )
    return org, folder


def personal_bytes_of(harness, org, name, folder):
    """All byte strings that must be erased: names, digests as text and as bytes, pictures."""
    digests = [hashlib.sha256(path.read_bytes()) for path in sorted(folder.iterdir())[1:]]
    digests.append(hashlib.sha256(name.encode()))
    stored = [
        harness.scalar(
            f"SELECT string_agg(encode({column}, 'hex'), ' ') FROM {table} "
            f"WHERE organization_id = '{org}'"
        ).split()
        for table, column in (("thumbnails", "jpeg"), ("embeddings", "vector"))
    ]
    return [
        f"{name}-secret".encode(),
        *(digest.digest() for digest in digests),
        *(digest.hexdigest().encode() for digest in digests),
        # From the middle: pictures of one format start with the same bytes.
        *(bytes.fromhex(digits)[len(digits) // 4 :][:60] for values in stored for digits in values),
    ]


def erase(harness, organization_deletion, org):
    return erase_organization(
        org,
        tenant_deletion=organization_deletion,
        repository=harness.repository,
        index=harness.index,
        blobs=harness.blobs,
        features=harness.features,
        on_message=lambda _: None,
    )


def test_organization_deletion_leaves_no_bytes(
    harness, organization_deletion, tmp_path, server_paths, database_url
):
    deleted_org, folder = create_organization_with_photos(harness, tmp_path, "acme", 0)
    other_org, _ = create_organization_with_photos(harness, tmp_path, "other", 500)
    personal_bytes = personal_bytes_of(harness, deleted_org, "acme", folder)
    harness.index.flush()
    assert len(found_in_tables(harness, personal_bytes)) > 10
    assert found_in_folder(
        harness.folder / "blobs" / str(deleted_org),
        [folder.joinpath("acme-secret-0000.jpg").read_bytes()],
    )
    before = harness.index.count()

    assert erase(harness, organization_deletion, deleted_org) == 4
    assert found_in_tables(harness, personal_bytes) == []
    assert not (harness.folder / "blobs" / str(deleted_org)).exists()
    assert harness.index.count(IndexFilter(organization_id=deleted_org)) == 0
    assert (
        harness.index.count()
        == before - 4
        == harness.index.count(IndexFilter(organization_id=other_org))
    )
    with pytest.raises(NotFoundError):
        harness.api_keys.organization("acme")
    assert harness.organization("acme") != deleted_org  # the name can be used again

    build_folder = harness.folder / "next"
    build_index(
        build_folder,
        RebuildSource(harness.owner, lambda: harness.encoder.contract),
        lambda *_: None,
    )
    assert EdgeIndex(build_folder).count() == 4
    assert str(deleted_org).encode() not in b"".join(
        path.read_bytes() for path in build_folder.rglob("*") if path.is_file()
    )
    # The files of the tables, of their statistics and of the log have none of the bytes.
    oid = str(harness.scalar("SELECT oid FROM pg_database WHERE datname = current_database()"))
    harness.owner.close()
    harness.as_api.close()
    compact_tables(server_paths.superuser_url(urlsplit(database_url).path.strip("/")), private=True)
    assert found_in_folder(server_paths.pgdata / "base" / oid, personal_bytes) == []
    assert found_in_folder(server_paths.pgdata / "pg_wal", personal_bytes) == []


def test_prune_removes_organization_after_last_tombstone(harness, organization_deletion, tmp_path):
    org, _ = create_organization_with_photos(harness, tmp_path, "acme", 0)
    with harness.database.write(org) as catalog:
        catalog.keep_query(example_answers.answer(), retention_days=1)
    erase(harness, organization_deletion, org)
    assert organization_deletion.deleted_organizations() == [org]
    assert pruned(harness, organization_deletion).organizations == 0
    swept(harness)
    assert pruned(harness, organization_deletion).organizations == 1
    assert organization_deletion.deleted_organizations() == []
    for table in ("tombstones", "sources", "batches", "batch_items", "audit_log", "kept_queries"):
        assert harness.scalar(f"SELECT count(*) FROM {table}") == 0


def test_organization_deletion_with_last_keys_keeps_authentication_required(
    harness, organization_deletion, tmp_path
):
    org, _ = create_organization_with_photos(harness, tmp_path, "acme", 0)
    erase(harness, organization_deletion, org)
    assert harness.api_keys.any_keys()
    default = harness.api_keys.organization("default")
    erase(harness, organization_deletion, default.id)
    assert harness.api_keys.organization("default").id != default.id
    assert harness.api_keys.any_keys()


def test_organization_deletion_removes_late_writes(harness, organization_deletion, org, tmp_path):
    write_photos(tmp_path / "in", 2)
    harness.ingest(tmp_path / "in", org)
    erase(harness, organization_deletion, org)
    with harness.owner.begin() as unit:  # a request that was admitted before
        unit.connection.execute(
            text(
                "INSERT INTO audit_log (id, organization_id, operation, status) "
                "VALUES (gen_random_uuid(), :org, 'locate', 'succeeded')"
            ),
            {"org": org},
        )
    harness.blobs.put(org, b"late")
    pruned(harness, organization_deletion)
    assert harness.scalar("SELECT count(*) FROM audit_log") == 0
    assert not (harness.folder / "blobs" / str(org)).exists()


def test_organization_deletion_interrupted_can_be_repeated(
    harness, organization_deletion, org, tmp_path, monkeypatch
):
    write_photos(tmp_path / "in", 3)
    harness.ingest(tmp_path / "in", org)

    def interrupt(_versions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(harness.index, "write_tombstones", interrupt)
        with pytest.raises(KeyboardInterrupt):
            erase(harness, organization_deletion, org)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 3
    assert organization_deletion.find(str(org)) == org
    erase(harness, organization_deletion, org)
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.index.count() == 0


def test_image_deletion_keeps_batch_counts_and_removes_names(harness, org, tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 3)
    (folder / "twin.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    batch = harness.ingest(folder, org)
    harness.ingest(folder, org)
    image_id = harness.scalar("SELECT id FROM images WHERE external_id = 'in/0001.jpg'")
    with harness.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    harness.run()
    digest = hashlib.sha256((folder / "0001.jpg").read_bytes()).digest()
    assert found_in_tables(harness, [b"0001.jpg", digest, str(image_id).encode()]) == [
        str(image_id).encode()  # its tombstone, until no old writer can be alive
    ]
    swept(harness)
    assert found_in_tables(harness, [str(image_id).encode()]) == []
    with harness.operator.read(org) as catalog:
        batch_after = catalog.batch(batch.id)
    assert (batch_after.items, batch_after.indexed, batch_after.duplicate) == (4, 3, 1)
    assert found_in_tables(harness, [b"0002.jpg", b"twin.jpg"]) == [b"0002.jpg", b"twin.jpg"]


def test_image_deletion_of_one_face_keeps_file_name(harness, org, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    packet = xmp(GPano__ProjectionType="equirectangular")
    gps = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}
    (folder / "pano.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    harness.ingest(folder, org, kind="street")
    ids = [row[0] for row in harness.index.scroll(None, 10)]
    assert len(ids) == 4
    for last in (False, True):
        for image_id in ids[3:] if last else ids[:3]:
            with harness.operator.write(org) as catalog:
                catalog.delete_image(image_id)
        harness.run()
        assert bool(found_in_tables(harness, [b"pano.jpg"])) is not last


def test_source_deletion_leaves_no_rows_after_recovery(harness, org, tmp_path):
    write_photos(tmp_path / "in", 3)
    harness.ingest(tmp_path / "in", org)
    with harness.operator.write(org) as catalog:
        catalog.erase_source(catalog.source("photos").id)
    harness.run()
    swept(harness)
    for table in ("sources", "images", "batches", "batch_items", "thumbnails", "tombstones"):
        assert harness.scalar(f"SELECT count(*) FROM {table}") == 0
    assert harness.index.scroll(None, 10) == []
