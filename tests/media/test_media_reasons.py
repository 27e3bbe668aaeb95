"""Every rejection reason, each with a file generated for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from media.pictures import (
    exif,
    flat_png,
    jpeg_claiming,
    noise,
    photo,
    png_claiming,
    saved,
    webp_claiming,
)
from media.poison import ending_large_children, poison
from pinpoint.media.checks import REASONS, STAGES
from pinpoint.media.decoding.decode_request import DecodeRequest
from pinpoint.media.decoding.decoder import MAX_ATTEMPTS, ChildDecoder
from pinpoint.records import DecodedImage, MetadataOverride, Rejected
from pinpoint.settings import MediaSettings


@pytest.fixture(scope="module")
def shared_decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def _frames(kind: str) -> bytes:
    pages = [noise(seed=seed) for seed in range(5)]
    return saved(pages[0], kind, save_all=True, append_images=pages[1:])


def _future() -> bytes:
    tomorrow = datetime.now(UTC) + timedelta(days=3)
    return photo(detail={0x9003: f"{tomorrow:%Y:%m:%d %H:%M:%S}"})


def _bmp() -> bytes:
    return saved(noise(), "BMP")


GENERATED: list[tuple[str, Callable[[], bytes], dict[str, float]]] = [
    ("empty_file", lambda: b"", {}),
    ("too_large", photo, {"max_bytes": 200}),
    ("unsupported_format", _bmp, {}),
    ("unsupported_format", lambda: saved(noise(), "GIF"), {}),
    ("unsupported_format", lambda: saved(noise(), "JPEG2000"), {}),
    ("unsupported_format", lambda: b"just some words", {}),
    (
        "metadata_too_large",
        lambda: photo(icc_profile=bytes(70_000)),
        {"max_metadata_bytes": 50_000},
    ),
    ("metadata_too_large", lambda: photo(base={0x013B: "x" * 900}), {"max_metadata_bytes": 500}),
    ("too_many_frames", lambda: _frames("TIFF"), {"max_frames": 3}),
    ("too_many_frames", lambda: _frames("WEBP"), {"max_frames": 3}),
    ("too_many_frames", lambda: _frames("PNG"), {"max_frames": 3}),
    ("too_many_pixels", lambda: png_claiming(100_000, 100_000), {}),
    ("too_many_pixels", lambda: jpeg_claiming(65_500, 65_500), {}),
    ("too_many_pixels", lambda: webp_claiming(16_384, 16_384), {}),
    ("undecodable", lambda: photo()[:-900], {}),
    ("undecodable", lambda: b"\xff\xd8\xff" + bytes(100), {}),
    ("undecodable", lambda: b"RIFF\x10\x00\x00\x00WEBPVP8 ", {}),
    ("undecodable", lambda: b"\x00\x00\x00\x18ftypheic" + bytes(90), {}),
    ("undecodable", lambda: b"II*\x00" + bytes(90), {}),
    ("out_of_memory", lambda: flat_png(16_000, 12_000), {"memory_mb": 256}),
    ("timeout", lambda: flat_png(12_000, 12_000), {"timeout_s": 0.1}),
    ("no_position", lambda: saved(noise()), {}),
    ("incomplete_position", lambda: saved(noise(), exif=exif({1: "N", 2: (48.0, 1.0, 2.0)})), {}),
    ("null_island", lambda: photo(gps={2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}), {}),
    ("out_of_range", lambda: photo(gps={2: (95.0, 0.0, 0.0)}), {}),
    ("out_of_range", lambda: photo(gps={4: (181.0, 0.0, 0.0)}), {}),
    ("future_date", _future, {}),
]


@pytest.mark.parametrize(("reason", "make_file", "limits"), GENERATED)
def test_decoder_generated_file_is_rejected_with_reason(
    shared_decoder: ChildDecoder,
    reason: str,
    make_file: Callable[[], bytes],
    limits: dict[str, float],
) -> None:
    metadata_override = MetadataOverride(lat=48.0, lon=2.0) if STAGES[reason] == "decode" else None
    decoder_context = (
        ChildDecoder(MediaSettings(**limits)) if limits else nullcontext(shared_decoder)
    )
    with decoder_context as decoder:
        result = decoder.read("a.jpg", make_file(), metadata_override)
        assert isinstance(result, Rejected), result
        assert (result.error_code, result.error_stage) == (reason, STAGES[reason]), (
            result.error_message
        )
        assert result.file == "a.jpg"
        assert result.error_message
        # The decoder reads the next file normally.
        if "max_bytes" not in limits and "max_metadata_bytes" not in limits:
            assert isinstance(decoder.read("b.jpg", photo()), DecodedImage)


@pytest.mark.parametrize(
    "make_file", [lambda: png_claiming(90_000, 90_000), lambda: webp_claiming(16_000, 16_000)]
)
def test_decoder_claimed_pixels_are_not_allocated(make_file: Callable[[], bytes]) -> None:
    with ChildDecoder(MediaSettings()) as decoder:
        start = time.perf_counter()
        assert isinstance(decoder.read("bomb", make_file(), query=True), Rejected)
        assert time.perf_counter() - start < 5.0
        (pid,) = decoder.pids()
        assert _peak_mb(pid) < 200


def test_decoder_path_of_no_regular_file_is_missing_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    with ChildDecoder(MediaSettings()) as decoder:
        for name in (str(tmp_path / "fifo.jpg"), "/dev/zero", str(tmp_path), str(tmp_path / "no")):
            result = decoder.read(name, name)
            assert isinstance(result, Rejected)
            assert (result.error_stage, result.error_code) == ("read", "missing_file")
        assert decoder.pids() == ()


def test_decoder_child_killed_while_reading_retries_file() -> None:
    """The kernel may choose the child when another process takes the memory."""
    with ChildDecoder(MediaSettings()) as decoder:
        assert isinstance(decoder.read("a.jpg", photo()), DecodedImage)
        (pid,) = decoder.pids()
        os.kill(pid, signal.SIGSTOP)
        results: list[DecodedImage | Rejected] = []
        reading = threading.Thread(target=lambda: results.append(decoder.read("b.jpg", photo())))
        reading.start()
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        reading.join(30)
        assert isinstance(results[0], DecodedImage)
        assert decoder.pids() != (pid,)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGSEGV, "decoder_crashed"),
        (signal.SIGSYS, "decoder_crashed"),
        (signal.SIGKILL, "out_of_memory"),
    ],
)
def test_decoder_file_that_ends_two_children_is_rejected(number: int, reason: str) -> None:
    with ChildDecoder(MediaSettings()) as decoder, ending_large_children(number) as ended:
        assert isinstance(decoder.read("a.jpg", photo()), DecodedImage)
        result = decoder.read("b.png", poison())
        assert isinstance(result, Rejected)
        assert (result.error_stage, result.error_code) == ("decode", reason)
        assert len(ended) == MAX_ATTEMPTS
        assert isinstance(decoder.read("c.jpg", photo()), DecodedImage)


def test_decoder_over_cpu_time_is_timeout() -> None:
    class ShortCpuDecoder(ChildDecoder):
        def _make_request(self, *arguments: Any) -> DecodeRequest:
            return replace(super()._make_request(*arguments), cpu_s=0.1)

    palette = Image.new("P", (14_000, 14_000))
    slow = saved(palette, "PNG", compress_level=1, transparency=3)  # 1.4 s
    with ShortCpuDecoder(MediaSettings(timeout_s=60)) as decoder:
        result = decoder.read("slow.png", slow, query=True)
        assert isinstance(result, Rejected)
        assert (result.error_code, result.error_message) == (
            "timeout",
            "the file used up its CPU time",
        )


def test_decoder_child_killed_while_idle_is_replaced() -> None:
    with ChildDecoder(MediaSettings()) as decoder:
        assert isinstance(decoder.read("a.jpg", photo()), DecodedImage)
        os.kill(decoder.pids()[0], signal.SIGKILL)
        time.sleep(0.3)
        assert isinstance(decoder.read("b.jpg", photo()), DecodedImage)


def test_decoder_stopped_child_is_timeout() -> None:
    with ChildDecoder(MediaSettings(timeout_s=1.0)) as decoder:
        assert isinstance(decoder.read("a.jpg", photo()), DecodedImage)
        os.kill(decoder.pids()[0], signal.SIGSTOP)
        start = time.perf_counter()
        result = decoder.read("b.jpg", photo())
        assert isinstance(result, Rejected)
        assert result.error_code == "timeout"
        assert 0.9 < time.perf_counter() - start < 3.0


def test_reasons_have_stage_explanation_and_test() -> None:
    assert set(STAGES) == set(REASONS)
    tested_elsewhere = {"bad_name", "bad_row", "outside_root", "missing_file", "decoder_crashed"}
    tested_elsewhere |= {"ambiguous_track", "time_zone_unknown"}  # tests/media/test_media_tracks.py
    tested_elsewhere |= {
        "bad_metadata_override",
        "not_storable",
        "text_too_long",
    }  # tests/ingest/test_poisoned_rows.py
    tested_elsewhere |= {"unreadable_folder"}  # tests/ingest/test_register.py
    tested_elsewhere |= {  # tests/ingest/test_url_ingest.py, tests/outgoing
        reason for reason in REASONS if reason.startswith("url_")
    }
    tested_elsewhere |= {"crop_outside_image"}  # tests/media/test_media_crop.py
    assert {reason for reason, _, _ in GENERATED} | tested_elsewhere == set(REASONS)
    assert all(text.endswith(".") for text in REASONS.values())


def test_decoder_large_valid_picture_is_read_quickly() -> None:
    large = saved(Image.new("RGB", (12_000, 9_000), (90, 120, 60)), "JPEG")
    with ChildDecoder(MediaSettings()) as decoder:
        assert isinstance(decoder.read("a.jpg", photo()), DecodedImage)
        start = time.perf_counter()
        result = decoder.read("large.jpg", large, query=True)
        assert isinstance(result, DecodedImage)
        assert time.perf_counter() - start < 6.0
        assert result.faces[0].pixels.shape == (512, 683, 3)
        assert (result.capture.width_px, result.capture.height_px) == (12_000, 9_000)


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
