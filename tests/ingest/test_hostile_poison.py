"""Hostile files among valid files: each fails alone."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from media.bombs import BOMBS
from media.poison import ending_large_children, poison
from pinpoint.media.decoding.decoder import MAX_ATTEMPTS, ChildDecoder
from pinpoint.settings import MediaSettings
from stack_fixtures import jpeg, plain_jpeg, write_photos


@pytest.fixture
def harness(harness):
    """With its own decoding child: one that has read large photos would be ended too early."""
    with ChildDecoder(harness.settings.media) as decoder:
        harness.components = replace(harness.components, decoder=decoder)
        yield harness


def items_by_file(harness, org, batch):
    with harness.database.read(org) as catalog:
        return {item.file: item for item in catalog.batch_items(batch.id)}


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGSEGV, "decoder_crashed"), (signal.SIGKILL, "out_of_memory")]
)
def test_ingest_file_that_crashes_decoder_fails_alone_and_can_be_retried(
    harness, tmp_path, number, reason
):
    org = harness.organization()
    write_photos(tmp_path / "in", 40)
    (tmp_path / "in" / "0020-poison.png").write_bytes(poison())
    with ending_large_children(number) as ended:
        batch = harness.ingest(tmp_path / "in", org)
    assert (batch.is_processed, batch.items, batch.indexed, batch.failed) == (True, 41, 40, 1)
    item = items_by_file(harness, org, batch)["0020-poison.png"]
    assert (item.status, item.error_stage, item.error_code) == ("failed", "decode", reason)
    assert item.error_message
    assert len(ended) == MAX_ATTEMPTS
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch.id) == 1
    harness.run()
    with harness.database.read(org) as catalog:
        batch = catalog.batch(batch.id)
    assert (batch.is_processed, batch.indexed, batch.failed) == (True, 41, 0)


def test_ingest_file_over_memory_limit_fails_alone(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 20)
    (tmp_path / "in" / "0010-poison.png").write_bytes(poison(12_000, 9_000))
    with ChildDecoder(MediaSettings(memory_mb=256)) as decoder:
        harness.components = replace(harness.components, decoder=decoder)
        batch = harness.ingest(tmp_path / "in", org)
    assert (batch.is_processed, batch.indexed, batch.failed) == (True, 20, 1)
    assert items_by_file(harness, org, batch)["0010-poison.png"].error_code == "out_of_memory"


def test_ingest_uploaded_poison_file_keeps_blob_for_retry(harness, tmp_path):
    org = harness.organization()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "poison.png").write_bytes(poison())
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals="copy")
        batch = catalog.open_batch(catalog.source("photos").id)
    from pinpoint.records import NewItem

    uri = harness.blobs.put(org, poison())
    with harness.operator.write(org) as catalog:
        catalog.add_items(batch.id, [NewItem(external_id="p", file="p", uri=uri)])
        catalog.close_batch(batch.id)
    with ending_large_children(signal.SIGSEGV):
        harness.run()
    assert items_by_file(harness, org, batch)["p"].status == "failed"
    with harness.operator.write(org) as catalog:
        catalog.retry_batch(batch.id)
    harness.run()
    assert items_by_file(harness, org, batch)["p"].status == "indexed"


def test_ingest_unstorable_file_names_reject_only_those_files(harness, tmp_path):
    org, folder = harness.organization(), tmp_path / "in"
    write_photos(folder, 3)
    for name in (b"\xff\xfe.jpg", b"\xff.jpg"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(jpeg(70, 1.0, 1.0))
    batch = harness.ingest(folder, org)
    assert (batch.is_processed, batch.indexed, batch.rejected) == (True, 3, 2)
    items = items_by_file(harness, org, batch)
    assert {items[name].error_code for name in (r"\udcff\udcfe.jpg", r"\udcff.jpg")} == {"bad_name"}


def test_ingest_manifest_with_hostile_rows_rejects_only_those_rows(harness, tmp_path):
    org = harness.organization()
    for seed in range(4):
        (tmp_path / f"{seed}.jpg").write_bytes(plain_jpeg(seed))
    endless = "x" * 140_000
    rows = [
        *("file,latitude,longitude,note,creator", "0.jpg,10,20,fine,Ann", "1.jpg,11,21,\x00,\x00"),
        *(r"2.jpg,12,22,\u0000\ud800,\u0000", "\x00.jpg,1,1,,", f"3.jpg,1,2,{endless},x"),
        *("3.jpg,13,23,after,Bob", "3.jpg,nan,inf,,"),
    ]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    batch = harness.ingest(tmp_path / "m.csv", org)
    assert (batch.is_processed, batch.items, batch.indexed, batch.rejected) == (True, 7, 4, 3)


def test_ingest_archives_are_rejected_unopened(harness, tmp_path):
    import random

    org, folder = harness.organization(), tmp_path / "in"
    write_photos(folder, 2)
    for seed in range(12):
        (folder / f"a{seed}.jpg").write_bytes(BOMBS["archives"](random.Random(seed)))
    batch = harness.ingest(folder, org)
    assert (batch.is_processed, batch.indexed, batch.rejected) == (True, 2, 12)
    reasons = {
        item.error_code for item in items_by_file(harness, org, batch).values() if item.error_code
    }
    assert reasons == {"unsupported_format"}


def test_ingest_capture_times_at_calendar_limits_are_processed(harness, tmp_path):
    org, folder = harness.organization(), tmp_path / "in"
    folder.mkdir()
    for seed, capture_time in enumerate(("0001:01:01 00:00:00", "0002:01:01 00:00:00")):
        detail = {0x9003: capture_time, 0x9011: "+00:00"}
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed, 1.0 + seed, 2.0, detail=detail))
    (folder / "late.jpg").write_bytes(
        jpeg(9, 5.0, 2.0, detail={0x9003: "9999:12:31 23:59:59", 0x9011: "-14:00"})
    )
    batch = harness.ingest(folder, org)
    assert (batch.is_processed, batch.items) == (True, 3)
    ids = [row[0] for row in harness.index.scroll(None, 10)]
    with harness.database.read(org) as catalog:
        assert len(catalog.images(ids)) == len(ids) == batch.indexed
