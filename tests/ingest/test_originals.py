"""What is stored of a file is what was read of it, whatever happens to the file meanwhile."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from stack_fixtures import jpeg, write_photos


class Meddler:
    """A decoder after whose reading of a file something happens to it."""

    def __init__(self, decoder, happen):
        self._decoder, self._happen = decoder, happen

    def read(self, file, data, metadata_override=None, *, query=False):
        reading = self._decoder.read(file, data, metadata_override, query=query)
        self._happen(Path(data))
        return reading

    def close(self):
        self._decoder.close()


@pytest.fixture
def folder(harness, tmp_path):
    """Four photos of a source that copies its originals."""
    write_photos(tmp_path / "in", 4)
    harness.org = harness.organization()
    with harness.operator.write(harness.org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    return tmp_path / "in"


def wrong_originals(harness):
    """Rows whose stored bytes have another hash, or are not there."""
    asked = "SELECT external_id, encode(sha256, 'hex') AS sha256, uri FROM images"
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(text(asked)).all()
    return [
        row.external_id
        for row in rows
        if hashlib.sha256(harness.blobs.get(row.uri)).hexdigest() != row.sha256
    ]


def blobs(harness):
    return [path for path in (harness.folder / "blobs").rglob("*") if path.is_file()]


def items(harness, batch):
    with harness.database.read(harness.org) as catalog:
        return {item.file: item for item in catalog.batch_items(batch.id)}


def meddled(harness, happen):
    """Ingests with something happening to files after they were read."""
    parts = harness.parts
    harness.parts = replace(parts, decoder=Meddler(parts.decoder, happen))
    try:
        return harness.ingest(harness.in_folder, harness.org)
    finally:
        harness.parts = parts


CHANGES = {
    "other bytes": lambda path: path.write_bytes(jpeg(77, 10.0, 10.0)),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "emptied": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder now": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_it_was_read_is_never_stored_wrongly(harness, folder, change):
    before = (folder / "0002.jpg").read_bytes()
    harness.in_folder = folder

    def happen(path):
        if path.name == "0002.jpg":
            CHANGES[change](path)

    batch = meddled(harness, happen)
    assert (batch.is_processed, batch.indexed, batch.failed) == (True, 3, 1)
    item = items(harness, batch)["0002.jpg"]
    assert (item.status, item.error_stage, item.error_code) == (
        "failed",
        "store",
        "file_modified_during_ingest",
    )
    assert "batches retry" in item.error_message
    assert wrong_originals(harness) == []
    assert len(blobs(harness)) == 3
    if (folder / "0002.jpg").is_dir():
        (folder / "0002.jpg").rmdir()
    (folder / "0002.jpg").write_bytes(before)
    with harness.database.write(harness.org) as catalog:
        assert catalog.retry_batch(batch.id) == 1
    harness.run()
    assert items(harness, batch)["0002.jpg"].status == "indexed"
    assert wrong_originals(harness) == []
    assert len(blobs(harness)) == 4


def test_a_twin_of_a_file_that_changed_is_no_duplicate_of_nothing(harness, folder):
    twin = (folder / "0001.jpg").read_bytes()
    (folder / "0003.jpg").write_bytes(twin)
    harness.in_folder = folder

    def happen(path):
        if path.name == "0001.jpg":
            path.write_bytes(jpeg(78, 11.0, 11.0))

    batch = meddled(harness, happen)
    found = {name: item.status for name, item in items(harness, batch).items()}
    assert found == {
        "0000.jpg": "indexed",
        "0001.jpg": "failed",
        "0002.jpg": "indexed",
        "0003.jpg": "indexed",
    }
    assert wrong_originals(harness) == []


def test_twins_that_do_not_change_leave_one_blob(harness, folder):
    (folder / "0003.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    batch = harness.ingest(folder, harness.org)
    assert (batch.indexed, batch.duplicate) == (3, 1)
    assert len(blobs(harness)) == 3
    assert wrong_originals(harness) == []


def test_a_replaced_file_takes_its_old_bytes_along(harness, folder):
    harness.ingest(folder, harness.org)
    (folder / "0001.jpg").write_bytes(jpeg(79, 12.0, 12.0))
    batch = harness.ingest(folder, harness.org)
    assert (batch.updated, batch.duplicate) == (1, 3)
    assert len(blobs(harness)) == 4
    assert wrong_originals(harness) == []


@pytest.mark.parametrize("policy", ["copy", "rendition"])
def test_no_lock_is_held_while_bytes_are_moved(harness, tmp_path, monkeypatch, policy):
    """A slow disk under the blobs must not keep other writers of the source waiting."""
    write_photos(tmp_path / "in", 3)
    org = harness.organization()
    with harness.operator.write(org) as catalog:
        source = catalog.add_source("photos", "photo", originals=policy)
    free, put = [], harness.blobs.put
    asked = "SELECT pg_try_advisory_xact_lock(hashtextextended(:source, 0))::int"

    def watched(organization_id, data):
        free.append(harness.scalar(asked, source=str(source.id)))
        return put(organization_id, data)

    monkeypatch.setattr(harness.blobs, "put", watched)
    assert harness.ingest(tmp_path / "in", org).indexed == 3
    assert free == [1, 1, 1]
