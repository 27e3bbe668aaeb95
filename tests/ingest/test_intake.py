"""What a folder becomes: roots, manifests that are found, unreadable folders, files gone."""

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
def ground(tmp_path):
    """A folder beside that of the harness."""
    made = tmp_path / "ground"
    made.mkdir()
    return made


@pytest.fixture
def open_folder():
    """A folder that everybody can reach: that of pytest is its owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="pinpoint-test-"))
    folder.chmod(0o755)
    yield folder
    for inside in folder.rglob("*"):
        if inside.is_dir():
            inside.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def without_root_rights():
    """As somebody whom file modes bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def take(harness, org, folder, source="photos", **options):
    """Register a folder, run everything; what was registered and the batch as it ends."""
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


def ids(harness, org):
    """External ids of all live images and their URIs."""
    with harness.database.read(org) as catalog:
        return dict(catalog.source_files(catalog.source("photos").id, ""))


def items(harness, org, batch):
    with harness.database.read(org) as catalog:
        return {item.file: item for item in catalog.batch_items(batch.id)}


def test_two_roots_may_hold_the_same_file_name(harness, org, ground):
    write_photos(ground / "first", 2)
    write_photos(ground / "second", 2, lat=10.0)
    one, _ = take(harness, org, ground / "first")
    two, batch = take(harness, org, ground / "second")
    assert (one.root_is_new, two.root_is_new, batch.indexed) == (True, True, 2)
    assert set(ids(harness, org)) == {
        f"{r}/000{n}.jpg" for r in ("first", "second") for n in (0, 1)
    }
    with harness.database.read(org) as catalog:
        assert [root.name for root in catalog.source("photos").roots] == ["first", "second"]


def test_a_folder_below_a_root_belongs_to_it(harness, org, ground):
    write_photos(ground / "in" / "day", 1)
    take(harness, org, ground / "in")
    again, batch = take(harness, org, ground / "in" / "day")
    assert (again.root.name, again.root_is_new, batch.duplicate) == ("in", False, 1)
    assert set(ids(harness, org)) == {"in/day/0000.jpg"}
    with pytest.raises(BadRequestError, match="belongs to the root 'in'"):
        take(harness, org, ground / "in" / "day", root_name="day")


def test_a_folder_around_a_root_is_refused(harness, org, ground):
    write_photos(ground / "in" / "day", 1)
    take(harness, org, ground / "in" / "day")
    with pytest.raises(BadRequestError, match="is the root 'day'"):
        take(harness, org, ground / "in")


def test_roots_of_one_folder_name_need_names(harness, org, ground):
    write_photos(ground / "a" / "DCIM", 1)
    write_photos(ground / "b" / "DCIM", 1, lat=10.0)
    take(harness, org, ground / "a" / "DCIM")
    with pytest.raises(BadRequestError, match="move-root photos DCIM PATH"):
        take(harness, org, ground / "b" / "DCIM")
    with pytest.raises(BadRequestError, match="without a /"):
        take(harness, org, ground / "b" / "DCIM", root_name="b/DCIM")
    take(harness, org, ground / "b" / "DCIM", root_name="card 2")
    assert set(ids(harness, org)) == {"DCIM/0000.jpg", "card 2/0000.jpg"}


def test_moving_a_root_keeps_ids_and_finds_the_files(harness, org, ground):
    write_photos(ground / "été 1", 3)
    take(harness, org, ground / "été 1")
    before = ids(harness, org)
    (ground / "été 1").rename(ground / "neu")
    with harness.operator.write(org) as catalog:
        source = catalog.source("photos")
        assert catalog.move_root(source.id, "été 1", str(ground / "neu")) == 3
        with pytest.raises(NotFoundError):
            catalog.move_root(source.id, "neu", str(ground))
    after = ids(harness, org)
    assert set(after) == set(before)
    assert all(Path(harness.blobs.path(uri)).is_file() for uri in after.values())
    again, batch = take(harness, org, ground / "neu")
    assert (again.root.name, batch.duplicate, again.missing.external_ids) == ("été 1", 3, ())


def test_manifest_in_the_folder_is_used_and_other_files_are_read(harness, org, ground):
    (ground / "a.jpg").write_bytes(plain_jpeg(1))
    (ground / "b.jpg").write_bytes(jpeg(2, 48.0, 2.0))
    (ground / "bad.jpg").write_bytes(jpeg(3, 48.0, 2.0))
    (ground / "m.csv").write_text("file,lat,lon,id\na.jpg,10,20,007\nbad.jpg,99,20,\n")
    registered, batch = take(harness, org, ground, root_name="in")
    assert registered.manifest == ground / "m.csv"
    assert (batch.items, batch.indexed, batch.rejected) == (3, 2, 1)
    assert set(ids(harness, org)) == {"007", "in/b.jpg"}
    # A row that was refused is not made good by the file's own position.
    assert items(harness, org, batch)["bad.jpg"].error_code == "out_of_range"
    without, batch = take(harness, org, ground, use_manifest=False)
    assert without.manifest is None
    # Without the manifest a.jpg has neither its id nor a position.
    assert (batch.duplicate, batch.indexed, batch.rejected) == (1, 1, 1)


def test_several_manifests_are_refused_with_their_names(harness, org, ground):
    (ground / "a.jpg").write_bytes(plain_jpeg(1))
    for name in ("m.csv", "n.tsv"):
        (ground / name).write_text("file\tlat\tlon\na.jpg\t1\t2\n")
    with pytest.raises(BadRequestError, match=r"m\.csv, n\.tsv; choose one with --manifest"):
        take(harness, org, ground)
    registered, batch = take(harness, org, ground, manifest=ground / "n.tsv")
    assert (registered.manifest, batch.indexed) == (ground / "n.tsv", 1)


def test_manifest_row_without_position_takes_the_track(harness, org, ground):
    from ingest.test_corrections import GPX, TAKEN
    from media.pictures import exif, noise, saved

    (ground / "a.jpg").write_bytes(saved(noise(96, 72), exif=exif(detail=TAKEN)))
    (ground / "walk.gpx").write_text(GPX)
    (ground / "m.csv").write_text("file,creator\na.jpg,ann\n")
    _, batch = take(harness, org, ground)
    assert (batch.items, batch.indexed) == (1, 1)


def test_empty_folder_makes_no_source(harness, org, ground):
    (ground / "in" / "deep").mkdir(parents=True)
    (ground / "in" / "notes.txt").write_text("nothing here")
    with pytest.raises(BadRequestError, match="no files to ingest"):
        take(harness, org, ground / "in")
    (ground / "in" / "m.csv").write_text("lat,lon\n1,2\n")
    with pytest.raises(BadManifestError):
        take(harness, org, ground / "in" / "m.csv")
    with harness.database.read(org) as catalog:
        assert catalog.sources() == []
    assert harness.scalar("SELECT count(*) FROM batches") == 0
    assert harness.scalar("SELECT count(*) FROM source_roots") == 0


def test_unreadable_folder_is_one_rejection(harness, org, open_folder):
    write_photos(open_folder / "a", 1)
    write_photos(open_folder / "b" / "closed", 2, first=1)
    write_photos(open_folder / "c", 1, first=3)
    take(harness, org, open_folder, root_name="in")
    (open_folder / "b" / "closed").chmod(0)
    with without_root_rights():
        registered = register_files(
            open_folder,
            source="photos",
            organization_id=org,
            database=harness.operator,
            settings=harness.settings,
        )
        found = list(inspect_files(open_folder, harness.parts.decoder, harness.settings.media))
    harness.run()
    told = items(harness, org, registered.batch)
    assert {file: (item.status, item.error_code) for file, item in told.items()} == {
        "a/0000.jpg": ("duplicate", "unchanged"),
        "b/closed/": ("rejected", "unreadable_folder"),
        "c/0003.jpg": ("duplicate", "unchanged"),
    }
    assert [one.rejected.error_code for one in found if one.rejected] == ["unreadable_folder"]
    assert len(found) == 3
    # What cannot be looked at is not gone.
    assert (registered.missing.num_ingested, registered.missing.external_ids) == (4, ())


def test_files_that_are_gone_are_told_and_taken_out_when_asked(harness, org, ground):
    folder = ground / "in"
    write_photos(folder, 4)
    write_photos(ground / "other", 1, first=9)
    take(harness, org, folder)
    take(harness, org, ground / "other")
    (folder / "0001.jpg").unlink()
    (folder / "0002.jpg").rename(folder / "renamed.jpg")
    told, batch = take(harness, org, folder)
    assert told.missing.external_ids == ("in/0001.jpg", "in/0002.jpg")
    assert (told.missing.num_ingested, told.removed) == (4, None)
    assert items(harness, org, batch)["renamed.jpg"].error_code == "same_bytes"
    assert len(ids(harness, org)) == 5
    asked = []
    refused, _ = take(harness, org, folder, confirm_removal=lambda m: bool(asked.append(m)))
    assert (asked, refused.removed) == ([told.missing], 0)
    done, batch = take(harness, org, folder, confirm_removal=lambda _: True)
    assert done.removed == 2
    # The renamed file is no duplicate any more: the old name went first.
    assert items(harness, org, batch)["renamed.jpg"].status == "indexed"
    assert set(ids(harness, org)) == {
        "in/0000.jpg", "in/0003.jpg", "in/renamed.jpg", "other/0009.jpg",
    }  # fmt: skip
    assert len(harness.index.scroll(None, 10)) >= 4


def test_empty_root_loses_nothing(harness, org, ground):
    folder = ground / "in"
    write_photos(folder, 2)
    registered, _ = take(harness, org, folder)
    for photo in folder.iterdir():
        photo.unlink()
    with pytest.raises(BadRequestError, match="nothing was changed"):
        take(harness, org, folder, confirm_removal=lambda _: True)
    assert len(ids(harness, org)) == 2
    assert not has_visible_entries(folder)
    assert not has_visible_entries(ground / "nowhere")
    assert registered.missing.is_suspicious is False


def test_missing_files_of_either_unicode_form_are_there(harness, org, ground):
    folder = ground / "in"
    write_photos(folder, 1)
    name = unicodedata.normalize("NFD", "é.jpg")
    (folder / name).write_bytes(jpeg(5, 48.0, 2.0))
    (folder / "m.csv").write_text("file,creator\né.jpg,ann\n", encoding="utf-8")
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    take(harness, org, folder, use_manifest=False)
    with harness.owner.begin() as unit:
        from sqlalchemy import text

        renamed = "UPDATE images SET external_id = normalize(external_id, NFC)"
        unit.connection.execute(text(renamed))
    with harness.database.read(org) as catalog:
        source = catalog.source("photos")
        found = find_missing_files(catalog, source, source.roots[0], folder)
    assert (found.num_ingested, found.external_ids) == (2, ())


def test_replacement_is_told_as_updated(harness, org, ground):
    folder = ground / "in"
    write_photos(folder, 1)
    take(harness, org, folder)
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    _, batch = take(harness, org, folder)
    item = items(harness, org, batch)["0000.jpg"]
    assert item.status == "updated"
    assert item.notes == ("the file's bytes replace those stored before",)
