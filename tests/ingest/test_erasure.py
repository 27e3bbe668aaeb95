"""Erasing removes every row, index point and byte."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from leftovers import found_in_folder, found_in_tables, pruned, swept
from media.pictures import exif, noise, saved, xmp
from pinpoint.errors import NotFoundError
from pinpoint.ingest.erase import erase_organization
from pinpoint.records import IndexFilter
from pinpoint.stack.backup.compaction import compact_tables
from pinpoint.stack.index.build import build_index
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource
from stack_fixtures import write_photos


@pytest.fixture
def organization_deletion(rig):
    return OrganizationDeletion(rig.owner)


@pytest.fixture
def org(rig):
    return rig.organization()


def create_organization_with_photos(rig, tmp_path, name, seed):
    """An organization with copied originals, a rejected file, an audit row and a key."""
    org = rig.organization(name)
    rig.access.create_key(name, "phone", ["locate"])
    folder = tmp_path / f"in-{name}"
    write_photos(folder, 4, first=seed, lat=48 + seed / 1000)
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"{name}-secret-{path.name}")
    (folder / f"{name}-secret-bad.jpg").write_bytes(b"no picture")
    with rig.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy", license=f"{name}-secret-license")
    rig.ingest(folder, org)
    with rig.database.write(org) as catalog:
        photo = hashlib.sha256(name.encode()).hexdigest()
        catalog.log_query(
            "locate", key_id=None, photo_sha256=photo, bundle="descriptor", index_build=None
        )
    return org, folder


def personal_bytes_of(rig, org, name, folder):
    """All byte strings that must be erased: names, digests as text and as bytes, pictures."""
    digests = [hashlib.sha256(path.read_bytes()) for path in sorted(folder.iterdir())[1:]]
    digests.append(hashlib.sha256(name.encode()))
    stored = [
        rig.scalar(
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


def erase(rig, organization_deletion, org):
    return erase_organization(
        org,
        closing=organization_deletion,
        ledger=rig.ledger,
        index=rig.index,
        blobs=rig.blobs,
        say=lambda _: None,
    )


def test_organization_deletion_leaves_no_bytes(
    rig, organization_deletion, tmp_path, server_paths, database_url
):
    deleted_org, folder = create_organization_with_photos(rig, tmp_path, "acme", 0)
    other_org, _ = create_organization_with_photos(rig, tmp_path, "other", 500)
    personal_bytes = personal_bytes_of(rig, deleted_org, "acme", folder)
    rig.index.flush()
    assert len(found_in_tables(rig, personal_bytes)) > 10
    assert found_in_folder(
        rig.folder / "blobs" / str(deleted_org),
        [folder.joinpath("acme-secret-0000.jpg").read_bytes()],
    )
    before = rig.index.count()

    assert erase(rig, organization_deletion, deleted_org) == 4
    assert found_in_tables(rig, personal_bytes) == []
    assert not (rig.folder / "blobs" / str(deleted_org)).exists()
    assert rig.index.count(IndexFilter(organization_id=deleted_org)) == 0
    assert (
        rig.index.count() == before - 4 == rig.index.count(IndexFilter(organization_id=other_org))
    )
    with pytest.raises(NotFoundError):
        rig.access.organization("acme")
    assert rig.organization("acme") != deleted_org  # the name can be used again

    build_folder = rig.folder / "next"
    build_index(
        build_folder, RebuildSource(rig.owner, lambda: rig.encoder.contract), lambda *_: None
    )
    assert EdgeIndex(build_folder).count() == 4
    assert str(deleted_org).encode() not in b"".join(
        path.read_bytes() for path in build_folder.rglob("*") if path.is_file()
    )
    # The files of the tables, of their statistics and of the log have none of the bytes.
    oid = str(rig.scalar("SELECT oid FROM pg_database WHERE datname = current_database()"))
    rig.owner.close()
    rig.as_api.close()
    compact_tables(server_paths.superuser_url(urlsplit(database_url).path.strip("/")), private=True)
    assert found_in_folder(server_paths.pgdata / "base" / oid, personal_bytes) == []
    assert found_in_folder(server_paths.pgdata / "pg_wal", personal_bytes) == []


def test_prune_removes_organization_after_last_tombstone(rig, organization_deletion, tmp_path):
    org, _ = create_organization_with_photos(rig, tmp_path, "acme", 0)
    erase(rig, organization_deletion, org)
    assert organization_deletion.deleted_organizations() == [org]
    assert pruned(rig, organization_deletion).organizations == 0
    swept(rig)
    assert pruned(rig, organization_deletion).organizations == 1
    assert organization_deletion.deleted_organizations() == []
    for table in ("tombstones", "sources", "batches", "batch_items", "audit_log"):
        assert rig.scalar(f"SELECT count(*) FROM {table}") == 0


def test_organization_deletion_with_last_keys_keeps_authentication_required(
    rig, organization_deletion, tmp_path
):
    org, _ = create_organization_with_photos(rig, tmp_path, "acme", 0)
    erase(rig, organization_deletion, org)
    assert rig.access.any_keys()
    default = rig.access.organization("default")
    erase(rig, organization_deletion, default.id)
    assert rig.access.organization("default").id != default.id
    assert rig.access.any_keys()


def test_organization_deletion_removes_late_writes(rig, organization_deletion, org, tmp_path):
    write_photos(tmp_path / "in", 2)
    rig.ingest(tmp_path / "in", org)
    erase(rig, organization_deletion, org)
    with rig.owner.begin() as unit:  # a request that was admitted before
        unit.connection.execute(
            text(
                "INSERT INTO audit_log (id, organization_id, operation, bundle) "
                "VALUES (gen_random_uuid(), :org, 'locate', 'x')"
            ),
            {"org": org},
        )
    rig.blobs.put(org, b"late")
    pruned(rig, organization_deletion)
    assert rig.scalar("SELECT count(*) FROM audit_log") == 0
    assert not (rig.folder / "blobs" / str(org)).exists()


def test_organization_deletion_interrupted_can_be_repeated(
    rig, organization_deletion, org, tmp_path, monkeypatch
):
    write_photos(tmp_path / "in", 3)
    rig.ingest(tmp_path / "in", org)

    def interrupt(_versions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rig.index, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            erase(rig, organization_deletion, org)
    assert rig.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 3
    assert organization_deletion.find(str(org)) == org
    erase(rig, organization_deletion, org)
    assert rig.scalar("SELECT count(*) FROM images") == 0
    assert rig.index.count() == 0


def test_image_deletion_keeps_batch_counts_and_removes_names(rig, org, tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 3)
    (folder / "twin.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    batch = rig.ingest(folder, org)
    rig.ingest(folder, org)
    image_id = rig.scalar("SELECT id FROM images WHERE external_id = 'in/0001.jpg'")
    with rig.operator.write(org) as catalog:
        catalog.delete_image(image_id)
    rig.run()
    digest = hashlib.sha256((folder / "0001.jpg").read_bytes()).digest()
    assert found_in_tables(rig, [b"0001.jpg", digest, str(image_id).encode()]) == [
        str(image_id).encode()  # its tombstone, until no old writer can be alive
    ]
    swept(rig)
    assert found_in_tables(rig, [str(image_id).encode()]) == []
    with rig.operator.read(org) as catalog:
        batch_after = catalog.batch(batch.id)
    assert (batch_after.items, batch_after.indexed, batch_after.duplicate) == (4, 3, 1)
    assert found_in_tables(rig, [b"0002.jpg", b"twin.jpg"]) == [b"0002.jpg", b"twin.jpg"]


def test_image_deletion_of_one_face_keeps_file_name(rig, org, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    packet = xmp(GPano__ProjectionType="equirectangular")
    gps = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}
    (folder / "pano.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    rig.ingest(folder, org, kind="street")
    ids = [row[0] for row in rig.index.scroll(None, 10)]
    assert len(ids) == 4
    for last in (False, True):
        for image_id in ids[3:] if last else ids[:3]:
            with rig.operator.write(org) as catalog:
                catalog.delete_image(image_id)
        rig.run()
        assert bool(found_in_tables(rig, [b"pano.jpg"])) is not last


def test_source_deletion_leaves_no_rows_after_recovery(rig, org, tmp_path):
    write_photos(tmp_path / "in", 3)
    rig.ingest(tmp_path / "in", org)
    with rig.operator.write(org) as catalog:
        catalog.erase_source(catalog.source("photos").id)
    rig.run()
    swept(rig)
    for table in ("sources", "images", "batches", "batch_items", "thumbnails", "tombstones"):
        assert rig.scalar(f"SELECT count(*) FROM {table}") == 0
    assert rig.index.scroll(None, 10) == []
