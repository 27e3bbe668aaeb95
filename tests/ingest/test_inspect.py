"""Metadata of real files from other sources, compared with exiftool."""

from __future__ import annotations

import csv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from media.pictures import exif, gpx, noise, photo, saved
from pinpoint.ingest.inspect import Inspected, inspect_files, used_manifest
from pinpoint.media.checks import REASONS
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.files import SIDECARS
from pinpoint.records import ReadOptions
from pinpoint.settings import MediaSettings
from shared_data import shared_data

EXCEPTIONS = {
    # Truncated inside its pixels; an incomplete picture is rejected, with or without a position.
    "odd/Pillow/Tests/images/ultrahdr.jpg": "undecodable",
    # Its gain map has a gamma of zero on purpose; libavif rejects the whole file.
    "odd/libavif/tests/data/seine_sdr_gainmap_gammazero.avif": "undecodable",
}


@pytest.fixture(scope="module")
def inspected() -> dict[str, Inspected]:
    """Every real file by path, read with two children; no path may occur twice."""
    root, settings = shared_data(), MediaSettings()
    entries: dict[str, Inspected] = {}
    with ChildDecoder(settings, children=2) as decoder:
        for top in ("photos", "odd"):
            for entry in inspect_files(root / top, decoder, settings, threads=2):
                name = f"{top}/{entry.file}"
                assert name not in entries
                entries[name] = entry
        peaks = [_peak_mb(pid) for pid in decoder.pids()]
    assert max(peaks) < 2_000
    return entries


@pytest.fixture(scope="module")
def exiftool_rows() -> dict[str, dict[str, str]]:
    with (shared_data() / "exiftool.csv").open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


def test_inspect_files_reports_every_file_once(inspected: dict[str, Inspected]) -> None:
    root = shared_data()
    expected_names = {
        path.relative_to(root).as_posix()
        for top in ("photos", "odd")
        for path in (root / top).rglob("*")
        if path.is_file() and path.suffix.lower() not in SIDECARS
    }
    assert set(inspected) == expected_names
    for entry in inspected.values():
        assert (entry.capture is None) != (entry.rejected is None)
        assert entry.seconds < 10.0
        assert entry.rejected is None or entry.rejected.error_code in REASONS
    reasons = Counter(entry.rejected.error_code for entry in inspected.values() if entry.rejected)
    assert not {"decoder_crashed", "timeout", "out_of_memory"} & set(reasons)
    assert reasons["empty_file"] == 3


def test_inspect_files_positions_equal_exiftool(
    inspected: dict[str, Inspected], exiftool_rows: dict[str, dict[str, str]]
) -> None:
    rejected_codes: dict[str, str] = {}
    agreed = 0
    for name, row in exiftool_rows.items():
        entry = inspected[name]
        if row["gps_class"] != "ok":
            continue
        if entry.rejected is not None:
            rejected_codes[name] = entry.rejected.error_code
            continue
        assert entry.capture is not None
        assert entry.capture.point.lat == pytest.approx(float(row["lat"]), abs=1e-4), name
        assert entry.capture.point.lon == pytest.approx(float(row["lon"]), abs=1e-4), name
        agreed += 1
    assert rejected_codes == EXCEPTIONS
    assert agreed == 50


def test_inspect_files_gives_no_position_where_exiftool_has_none(
    inspected: dict[str, Inspected], exiftool_rows: dict[str, dict[str, str]]
) -> None:
    with_position = {
        name for name, entry in inspected.items() if entry.capture and name in exiftool_rows
    }
    assert with_position <= {
        name for name, row in exiftool_rows.items() if row["gps_class"] == "ok"
    }
    for name, row in exiftool_rows.items():
        rejected = inspected[name].rejected
        if row["gps_class"] == "half":
            assert rejected is not None
            assert rejected.error_code == "incomplete_position"


def test_inspect_files_headings_and_altitudes_equal_exiftool(
    inspected: dict[str, Inspected], exiftool_rows: dict[str, dict[str, str]]
) -> None:
    compared = 0
    for name, row in exiftool_rows.items():
        capture = inspected[name].capture
        if capture is None:
            continue
        if row["img_direction"]:
            assert capture.heading_deg == pytest.approx(float(row["img_direction"]), abs=0.01)
            compared += 1
        if row["alt_m"]:
            assert capture.altitude_m == pytest.approx(float(row["alt_m"]), abs=0.01)
    assert compared > 15


def test_inspect_files_billions_of_pixels_rejected_before_decoding(
    inspected: dict[str, Inspected], exiftool_rows: dict[str, dict[str, str]]
) -> None:
    huge_names = [
        name
        for name, row in exiftool_rows.items()
        if float(row["width"] or 0) * float(row["height"] or 0) > 1e9
    ]
    assert huge_names
    for name in huge_names:
        rejected = inspected[name].rejected
        assert rejected is not None
        assert rejected.error_stage == "read"
        assert inspected[name].seconds < 1.0


@pytest.mark.timeout(120)
def test_decoder_real_files_crash_no_child() -> None:
    """`inspect` decodes no pixels of a file without a position; this test decodes all."""
    settings = MediaSettings()
    paths = [
        path
        for top in ("photos", "odd")
        for path in sorted((shared_data() / top).rglob("*"))
        if path.is_file()
    ]
    with ChildDecoder(settings, children=2) as decoder, ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: decoder.read(path.name, str(path), query=True), paths))
        assert max(_peak_mb(pid) for pid in decoder.pids()) < 2_000
    reasons = Counter(getattr(result, "error_code", "read") for result in results)
    assert not {"decoder_crashed", "timeout", "out_of_memory"} & set(reasons)
    assert reasons["read"] > 850


def test_inspect_folder_with_photos_track_and_text_reads_photos(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo())
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "walked.png").write_bytes(
        saved(noise(), "PNG", exif=exif(detail={0x9003: "2020:02:03 12:00:00", 0x9011: "+00:00"}))
    )
    (tmp_path / "walk.gpx").write_bytes(gpx((5.0, 6.0, "2020-02-03T12:00:00Z")))
    settings = MediaSettings()
    with ChildDecoder(settings) as decoder:
        inspected = {entry.file: entry for entry in inspect_files(tmp_path, decoder, settings)}
        (single,) = inspect_files(tmp_path / "walked.png", decoder, settings)
    assert list(inspected) == ["good.jpg", "walked.png"]
    assert inspected["walked.png"].capture is not None
    assert inspected["walked.png"].capture.position_source == "gpx"
    assert single.capture == inspected["walked.png"].capture


def test_inspect_manifest_reports_every_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    text = "file,lat,lon\na.jpg,1,2\nb.jpg,1,2\na.jpg,99,2\na.jpg,,\n"
    (tmp_path / "m.csv").write_text(text)
    settings = MediaSettings()
    with ChildDecoder(settings) as decoder:
        inspected = list(inspect_files(tmp_path / "m.csv", decoder, settings, threads=2))
    assert [entry.rejected and entry.rejected.error_code for entry in inspected] == [
        None,
        "missing_file",
        "out_of_range",
        None,
    ]
    positions = [entry.capture and entry.capture.position_source for entry in inspected]
    assert positions == ["manifest", None, None, "exif"]


def test_inspect_folder_with_manifest_reads_rows_then_other_photos(
    tmp_path: Path,
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(photo())
    path = tmp_path / "m.csv"
    path.write_text("file,y,x\nb.jpg,-33.4,-70.6\nc.jpg,99,1\n")
    settings = MediaSettings()
    options = ReadOptions(columns={"y": "latitude", "x": "longitude"})
    assert used_manifest(tmp_path) == path
    with ChildDecoder(settings) as decoder:
        inspected = list(inspect_files(tmp_path, decoder, settings, manifest=path, options=options))
        plain = list(inspect_files(tmp_path, decoder, settings))
    assert [entry.file for entry in inspected] == ["b.jpg", "c.jpg", "a.jpg"]
    sources = [entry.capture and entry.capture.position_source for entry in inspected]
    assert sources == ["manifest", None, "exif"]
    assert [entry.file for entry in plain] == ["a.jpg", "b.jpg", "c.jpg"]


def test_inspect_manifest_row_without_position_uses_track(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(noise()))
    (tmp_path / "m.csv").write_text("file,captured_at\na.jpg,2020-02-03T14:00:00+02:00\n")
    (tmp_path / "walk.gpx").write_bytes(gpx((5.0, 6.0, "2020-02-03T12:00:00Z")))
    settings = MediaSettings()
    with ChildDecoder(settings) as decoder:
        (entry,) = inspect_files(tmp_path / "m.csv", decoder, settings)
    assert entry.capture is not None
    assert entry.capture.position_source == "gpx"
    assert (entry.capture.point.lat, entry.capture.point.lon) == (5.0, 6.0)


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
