"""C2PA manifests of query photos: read in a child, without requests, and never trusted."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pillow_heif
import psutil
import pytest

pytest.importorskip("c2pa", reason="the extra pinpoint[c2pa] is not installed")

from media.c2pa_photos import EXIF_PLACE, assertion, created, make_signing, metadata, sign
from media.pictures import PARIS, noise, photo, saved
from pinpoint.media.c2pa import child, reader
from pinpoint.media.c2pa.reader import C2paReader
from pinpoint.media.decoding.child_process import ChildProcess, describe_sandbox
from pinpoint.records import C2paClaim, Point
from pinpoint.settings import MediaSettings

PLAIN = saved(noise())
TAKEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def c2pa_reader():
    running = C2paReader(MediaSettings())
    yield running
    running.close()


@pytest.fixture(scope="module")
def signed():
    return sign(PLAIN, [metadata(), created()])


@contextmanager
def listening():
    """A server that must not be contacted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        with pytest.raises(TimeoutError):
            server.accept()


def test_signed_photo_claims_position_time_and_signer(c2pa_reader, signed):
    assert c2pa_reader.read(signed) == C2paClaim(
        state="valid",
        data_hash_matches=True,
        generator="Test Camera",
        signer="Camera 7",
        signer_organization="Camera Org",
        digital_source_types=("digitalCapture",),
        point=Point(48 + 51.5 / 60, 2.35),
        position_source="c2pa.metadata",
        captured_at=TAKEN,
        time_source="c2pa.metadata",
    )


def test_photo_without_manifest_starts_no_child():
    idle = C2paReader(MediaSettings())
    before = find_children()
    assert idle.read(PLAIN) == C2paClaim(state="absent")
    assert idle.read(photo(gps=PARIS)) == C2paClaim(state="absent")
    assert find_children() == before


def test_signer_is_trusted_only_with_a_trust_list(signed, tmp_path):
    for authority, state, codes in (
        (make_signing().authority, "trusted", ()),
        (make_signing("http://other.invalid").authority, "valid", ("signingCredential.untrusted",)),
    ):
        (tmp_path / "trust.pem").write_bytes(authority)
        running = C2paReader(MediaSettings(c2pa_trust_list=tmp_path / "trust.pem"))
        claim = running.read(signed)
        running.close()
        assert (claim.state, claim.failure_codes) == (state, codes)


@pytest.mark.parametrize(
    ("change", "code", "data_hash_matches"),
    [
        (lambda data: data[:-200] + b"\0" + data[-199:], "assertion.dataHash.mismatch", False),
        (lambda data: data[:-500] + b"\xff\xd9", "assertion.dataHash.mismatch", False),
        (
            lambda data: data.replace(b"Test Camera", b"Best Camera"),
            "claimSignature.mismatch",
            True,
        ),
        (lambda data: data.replace(b"48,51.5N", b"12,51.5N"), "assertion.hashedURI.mismatch", True),
    ],
)
def test_changed_photo_is_invalid(c2pa_reader, signed, change, code, data_hash_matches):
    claim = c2pa_reader.read(change(signed))
    assert (claim.state, claim.data_hash_matches) == ("invalid", data_hash_matches)
    assert code in claim.failure_codes


@pytest.mark.parametrize("kept", [20, 300, 900, 2_500, 4_000])
def test_cut_photo_is_invalid(c2pa_reader, signed, kept):
    start = signed.index(b"c2pa")
    claim = c2pa_reader.read(signed[: start + kept])
    assert claim.state == "invalid"
    assert claim.state_reason or claim.failure_codes


def test_manifest_of_an_edit_leads_to_the_camera(c2pa_reader, signed):
    edited = signed
    for _ in range(3):
        edited = sign(edited, parent=edited)
    claim = c2pa_reader.read(edited)
    assert (claim.state, claim.generator) == ("valid", "Test Editor")
    assert (claim.position_source, claim.captured_at) == ("c2pa.metadata", TAKEN)
    assert claim.digital_source_types == ("digitalCapture",)


def test_generated_image_is_declared(c2pa_reader):
    claim = c2pa_reader.read(sign(PLAIN, [created("trainedAlgorithmicMedia")]))
    assert claim.declares_generative_ai
    assert (claim.point, claim.captured_at) == (None, None)


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "avif", "heic"])
def test_manifest_of_each_format_is_read(c2pa_reader, kind):
    pillow_heif.register_heif_opener()
    data = saved(noise(), {"heic": "HEIF"}.get(kind, kind.upper()))
    media_type = f"image/{kind}"
    claim = c2pa_reader.read(sign(data, [metadata()], media_type=media_type))
    assert (claim.state, claim.data_hash_matches) == ("valid", True)
    assert claim.position_source == "c2pa.metadata"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (metadata(GPSLatitude="95,0.0N"), "beyond 90 degrees"),
        (metadata(GPSLatitude="48,51.5"), "has no hemisphere"),
        (metadata(GPSLatitude=None), "a longitude without a usable latitude"),
        (metadata(GPSLatitude=0, GPSLongitude=0), "0/0"),
    ],
)
def test_unusable_position_is_named(c2pa_reader, content, note):
    claim = c2pa_reader.read(sign(PLAIN, [content]))
    assert (claim.state, claim.point, claim.position_source) == ("valid", None, None)
    assert note in claim.position_note


def test_remote_manifest_is_not_requested(c2pa_reader):
    with listening() as url:
        data = sign(PLAIN, url=url)
        assert c2pa_reader.read(data).state == "remote"
        # The settings of the library suffice: here it has no sandbox.
        assert child.load_reader(None).read(data, "image/jpeg").state == "remote"


def test_certificate_status_is_not_requested(c2pa_reader):
    with listening() as url:
        data = sign(PLAIN, signing=make_signing(url))
        assert c2pa_reader.read(data).state == "valid"
        assert child.load_reader(None).read(data, "image/jpeg").state == "valid"


def test_huge_manifest_is_refused(c2pa_reader):
    filler = assertion("org.test.filler", {"text": ["x" * 1_000] * 900})
    data = sign(PLAIN, [metadata(), filler])
    assert c2pa_reader.read(data).state == "valid"
    for _ in range(2):
        data = sign(data, [filler], parent=data)
    claim = c2pa_reader.read(data)
    assert (claim.state, claim.point) == ("invalid", None)
    assert "characters as JSON" in claim.state_reason


def test_large_photo_is_read_within_its_time(c2pa_reader, signed):
    claim = c2pa_reader.read(signed + b"\0" * 60_000_000)
    assert (claim.state, claim.data_hash_matches) == ("invalid", False)


def find_children():
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if reader.C2PA_CHILD_MODULE in process.cmdline()
    }


def test_manifest_that_stops_or_kills_its_child_is_not_checked(signed):
    before = find_children()
    running = C2paReader(MediaSettings(timeout_s=0.5))
    for number, reason in ((signal.SIGKILL, None), (signal.SIGSTOP, "not read within 0.5 s")):
        assert running.read(signed).state == "valid"
        (pid,) = find_children() - before
        os.kill(pid, number)
        time.sleep(0.05)
        claim = running.read(signed)
        # A child that died before is replaced; one that does not answer is killed.
        assert claim.state == ("valid" if reason is None else "not_checked")
        assert reason is None or reason in claim.state_reason
    assert running.read(signed).state == "valid"
    running.close()
    assert find_children() == before


def test_child_has_the_sandbox_of_the_decoding_child():
    settings = MediaSettings()
    process = ChildProcess(settings, reader.C2PA_CHILD_MODULE, {"c2pa_trust_list": None})
    try:
        measures = process.start()
    finally:
        process.kill()
    assert measures == describe_sandbox(settings)


def test_without_the_library_nothing_is_checked(monkeypatch, signed):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    running = C2paReader(MediaSettings())
    assert running.read(signed) == C2paClaim(
        state="not_checked", state_reason="the extra pinpoint[c2pa] is not installed"
    )


def test_place_of_exif_assertion_is_read(c2pa_reader):
    claim = c2pa_reader.read(sign(PLAIN, [assertion("stds.exif", dict(EXIF_PLACE))]))
    assert claim.position_source == "stds.exif"
