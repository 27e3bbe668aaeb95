"""The pool of decoding children: threads, process limits, lifetime, and invalid answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.pictures import noise, photo, saved
from pinpoint.errors import UnavailableError
from pinpoint.media.decoding.decode_request import DecodeRequest
from pinpoint.media.decoding.decoder import ChildDecoder, _read_answer
from pinpoint.media.decoding.pipe import PipeBrokenError, TimedPipes, pack_header, unpack_header
from pinpoint.media.metadata.raw_metadata import RawMetadata, from_wire, limit_warnings, to_wire
from pinpoint.records import DecodedImage, MetadataOverride
from pinpoint.settings import MediaSettings


def test_decoder_shared_by_threads_gives_equal_results() -> None:
    files = [saved(noise(200 + n, 150, seed=n)) for n in range(24)]
    metadata_override = MetadataOverride(lat=1.0, lon=2.0)
    with ChildDecoder(MediaSettings(), children=2) as decoder, ThreadPoolExecutor(6) as pool:
        shared_results = list(
            pool.map(lambda data: decoder.read("a", data, metadata_override), files)
        )
        assert len(decoder.pids()) <= 2
        for data, result in zip(files, shared_results, strict=True):
            single_result = decoder.read("a", data, metadata_override)
            assert isinstance(result, DecodedImage)
            assert isinstance(single_result, DecodedImage)
            assert result.capture == single_result.capture
            assert (result.faces[0].pixels == single_result.faces[0].pixels).all()
            assert result.faces[0].thumbnail == single_result.faces[0].thumbnail


def test_decoder_child_outlives_its_starting_thread() -> None:
    with ChildDecoder(MediaSettings()) as decoder:
        for _ in range(3):
            with ThreadPoolExecutor(1) as pool:
                assert isinstance(pool.submit(decoder.read, "a", photo()).result(), DecodedImage)
        (pid,) = decoder.pids()
        time.sleep(0.2)
        assert isinstance(decoder.read("a", photo()), DecodedImage)
        assert decoder.pids() == (pid,)


def test_decoder_child_has_limits_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINPOINT_DATABASE_URL", "postgresql://secret")
    with ChildDecoder(MediaSettings(memory_mb=1_000)) as decoder:
        decoder.read("a", photo())
        process = Path(f"/proc/{decoder.pids()[0]}")
        limits = process.joinpath("limits").read_text()
        for name, limit in (("Max address space", "1000000000"), ("Max file size", "0")):
            line = next(line for line in limits.splitlines() if line.startswith(name))
            assert line.removeprefix(name).split()[:2] == [limit, limit]
        assert "Max core file size        0" in limits
        assert "secret" not in process.joinpath("environ").read_text()
        maps = process.joinpath("maps").read_text()
        assert not [name for name in ("torch", "sqlalchemy", "psycopg", "qdrant") if name in maps]


def test_decoder_children_end_with_parent() -> None:
    program = (
        "import os, sys\n"
        "from pinpoint.media.decoding.decoder import ChildDecoder\n"
        "from pinpoint.settings import MediaSettings\n"
        "d = ChildDecoder(MediaSettings())\n"
        "d.read('a', b'\\xff\\xd8\\xff' + bytes(50))\n"
        "print(d.pids()[0], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(result.stdout)
    for _ in range(50):
        if not _alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"child {pid} outlived its parent")


def test_decoder_after_fork_starts_new_children() -> None:
    with ChildDecoder(MediaSettings()) as decoder:
        decoder.read("a", photo())
        (pid,) = decoder.pids()
        fork = os.fork()
        if fork == 0:
            ok = isinstance(decoder.read("b", photo()), DecodedImage) and decoder.pids() != (pid,)
            decoder.close()
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
        assert isinstance(decoder.read("c", photo()), DecodedImage)
        assert decoder.pids() == (pid,)


def test_decoder_closed_raises_unavailable() -> None:
    decoder = ChildDecoder(MediaSettings())
    decoder.read("a", photo())
    (pid,) = decoder.pids()
    decoder.close()
    decoder.close()
    assert not _alive(pid)
    with pytest.raises(UnavailableError):
        decoder.read("a", photo())
    with pytest.raises(ValueError, match="at least one"):
        ChildDecoder(MediaSettings(), children=0)


def make_request(*, query: bool = False) -> DecodeRequest:
    return DecodeRequest(
        size=1,
        format="jpeg",
        need_position=False,
        query=query,
        crop=None,
        max_pixels=10_000,
        max_frames=1,
        max_metadata_bytes=1_000,
        rendition_px=64,
        thumbnail_px=32,
        cpu_s=1.0,
    )


def make_answer(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "metadata": to_wire(RawMetadata()),
        "width": 64,
        "height": 64,
        "panorama": None,
        "faces": [[None, 2, 2, 3]],
    }
    return fields | changes


TIMED = RawMetadata(captured_at=datetime(2020, 1, 1, tzinfo=UTC), time_source="exif_original")
BODY = bytes(12) + b"\xff\xd8\xff"


def read_answer(header: dict[str, object], body: bytes = BODY) -> object:
    read_end, write_end = os.pipe()
    os.write(write_end, body)
    os.close(write_end)
    try:
        return _read_answer(
            make_request(), header, TimedPipes(read_end, read_end), time.monotonic() + 2.0
        )
    finally:
        os.close(read_end)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 10**9},
        {"height": 0},
        {"width": "64"},
        {"metadata": None},
        {"metadata": {"lat": float("nan")}},
        {"metadata": {"lat": "48"}},
        {"metadata": {"camera": "x" * 300}},
        {"metadata": {"captured_at": "2020-01-01T00:00:00"}},
        {"metadata": {"surprise": 1}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": None}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": "text"}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": ["x"] * 11}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": ["x" * 201]}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": [1]}},
        {"metadata": {**to_wire(RawMetadata()), "warnings": ["a\x00b"]}},
        {"metadata": {**to_wire(RawMetadata()), "time_source": "exif_original"}},
        {"metadata": {**to_wire(RawMetadata()), "captured_at": "2020-01-01T00:00:00+00:00"}},
        {"metadata": {**to_wire(TIMED), "time_source": "manual"}},
        {"metadata": {**to_wire(TIMED), "time_source": 1}},
        {"metadata": {"attributes": {"a": [1]}}},
        {"faces": None},
        {"faces": [[None, 65, 65, 3]]},
        {"faces": [[None, 10**6, 1, 3]]},
        {"faces": [["up", 2, 2, 3]]},
        {"faces": [["front", 2, 2, 3]]},
        {"faces": [[None, 2, 2, 10**9]]},
        {"faces": [[None, 2, 2, 0]]},
        {"faces": [[None, -2, -2, 3]]},
        {"panorama": [1]},
        {"reason": "because", "detail": "x"},
        {"reason": "timeout", "detail": 5},
    ],
)
def test_read_answer_invalid_header_raises_pipe_broken(changes: dict[str, object]) -> None:
    with pytest.raises(PipeBrokenError):
        read_answer(make_answer(**changes))


def test_read_answer_valid_header_is_accepted() -> None:
    read_answer(make_answer())
    longest = replace(TIMED, warnings=("\u00e4" * 200,) * 10)
    read_answer(make_answer(metadata=to_wire(longest)))
    assert from_wire(unpack_header(pack_header(to_wire(longest))[4:])) == longest
    assert limit_warnings(["a\x00b", " ", "a  b", *(str(n) for n in range(20))])[:2] == ("a", "a b")
    assert len(limit_warnings(str(n) for n in range(20))) == 10
    with pytest.raises(PipeBrokenError, match="no JPEG"):
        read_answer(make_answer(), bytes(15))
    with pytest.raises(PipeBrokenError, match="gone"):
        read_answer(make_answer(), BODY[:-1])


def test_unpack_header_accepts_only_plain_values() -> None:
    assert unpack_header(pack_header({"a": [1, "b", b"c", None]})[4:]) == {
        "a": [1, "b", b"c", None]
    }
    for body in (b"", b"\x01", b"\xc1", b"\xd4\x01\x00", b"\x81\x01\x02"):
        with pytest.raises(PipeBrokenError):
            unpack_header(body)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[-1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
