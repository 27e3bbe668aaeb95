"""JPEG files whose end marker is missing: read if all pixels are present, rejected otherwise."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from media.pictures import PARIS, exif, noise, saved
from pinpoint.media.decoding import jpeg_end
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import DecodedImage, Rejected
from pinpoint.settings import MediaSettings

KINDS = {
    "baseline": {"quality": 85},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "full_color": {"subsampling": 0},
    "optimized": {"optimize": True, "quality": 40},
}


def busy_picture(seed: int = 3) -> Image.Image:
    """A picture whose last blocks are not empty."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((320, 240))


def jpeg_of(kind: str) -> bytes:
    return saved(busy_picture(), exif=exif(gps=PARIS), **KINDS[kind])


def motion_video(size: int = 5_000) -> bytes:
    """What a phone appends for a motion photo: an MP4 file."""
    head = struct.pack(">I4s", 24, b"ftyp") + b"mp42\x00\x00\x00\x00isommp42"
    return head + random.Random(1).randbytes(size)


def samsung(*records: bytes) -> bytes:
    """Samsung's trailer: records, their directory and its length."""
    body, entries = b"", b""
    total = sum(8 + len(record) for record in records)
    for record in records:
        entries += struct.pack("<HHII", 0, 0x0A01, total - len(body), 8 + len(record))
        body += b"\x00\x00\x01\x0a" + struct.pack("<I", len(record)) + record
    directory = b"SEFH" + struct.pack("<II", 106, len(records)) + entries
    return body + directory + struct.pack("<I", len(directory)) + b"SEFT"


TRAILERS = {
    "nothing": b"",
    "film": motion_video(),
    "samsung": samsung(b"Image_UTC_Data1234567890123", b"MotionPhoto_Data" + motion_video()),
    "zeros": bytes(50_000),
    "another JPEG": saved(noise(), quality=50),
    "half a marker": b"\xff",
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
def test_decoder_jpeg_without_end_marker_is_read_with_warning(
    decoder: ChildDecoder, kind: str, trailer: str
) -> None:
    whole = jpeg_of(kind)
    result = decoder.read("a.jpg", whole[:-2] + TRAILERS[trailer])
    assert isinstance(result, DecodedImage), result
    assert result.capture.warnings == (jpeg_end.MISSING_END_NOTE,)
    expected = decoder.read("a.jpg", whole)
    assert isinstance(expected, DecodedImage)
    assert expected.capture.warnings == ()
    assert np.array_equal(result.faces[0].pixels, expected.faces[0].pixels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
def test_decoder_jpeg_with_end_marker_has_no_warning(
    decoder: ChildDecoder, kind: str, trailer: str
) -> None:
    result = decoder.read("a.jpg", jpeg_of(kind) + TRAILERS[trailer])
    assert isinstance(result, DecodedImage), result
    assert result.capture.warnings == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_decoder_truncated_jpeg_is_undecodable(
    decoder: ChildDecoder, kind: str, trailer: str, share: float
) -> None:
    whole = jpeg_of(kind)
    start = whole.index(b"\xff\xda")
    data = whole[: start + int((len(whole) - start) * share)] + TRAILERS[trailer]
    result = decoder.read("a.jpg", data)
    assert isinstance(result, Rejected), result
    assert result.error_code == "undecodable"


def test_complete_jpeg_cut_at_restart_marker_is_cut_short() -> None:
    whole = jpeg_of("restarts")
    for marker in list(re.finditer(rb"\xff[\xd0-\xd7]", whole))[-3:]:
        for at in (marker.start(), marker.end()):
            assert jpeg_end.complete_jpeg(whole[:at]) == (None, True)


def test_complete_jpeg_progressive_without_last_scan_is_cut_short() -> None:
    whole = jpeg_of("progressive")
    last = whole.rindex(b"\xff\xda")
    tables = whole.rindex(b"\xff\xc4")
    assert jpeg_end.complete_jpeg(whole[: min(last, tables)]) == (None, True)


def test_complete_jpeg_few_missing_bytes_is_cut_short() -> None:
    for kind in KINDS:
        whole = jpeg_of(kind)
        for missing in (6, 12, 30):
            assert jpeg_end.complete_jpeg(whole[: -2 - missing]) == (None, True), (kind, missing)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\x00", b"\xff\xd8\xff\xda"])
def test_complete_jpeg_of_other_bytes_is_none(data: bytes) -> None:
    assert jpeg_end.complete_jpeg(data) == (None, False)


def test_complete_jpeg_of_seeded_damage_never_raises() -> None:
    rng = random.Random(11)
    whole = jpeg_of("progressive")
    for _ in range(60):
        data = bytearray(whole[: rng.randrange(2, len(whole))])
        for _ in range(rng.choice((1, 4))):
            data[rng.randrange(2, len(data))] = rng.randrange(256)
        completed, cut_short = jpeg_end.complete_jpeg(bytes(data))
        assert completed is None or (completed.endswith(jpeg_end.END) and not cut_short)
