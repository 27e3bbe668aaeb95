"""Sixty seeded files read by Pinpoint and by exiftool; every difference has a reason below."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from media.oracle_files import POSITIONS, TIMES, make_file
from pinpoint.media.metadata.file_metadata import read_raw_metadata
from pinpoint.media.metadata.raw_metadata import RawMetadata

FILES = 60

DIFFERENCES: dict[tuple[str, str], str] = {
    ("position", "decimal_minutes"): "exiftool makes nothing or 0 of seconds of 0/0; the minutes "
    "have the fraction, so we read them",
    ("position", "contradiction"): "a negative latitude with the reference N is refused",
    ("position", "no_minutes"): "exiftool leaves parts over 0 out: up to 89 km off",
    ("position", "many_minutes"): "exiftool adds 75 minutes up; that is no angle",
    ("position", "in_xmp_with_reference"): "exiftool reads XMP coordinates without the reference "
    "beside them",
    ("position", "zero_and_xmp"): "exiftool's first position is 0/0; we take XMP's",
    ("time", "short_offset"): "exiftool prints the offset as written; we read it",
    ("time", "changed_at_once"): "both times have one wall clock, so the offset of the change fits",
    ("time", "with_satellites"): "the satellite clock two hours earlier gives the time zone",
    ("time", "hour_24"): "exiftool prints hour 24; we read the next day",
}
"""(field, trait) → why the two differ. An entry that no file shows any longer fails the test."""


@pytest.fixture(scope="module")
def readings(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[str, set[str], RawMetadata, dict]]:
    """For each file: its name, its traits, the metadata of Pinpoint and of exiftool."""
    if shutil.which("exiftool") is None:
        pytest.fail("exiftool is missing: `make setup` installs it (libimage-exiftool-perl)")
    folder = tmp_path_factory.mktemp("oracle")
    traits_by_name = {}
    for seed in range(FILES):
        name, data, traits = make_file(seed)
        (folder / name).write_bytes(data)
        traits_by_name[name] = traits
    exiftool_tags = run_exiftool(folder)
    assert sorted(exiftool_tags) == sorted(traits_by_name)
    return [
        (name, traits, read_file(folder / name), exiftool_tags[name])
        for name, traits in traits_by_name.items()
    ]


def run_exiftool(folder: Path) -> dict[str, dict]:
    command = ["exiftool", "-json", "-n", "-a", "-G1", "-r", str(folder)]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {Path(entry["SourceFile"]).name: entry for entry in json.loads(completed.stdout)}


def read_file(path: Path) -> RawMetadata:
    image = Image.open(io.BytesIO(path.read_bytes()))
    if image.format == "PNG":
        image.load()
    return read_raw_metadata(image)


def parse_number(value: object) -> float | None:
    """Numbers of exiftool; it writes `undef` and `inf` for parts over 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def exiftool_position(exiftool_tags: dict) -> tuple[float, float] | None:
    """The first position by exiftool: EXIF with its references, XMP, the drone's."""
    for group in ("Composite", "XMP-exif", "XMP-drone-dji"):
        lat = parse_number(exiftool_tags.get(f"{group}:GPSLatitude"))
        lon = parse_number(exiftool_tags.get(f"{group}:GPSLongitude"))
        if lat is not None and lon is not None:
            return lat, lon
    return None


def exiftool_time(exiftool_tags: dict) -> datetime | None:
    """The first time by exiftool, in UTC; a time without an offset read as UTC."""
    text = exiftool_tags.get("ExifIFD:DateTimeOriginal")
    if text is not None and not text.startswith("0000"):
        fraction = exiftool_tags.get("ExifIFD:SubSecTimeOriginal")
        text += f".{fraction}" if fraction is not None else ""
        text += exiftool_tags.get("ExifIFD:OffsetTimeOriginal", "")
        return parse_time(text)
    for tag in ("XMP-photoshop:DateCreated", "ExifIFD:CreateDate", "Composite:GPSDateTime"):
        if tag in exiftool_tags:
            return parse_time(exiftool_tags[tag])
    return parse_time(exiftool_tags.get("IFD0:ModifyDate"))


def parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    day, _, rest = text.partition(" ")
    try:
        moment = datetime.fromisoformat(f"{day.replace(':', '-')}T{rest}")
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def describe_difference(field: str, metadata: RawMetadata, exiftool_tags: dict) -> str:
    """Empty if both agree, otherwise both values."""
    if field == "time":
        ours, theirs = metadata.captured_at, exiftool_time(exiftool_tags)
        return "" if ours == theirs else f"{ours} and {theirs}"
    if field == "position":
        position = exiftool_position(exiftool_tags)
        if metadata.lat is None or metadata.lon is None or position is None:
            both_none = position is None and (metadata.lat is None or metadata.lon is None)
            return "" if both_none else f"{metadata.lat}, {metadata.lon} and {position}"
        distance_deg = max(abs(metadata.lat - position[0]), abs(metadata.lon - position[1]))
        return "" if distance_deg < 1e-6 else f"{metadata.lat}, {metadata.lon} and {position}"
    tag = {"heading": "GPS:GPSImgDirection", "altitude": "Composite:GPSAltitude"}[field]
    number = metadata.heading_deg if field == "heading" else metadata.altitude_m
    expected = parse_number(exiftool_tags.get(tag))
    if number is None or expected is None:
        return "" if number is expected else f"{number} and {expected}"
    return "" if abs(number - expected) < 1e-6 else f"{number} and {expected}"


def test_read_raw_metadata_seeded_files_equal_exiftool_or_listed_difference(readings: list) -> None:
    used_differences: set[tuple[str, str]] = set()
    unexplained = []
    for name, traits, metadata, exiftool_tags in readings:
        for field in ("position", "time", "heading", "altitude"):
            if not (difference := describe_difference(field, metadata, exiftool_tags)):
                continue
            reasons = {key for key in DIFFERENCES if key[0] == field and key[1] in traits}
            used_differences |= reasons
            if not reasons:
                unexplained.append(f"{name} {sorted(traits)} {field}: {difference}")
    assert not unexplained, "\n".join(unexplained)
    assert set(DIFFERENCES) - used_differences == set(), "entries of DIFFERENCES that no file shows"


def test_seeded_files_cover_every_style(readings: list) -> None:
    traits_seen = set().union(*(traits for _, traits, _, _ in readings))
    assert {style.__name__ for style in (*POSITIONS, *TIMES)} <= traits_seen
    assert {"JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"} <= traits_seen


def test_read_raw_metadata_listed_differences_give_intended_value(readings: list) -> None:
    for _, traits, metadata, _ in readings:
        if "signed" in traits:
            assert max(metadata.lat, metadata.lon) < 0
        if "in_xmp_with_reference" in traits:
            assert max(metadata.lat, metadata.lon) < 0
        if traits & {"contradiction", "no_reference", "no_minutes", "many_minutes"}:
            assert metadata.lat is None or metadata.lon is None
        if "zero_and_xmp" in traits:
            assert (metadata.position_source, len(metadata.warnings) >= 1) == ("xmp", True)
        if "hour_24" in traits:
            assert metadata.captured_at == datetime(2015, 8, 22, 22, 8, 19, tzinfo=UTC)
        if "with_satellites" in traits:
            assert (metadata.captured_at.hour, metadata.time_assumed_utc) == (10, False)
