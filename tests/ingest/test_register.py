"""Registering a folder: roots, manifests, unreadable folders, missing files."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinpoint.errors import BadManifestError, BadRequestError, NotFoundError
from pinpoint.ingest.inspect import inspect_files
from pinpoint.ingest.register import register_files
from pinpoint.media.missing_files import find_missing_files, has_visible_entries
from stack_fixtures import jpeg, plain_jpeg, write_photos

NOBODY = 65534


@pytest.fixture
def org(harness):
    return harness.organization()


@pytest.fixture
def photo_folder(tmp_path):
    """A folder outside that of the services."""
    folder = tmp_path / "ground"
    folder.mkdir()
    return folder


@pytest.fixture
def accessible_folder():
    """A folder that every user can read; only the owner can read the folder of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="pinpoint-test-"))
    folder.chmod(0o755)
    yield folder
    for inside in folder.rglob("*"):
        if inside.is_dir():
            inside.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def without_root_rights():
    """Run as a user that file modes restrict."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def register_and_run(harness, org, folder, source="photos", **options):
    """Register a folder and run all tasks; returns the registration and the finished batch."""
    options = {"kind": "photo"} | options
    registered = register_files(
        folder,
        source=source,
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
        **options,
    )
    harness.run()
    with harness.database.read(org) as catalog:
        return registered, catalog.batch(registered.batch.id)


def external_ids(harness, org):
    """External ids of all live images and their URIs."""
    with harness.database.read(org) as catalog:
        return dict(catalog.source_files(catalog.source("photos").id, ""))


def items_by_file(harness, org, batch):
    with harness.database.read(org) as catalog:
        return {item.file: item for item in catalog.batch_items(batch.id)}


def test_register_files_two_roots_with_same_file_names_keeps_both(harness, org, photo_folder):
    write_photos(photo_folder / "first", 2)
    write_photos(photo_folder / "second", 2, lat=10.0)
    first, _ = register_and_run(harness, org, photo_folder / "first")
    second, batch = register_and_run(harness, org, photo_folder / "second")
    assert (first.root_is_new, second.root_is_new, batch.indexed) == (True, True, 2)
    assert set(external_ids(harness, org)) == {
        f"{r}/000{n}.jpg" for r in ("first", "second") for n in (0, 1)
    }
    with harness.database.read(org) as catalog:
        assert [root.name for root in catalog.source("photos").roots] == ["first", "second"]


def test_register_files_subfolder_belongs_to_existing_root(harness, org, photo_folder):
    write_photos(photo_folder / "in" / "day", 1)
    register_and_run(harness, org, photo_folder / "in")
    again, batch = register_and_run(harness, org, photo_folder / "in" / "day")
    assert (again.root.name, again.root_is_new, batch.duplicate) == ("in", False, 1)
    assert set(external_ids(harness, org)) == {"in/day/0000.jpg"}
    with pytest.raises(BadRequestError, match="belongs to the root 'in'"):
        register_and_run(harness, org, photo_folder / "in" / "day", root_name="day")


def test_register_files_parent_of_root_raises(harness, org, photo_folder):
    write_photos(photo_folder / "in" / "day", 1)
    register_and_run(harness, org, photo_folder / "in" / "day")
    with pytest.raises(BadRequestError, match="is the root 'day'"):
        register_and_run(harness, org, photo_folder / "in")


def test_register_files_same_folder_name_requires_root_name(harness, org, photo_folder):
    write_photos(photo_folder / "a" / "DCIM", 1)
    write_photos(photo_folder / "b" / "DCIM", 1, lat=10.0)
    register_and_run(harness, org, photo_folder / "a" / "DCIM")
    with pytest.raises(BadRequestError, match="move-root photos DCIM PATH"):
        register_and_run(harness, org, photo_folder / "b" / "DCIM")
    with pytest.raises(BadRequestError, match="without a /"):
        register_and_run(harness, org, photo_folder / "b" / "DCIM", root_name="b/DCIM")
    register_and_run(harness, org, photo_folder / "b" / "DCIM", root_name="card 2")
    assert set(external_ids(harness, org)) == {"DCIM/0000.jpg", "card 2/0000.jpg"}


def test_move_root_keeps_ids_and_updates_uris(harness, org, photo_folder):
    write_photos(photo_folder / "été 1", 3)
    register_and_run(harness, org, photo_folder / "été 1")
    before = external_ids(harness, org)
    (photo_folder / "été 1").rename(photo_folder / "neu")
    with harness.operator.write(org) as catalog:
        source = catalog.source("photos")
        assert catalog.move_root(source.id, "été 1", str(photo_folder / "neu")) == 3
        with pytest.raises(NotFoundError):
            catalog.move_root(source.id, "neu", str(photo_folder))
    after = external_ids(harness, org)
    assert set(after) == set(before)
    assert all(Path(harness.blobs.path(uri)).is_file() for uri in after.values())
    again, batch = register_and_run(harness, org, photo_folder / "neu")
    assert (again.root.name, batch.duplicate, again.missing.external_ids) == ("été 1", 3, ())


def test_register_files_uses_folder_manifest_and_other_files(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(plain_jpeg(1))
    (photo_folder / "b.jpg").write_bytes(jpeg(2, 48.0, 2.0))
    (photo_folder / "bad.jpg").write_bytes(jpeg(3, 48.0, 2.0))
    (photo_folder / "m.csv").write_text("file,lat,lon,id\na.jpg,10,20,007\nbad.jpg,99,20,\n")
    registered, batch = register_and_run(harness, org, photo_folder, root_name="in")
    assert registered.manifest == photo_folder / "m.csv"
    assert (batch.items, batch.indexed, batch.rejected) == (3, 2, 1)
    assert set(external_ids(harness, org)) == {"007", "in/b.jpg"}
    # The position of the file does not replace a rejected row.
    assert items_by_file(harness, org, batch)["bad.jpg"].error_code == "out_of_range"
    without, batch = register_and_run(harness, org, photo_folder, use_manifest=False)
    assert without.manifest is None
    # Without the manifest a.jpg has neither its id nor a position.
    assert (batch.duplicate, batch.indexed, batch.rejected) == (1, 1, 1)


def test_register_files_several_manifests_raises_with_names(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(plain_jpeg(1))
    for name in ("m.csv", "n.tsv"):
        (photo_folder / name).write_text("file\tlat\tlon\na.jpg\t1\t2\n")
    with pytest.raises(BadRequestError, match=r"m\.csv, n\.tsv; choose one with --manifest"):
        register_and_run(harness, org, photo_folder)
    registered, batch = register_and_run(
        harness, org, photo_folder, manifest=photo_folder / "n.tsv"
    )
    assert (registered.manifest, batch.indexed) == (photo_folder / "n.tsv", 1)


def test_register_files_manifest_row_without_position_uses_track(harness, org, photo_folder):
    from ingest.test_corrections import GPX, TAKEN
    from media.pictures import exif, noise, saved

    (photo_folder / "a.jpg").write_bytes(saved(noise(96, 72), exif=exif(detail=TAKEN)))
    (photo_folder / "walk.gpx").write_text(GPX)
    (photo_folder / "m.csv").write_text("file,creator\na.jpg,ann\n")
    _, batch = register_and_run(harness, org, photo_folder)
    assert (batch.items, batch.indexed) == (1, 1)


def test_register_files_empty_folder_creates_no_source(harness, org, photo_folder):
    (photo_folder / "in" / "deep").mkdir(parents=True)
    (photo_folder / "in" / "notes.txt").write_text("nothing here")
    with pytest.raises(BadRequestError, match="no files to ingest"):
        register_and_run(harness, org, photo_folder / "in")
    (photo_folder / "in" / "m.csv").write_text("lat,lon\n1,2\n")
    with pytest.raises(BadManifestError):
        register_and_run(harness, org, photo_folder / "in" / "m.csv")
    with harness.database.read(org) as catalog:
        assert catalog.sources() == []
    assert harness.scalar("SELECT count(*) FROM batches") == 0
    assert harness.scalar("SELECT count(*) FROM source_roots") == 0


def test_register_files_unreadable_folder_is_one_rejection(harness, org, accessible_folder):
    write_photos(accessible_folder / "a", 1)
    write_photos(accessible_folder / "b" / "closed", 2, first=1)
    write_photos(accessible_folder / "c", 1, first=3)
    register_and_run(harness, org, accessible_folder, root_name="in")
    (accessible_folder / "b" / "closed").chmod(0)
    with without_root_rights():
        registered = register_files(
            accessible_folder,
            source="photos",
            organization_id=org,
            database=harness.operator,
            settings=harness.settings,
        )
        inspected = list(
            inspect_files(accessible_folder, harness.components.decoder, harness.settings.media)
        )
    harness.run()
    items = items_by_file(harness, org, registered.batch)
    assert {file: (item.status, item.error_code) for file, item in items.items()} == {
        "a/0000.jpg": ("duplicate", "unchanged"),
        "b/closed/": ("rejected", "unreadable_folder"),
        "c/0003.jpg": ("duplicate", "unchanged"),
    }
    assert [entry.rejected.error_code for entry in inspected if entry.rejected] == [
        "unreadable_folder"
    ]
    assert len(inspected) == 3
    # Files in an unreadable folder are not missing.
    assert (registered.missing.num_ingested, registered.missing.external_ids) == (4, ())


def test_register_files_missing_files_reported_and_removed_on_confirmation(
    harness, org, photo_folder
):
    folder = photo_folder / "in"
    write_photos(folder, 4)
    write_photos(photo_folder / "other", 1, first=9)
    register_and_run(harness, org, folder)
    register_and_run(harness, org, photo_folder / "other")
    (folder / "0001.jpg").unlink()
    (folder / "0002.jpg").rename(folder / "renamed.jpg")
    reported, batch = register_and_run(harness, org, folder)
    assert reported.missing.external_ids == ("in/0001.jpg", "in/0002.jpg")
    assert (reported.missing.num_ingested, reported.removed) == (4, None)
    assert items_by_file(harness, org, batch)["renamed.jpg"].error_code == "same_bytes"
    assert len(external_ids(harness, org)) == 5
    confirmations = []
    declined, _ = register_and_run(
        harness, org, folder, confirm_removal=lambda m: bool(confirmations.append(m))
    )
    assert (confirmations, declined.removed) == ([reported.missing], 0)
    confirmed, batch = register_and_run(harness, org, folder, confirm_removal=lambda _: True)
    assert confirmed.removed == 2
    # The renamed file is no duplicate: the old name was removed first.
    assert items_by_file(harness, org, batch)["renamed.jpg"].status == "indexed"
    assert set(external_ids(harness, org)) == {
        "in/0000.jpg", "in/0003.jpg", "in/renamed.jpg", "other/0009.jpg",
    }  # fmt: skip
    assert len(harness.index.scroll(None, 10)) >= 4


def test_register_files_empty_root_removes_nothing(harness, org, photo_folder):
    folder = photo_folder / "in"
    write_photos(folder, 2)
    registered, _ = register_and_run(harness, org, folder)
    for photo in folder.iterdir():
        photo.unlink()
    with pytest.raises(BadRequestError, match="nothing was changed"):
        register_and_run(harness, org, folder, confirm_removal=lambda _: True)
    assert len(external_ids(harness, org)) == 2
    assert not has_visible_entries(folder)
    assert not has_visible_entries(photo_folder / "nowhere")
    assert registered.missing.is_suspicious is False


def test_find_missing_files_either_unicode_form_matches(harness, org, photo_folder):
    folder = photo_folder / "in"
    write_photos(folder, 1)
    name = unicodedata.normalize("NFD", "é.jpg")
    (folder / name).write_bytes(jpeg(5, 48.0, 2.0))
    (folder / "m.csv").write_text("file,creator\né.jpg,ann\n", encoding="utf-8")
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    register_and_run(harness, org, folder, use_manifest=False)
    with harness.owner.begin() as unit:
        from sqlalchemy import text

        renamed = "UPDATE images SET external_id = normalize(external_id, NFC)"
        unit.connection.execute(text(renamed))
    with harness.database.read(org) as catalog:
        source = catalog.source("photos")
        missing = find_missing_files(catalog, source, source.roots[0], folder)
    assert (missing.num_ingested, missing.external_ids) == (2, ())


def test_register_files_replaced_file_is_updated_with_note(harness, org, photo_folder):
    folder = photo_folder / "in"
    write_photos(folder, 1)
    register_and_run(harness, org, folder)
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    _, batch = register_and_run(harness, org, folder)
    item = items_by_file(harness, org, batch)["0000.jpg"]
    assert item.status == "updated"
    assert item.notes == ("the file's bytes replace those stored before",)
