"""`pinpoint validate` over good and bad files together: a bad file costs only itself."""

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


def looked_at(folder, threads):
    with ChildDecoder(SETTINGS, children=threads) as decoder:
        return list(inspect_files(folder, decoder, SETTINGS, threads=threads))


def test_inspect_files_valid_among_hostile_files_reads_same_metadata(tmp_path):
    write_photos(tmp_path, 10)
    alone = {one.file: one.capture for one in looked_at(tmp_path, 1)}
    for number, (name, data) in enumerate(mutants(11, 120)):
        # Between the good ones by name, so that children are shared and in every order.
        (tmp_path / f"{number % 10:04d}-{name}").write_bytes(data)
    with open(os.fsencode(tmp_path) + b"/0005-\xff.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff")
    (tmp_path / "0004-poison.png").write_bytes(poison())
    with ending_large_children(signal.SIGSEGV):
        found = looked_at(tmp_path, 2)
    assert len(found) == 10 + 120 + 2
    assert len({one.file for one in found}) == len(found)
    together = {one.file: one for one in found}
    assert {name: together[name].capture for name in alone} == alone
    assert None not in alone.values()
    for one in found:
        assert (one.capture is None) != (one.rejected is None)
        assert one.rejected is None or one.rejected.error_code in REASONS
        assert one.file.encode()
    reasons = Counter(one.rejected.error_code for one in found if one.rejected)
    assert reasons["bad_name"] == 1
    assert together["0004-poison.png"].rejected.error_code == "decoder_crashed"
