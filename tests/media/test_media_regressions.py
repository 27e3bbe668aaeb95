"""The inputs that were once read wrongly, made by the program beside the real test files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from media.jpeg_metadata import utc
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import DecodedImage, MetadataOverride, Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

LIMA = (-12.0464, -77.0428)

CASES: dict[str, tuple[tuple[float, float] | str, datetime | None, str | None, str]] = {
    "F1/a_modify_with_offset.jpg": (
        *(LIMA, utc("2015-06-01T10:00:00"), "exif_original"),
        "belongs to another time",
    ),
    "F1/b_xmp_create_with_offset.jpg": (
        *(LIMA, utc("2015-06-01T10:00:00"), "exif_original"),
        "another time is xmp:CreateDate",
    ),
    "F1/d_only_modify_but_xmp_created.jpg": (
        *(LIMA, utc("2015-06-29T14:12:41"), "xmp_created"),
        "",
    ),
    "F2/1970.jpg": (LIMA, utc("2022-10-30T20:30:00"), "exif_original", "satellite clock"),
    "F2/one_day_off.jpg": (LIMA, utc("2022-10-30T20:30:00"), "exif_original", "satellite clock"),
    "F3/a_signed_dms.jpg": (LIMA, None, None, ""),
    "F4/a_both.jpg": ((-33.8568, 151.2153), None, None, ""),
    "F4/b_west.jpg": ((43.0764, -79.0770), None, None, ""),
    "F5/a_minutes_over_zero.jpg": ("incomplete_position", None, None, ""),
    "F8/a_no_eoi.jpg": (LIMA, None, None, "end marker is missing"),
    "F9/a.jpg": (LIMA, utc("2007-04-08T15:25:46"), "exif_original", "2 EXIF blocks"),
    "F11/a.jpg": (LIMA, utc("2015-08-22T22:08:19"), "exif_original", "hour 24"),
    "F12/a.jpg": ((44.5135795, -64.3007844), None, None, ""),
    "F14/a.heic": (LIMA, None, None, ""),
    "F14/b_app1.png": (LIMA, None, None, ""),
}
"""File → (position or reason, time, its source, what a warning has)."""

NOON = utc("2024-06-01T10:10:30")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = shared_data().parent / "cases" / "readings.py"
    if not program.is_file():
        pytest.skip(f"no program at {program} that makes the cases")
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, str(program), str(folder)], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


@pytest.mark.parametrize("name", CASES)
def test_decoder_regression_file_gives_expected_metadata(
    cases: Path, decoder: ChildDecoder, name: str
) -> None:
    expected, captured_at, source, warning_part = CASES[name]
    result = decoder.read(name, (cases / name).read_bytes())
    if isinstance(expected, str):
        assert isinstance(result, Rejected)
        assert result.error_code == expected
        return
    assert isinstance(result, DecodedImage), result
    capture = result.capture
    assert (capture.point.lat, capture.point.lon) == pytest.approx(expected, abs=1e-6)
    assert (capture.captured_at, capture.time_source) == (captured_at, source)
    assert [warning_part in text for text in capture.warnings] == [True] * bool(warning_part)


@pytest.mark.parametrize("name", ["a_unpadded.jpg", "b_no_colon.jpg", "c_in_the_time.jpg"])
def test_decoder_offset_in_other_spelling_is_read(
    cases: Path, decoder: ChildDecoder, name: str
) -> None:
    track = str(cases / "F7" / "walk.gpx")
    result = decoder.read(name, (cases / "F7" / name).read_bytes(), MetadataOverride(track=track))
    assert isinstance(result, DecodedImage), result
    assert (result.capture.captured_at, result.capture.time_source) == (NOON, "exif_original")
    assert result.capture.point.lat == pytest.approx(48.0105, abs=1e-6)


def test_decoder_drone_photo_uses_gimbal_heading(cases: Path, decoder: ChildDecoder) -> None:
    result = decoder.read("a.jpg", (cases / "F12" / "a.jpg").read_bytes())
    assert isinstance(result, DecodedImage)
    assert result.capture.heading_deg == pytest.approx(84.2)
    assert result.capture.position_source == "xmp"
