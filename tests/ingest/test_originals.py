"""The stored original has the bytes that were read, whatever changes the file later."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from stack_fixtures import jpeg, write_photos


class ModifyingDecoder:
    """A decoder that changes each file after reading it."""

    def __init__(self, decoder, change_file):
        self._decoder, self._change_file = decoder, change_file

    def read(self, file, data, metadata_override=None, *, query=False, crop=None):
        reading = self._decoder.read(file, data, metadata_override, query=query, crop=crop)
        self._change_file(Path(data))
        return reading


@pytest.fixture
def folder(harness, tmp_path):
    """Four photos of a source that copies its originals."""
    write_photos(tmp_path / "in", 4)
    harness.org = harness.organization()
    with harness.operator.write(harness.org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
    return tmp_path / "in"


def wrong_originals(harness):
    """External ids of rows whose stored bytes have another hash."""
    statement = "SELECT external_id, encode(sha256, 'hex') AS sha256, uri FROM images"
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(text(statement)).all()
    return [
        row.external_id
        for row in rows
        if hashlib.sha256(harness.blobs.get(row.uri)).hexdigest() != row.sha256
    ]


def stored_blobs(harness):
    return [path for path in (harness.folder / "blobs").rglob("*") if path.is_file()]


def items_by_file(harness, batch):
    with harness.database.read(harness.org) as catalog:
        return {item.file: item for item in catalog.batch_items(batch.id)}


def ingest_with_change(harness, change_file):
    """Ingest and call `change_file` for each file after it is read."""
    parts = harness.components
    harness.components = replace(parts, decoder=ModifyingDecoder(parts.decoder, change_file))
    try:
        return harness.ingest(harness.in_folder, harness.org)
    finally:
        harness.components = parts


CHANGES = {
    "other bytes": lambda path: path.write_bytes(jpeg(77, 10.0, 10.0)),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "emptied": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder now": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_ingest_file_changed_after_reading_fails_and_can_be_retried(harness, folder, change):
    before = (folder / "0002.jpg").read_bytes()
    harness.in_folder = folder

    def change_file(path):
        if path.name == "0002.jpg":
            CHANGES[change](path)

    batch = ingest_with_change(harness, change_file)
    assert (batch.is_processed, batch.indexed, batch.failed) == (True, 3, 1)
    item = items_by_file(harness, batch)["0002.jpg"]
    assert (item.status, item.error_stage, item.error_code) == (
        "failed",
        "store",
        "file_modified_during_ingest",
    )
    assert "batches retry" in item.error_message
    assert wrong_originals(harness) == []
    assert len(stored_blobs(harness)) == 3
    if (folder / "0002.jpg").is_dir():
        (folder / "0002.jpg").rmdir()
    (folder / "0002.jpg").write_bytes(before)
    with harness.database.write(harness.org) as catalog:
        assert catalog.retry_batch(batch.id) == 1
    harness.run()
    assert items_by_file(harness, batch)["0002.jpg"].status == "indexed"
    assert wrong_originals(harness) == []
    assert len(stored_blobs(harness)) == 4


def test_ingest_copy_of_changed_file_is_indexed(harness, folder):
    copied_bytes = (folder / "0001.jpg").read_bytes()
    (folder / "0003.jpg").write_bytes(copied_bytes)
    harness.in_folder = folder

    def change_file(path):
        if path.name == "0001.jpg":
            path.write_bytes(jpeg(78, 11.0, 11.0))

    batch = ingest_with_change(harness, change_file)
    statuses = {name: item.status for name, item in items_by_file(harness, batch).items()}
    assert statuses == {
        "0000.jpg": "indexed",
        "0001.jpg": "failed",
        "0002.jpg": "indexed",
        "0003.jpg": "indexed",
    }
    assert wrong_originals(harness) == []


def test_ingest_identical_files_store_one_blob(harness, folder):
    (folder / "0003.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    batch = harness.ingest(folder, harness.org)
    assert (batch.indexed, batch.duplicate) == (3, 1)
    assert len(stored_blobs(harness)) == 3
    assert wrong_originals(harness) == []


def test_ingest_replaced_file_removes_old_blob(harness, folder):
    harness.ingest(folder, harness.org)
    (folder / "0001.jpg").write_bytes(jpeg(79, 12.0, 12.0))
    batch = harness.ingest(folder, harness.org)
    assert (batch.updated, batch.duplicate) == (1, 3)
    assert len(stored_blobs(harness)) == 4
    assert wrong_originals(harness) == []


@pytest.mark.parametrize("policy", ["copy", "rendition"])
def test_ingest_holds_no_source_lock_while_storing_blobs(harness, tmp_path, monkeypatch, policy):
    """A slow disk for blobs must not block other writers of the source."""
    write_photos(tmp_path / "in", 3)
    org = harness.organization()
    with harness.operator.write(org) as catalog:
        source = catalog.add_source("photos", "photo", originals=policy)
    lock_was_free, put = [], harness.blobs.put
    statement = "SELECT pg_try_advisory_xact_lock(hashtextextended(:source, 0))::int"

    def put_and_try_lock(organization_id, data):
        lock_was_free.append(harness.scalar(statement, source=str(source.id)))
        return put(organization_id, data)

    monkeypatch.setattr(harness.blobs, "put", put_and_try_lock)
    assert harness.ingest(tmp_path / "in", org).indexed == 3
    assert lock_was_free == [1, 1, 1]
