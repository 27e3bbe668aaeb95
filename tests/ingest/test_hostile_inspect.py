"""`pinpoint validate` over valid and hostile files: a hostile file affects no other file."""

from __future__ import annotations

import os
import signal
from collections import Counter

from media.mutants import mutants
from media.poison import ending_large_children, poison
from pinpoint.ingest.inspect import inspect_files
from pinpoint.media.checks import REASONS
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.settings import MediaSettings
from stack_fixtures import write_photos

SETTINGS = MediaSettings(timeout_s=20)


def inspect_folder(folder, threads):
    with ChildDecoder(SETTINGS, children=threads) as decoder:
        return list(inspect_files(folder, decoder, SETTINGS, threads=threads))


def test_inspect_files_valid_among_hostile_files_reads_same_metadata(tmp_path):
    write_photos(tmp_path, 10)
    alone = {entry.file: entry.capture for entry in inspect_folder(tmp_path, 1)}
    for number, (name, data) in enumerate(mutants(11, 120)):
        # Named between the valid files, so that both kinds share children in every order.
        (tmp_path / f"{number % 10:04d}-{name}").write_bytes(data)
    with open(os.fsencode(tmp_path) + b"/0005-\xff.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff")
    (tmp_path / "0004-poison.png").write_bytes(poison())
    with ending_large_children(signal.SIGSEGV):
        entries = inspect_folder(tmp_path, 2)
    assert len(entries) == 10 + 120 + 2
    assert len({entry.file for entry in entries}) == len(entries)
    together = {entry.file: entry for entry in entries}
    assert {name: together[name].capture for name in alone} == alone
    assert None not in alone.values()
    for entry in entries:
        assert (entry.capture is None) != (entry.rejected is None)
        assert entry.rejected is None or entry.rejected.error_code in REASONS
        assert entry.file.encode()
    reasons = Counter(entry.rejected.error_code for entry in entries if entry.rejected)
    assert reasons["bad_name"] == 1
    assert together["0004-poison.png"].rejected.error_code == "decoder_crashed"
