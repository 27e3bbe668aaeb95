"""What is erased leaves nothing: no row, no index point, no byte."""

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
def tenant_deletion(harness):
    return OrganizationDeletion(harness.owner)


@pytest.fixture
def org(harness):
    return harness.organization()


def filled(harness, tmp_path, name, seed):
    """An organization with copied originals, a rejected file, an audit row and a key."""
    org = harness.organization(name)
    harness.api_keys.create_key(name, "phone", ["locate"])
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
        catalog.log_query(
            "locate", key_id=None, photo_sha256=photo, bundle="descriptor", index_build=None
        )
    return org, folder


def needles(harness, org, name, folder):
    """All that must not be found: names, digests of files as text and as bytes, pictures."""
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
        # From the middle: pictures of one kind begin alike.
        *(bytes.fromhex(one)[len(one) // 4 :][:60] for each in stored for one in each),
    ]


def erased(harness, tenant_deletion, org):
    return erase_organization(
        org,
        tenant_deletion=tenant_deletion,
        repository=harness.repository,
        index=harness.index,
        blobs=harness.blobs,
        on_message=lambda _: None,
    )


def test_an_erased_organization_leaves_no_byte(
    harness, tenant_deletion, tmp_path, server_paths, database_url
):
    gone, folder = filled(harness, tmp_path, "acme", 0)
    stays, _ = filled(harness, tmp_path, "other", 500)
    wanted = needles(harness, gone, "acme", folder)
    harness.index.flush()
    assert len(found_in_tables(harness, wanted)) > 10
    assert found_in_folder(
        harness.folder / "blobs" / str(gone), [folder.joinpath("acme-secret-0000.jpg").read_bytes()]
    )
    before = harness.index.count()

    assert erased(harness, tenant_deletion, gone) == 4
    assert found_in_tables(harness, wanted) == []
    assert not (harness.folder / "blobs" / str(gone)).exists()
    assert harness.index.count(IndexFilter(organization_id=gone)) == 0
    assert (
        harness.index.count()
        == before - 4
        == harness.index.count(IndexFilter(organization_id=stays))
    )
    with pytest.raises(NotFoundError):
        harness.api_keys.organization("acme")
    assert harness.organization("acme") != gone  # the name is free

    fresh = harness.folder / "next"
    build_index(
        fresh, RebuildSource(harness.owner, lambda: harness.encoder.contract), lambda *_: None
    )
    assert EdgeIndex(fresh).count() == 4
    assert str(gone).encode() not in b"".join(
        path.read_bytes() for path in fresh.rglob("*") if path.is_file()
    )
    # Nothing in the files of the tables, of their statistics and of the log either.
    oid = str(harness.scalar("SELECT oid FROM pg_database WHERE datname = current_database()"))
    harness.owner.close()
    harness.as_api.close()
    compact_tables(server_paths.superuser_url(urlsplit(database_url).path.strip("/")), private=True)
    assert found_in_folder(server_paths.pgdata / "base" / oid, wanted) == []
    assert found_in_folder(server_paths.pgdata / "pg_wal", wanted) == []


def test_what_is_left_of_an_organization_goes_with_its_last_tombstone(
    harness, tenant_deletion, tmp_path
):
    org, _ = filled(harness, tmp_path, "acme", 0)
    erased(harness, tenant_deletion, org)
    assert tenant_deletion.deleted_organizations() == [org]
    assert pruned(harness, tenant_deletion).organizations == 0
    swept(harness)
    assert pruned(harness, tenant_deletion).organizations == 1
    assert tenant_deletion.deleted_organizations() == []
    for table in ("tombstones", "sources", "batches", "batch_items", "audit_log"):
        assert harness.scalar(f"SELECT count(*) FROM {table}") == 0


def test_erasing_the_last_keys_does_not_open_the_door(harness, tenant_deletion, tmp_path):
    org, _ = filled(harness, tmp_path, "acme", 0)
    erased(harness, tenant_deletion, org)
    assert harness.api_keys.any_keys()
    default = harness.api_keys.organization("default")
    erased(harness, tenant_deletion, default.id)
    assert harness.api_keys.organization("default").id != default.id
    assert harness.api_keys.any_keys()


def test_what_comes_in_while_an_organization_is_erased_goes_too(
    harness, tenant_deletion, org, tmp_path
):
    write_photos(tmp_path / "in", 2)
    harness.ingest(tmp_path / "in", org)
    erased(harness, tenant_deletion, org)
    with harness.owner.begin() as unit:  # a request that had been let in before
        unit.connection.execute(
            text(
                "INSERT INTO audit_log (id, organization_id, operation, bundle) "
                "VALUES (gen_random_uuid(), :org, 'locate', 'x')"
            ),
            {"org": org},
        )
    harness.blobs.put(org, b"late")
    pruned(harness, tenant_deletion)
    assert harness.scalar("SELECT count(*) FROM audit_log") == 0
    assert not (harness.folder / "blobs" / str(org)).exists()


def test_erasing_can_be_broken_off_and_run_again(
    harness, tenant_deletion, org, tmp_path, monkeypatch
):
    write_photos(tmp_path / "in", 3)
    harness.ingest(tmp_path / "in", org)

    def dies(_versions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(harness.index, "write_tombstones", dies)
        with pytest.raises(KeyboardInterrupt):
            erased(harness, tenant_deletion, org)
    assert harness.scalar("SELECT count(*) FROM images WHERE state = 'deleted'") == 3
    assert tenant_deletion.find(str(org)) == org
    erased(harness, tenant_deletion, org)
    assert harness.scalar("SELECT count(*) FROM images") == 0
    assert harness.index.count() == 0


def test_an_erased_image_leaves_its_batch_whole_and_nameless(harness, org, tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 3)
    (folder / "twin.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    batch = harness.ingest(folder, org)
    harness.ingest(folder, org)
    victim = harness.scalar("SELECT id FROM images WHERE external_id = 'in/0001.jpg'")
    with harness.operator.write(org) as catalog:
        catalog.delete_image(victim)
    harness.run()
    digest = hashlib.sha256((folder / "0001.jpg").read_bytes()).digest()
    assert found_in_tables(harness, [b"0001.jpg", digest, str(victim).encode()]) == [
        str(victim).encode()  # its tombstone, until no old writer can be alive
    ]
    swept(harness)
    assert found_in_tables(harness, [str(victim).encode()]) == []
    with harness.operator.read(org) as catalog:
        after = catalog.batch(batch.id)
    assert (after.items, after.indexed, after.duplicate) == (4, 3, 1)
    assert found_in_tables(harness, [b"0002.jpg", b"twin.jpg"]) == [b"0002.jpg", b"twin.jpg"]


def test_one_face_of_a_file_leaves_the_name_that_the_others_need(harness, org, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    packet = xmp(GPano__ProjectionType="equirectangular")
    gps = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}
    (folder / "pano.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    harness.ingest(folder, org, kind="street")
    ids = [row[0] for row in harness.index.scroll(None, 10)]
    assert len(ids) == 4
    for last in (False, True):
        for victim in ids[3:] if last else ids[:3]:
            with harness.operator.write(org) as catalog:
                catalog.delete_image(victim)
        harness.run()
        assert bool(found_in_tables(harness, [b"pano.jpg"])) is not last


def test_an_erased_source_leaves_nothing_after_the_sweep(harness, org, tmp_path):
    write_photos(tmp_path / "in", 3)
    harness.ingest(tmp_path / "in", org)
    with harness.operator.write(org) as catalog:
        catalog.erase_source(catalog.source("photos").id)
    harness.run()
    swept(harness)
    for table in ("sources", "images", "batches", "batch_items", "thumbnails", "tombstones"):
        assert harness.scalar(f"SELECT count(*) FROM {table}") == 0
    assert harness.index.scroll(None, 10) == []
