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
def answers(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[str, set[str], RawMetadata, dict]]:
    """For each file: its name, its traits, what we read, what exiftool reads."""
    if shutil.which("exiftool") is None:
        pytest.fail("exiftool is missing: `make setup` installs it (libimage-exiftool-perl)")
    folder = tmp_path_factory.mktemp("oracle")
    made = {}
    for seed in range(FILES):
        name, data, traits = make_file(seed)
        (folder / name).write_bytes(data)
        made[name] = traits
    told = _ask_exiftool(folder)
    assert sorted(told) == sorted(made)
    return [(name, traits, _read(folder / name), told[name]) for name, traits in made.items()]


def _ask_exiftool(folder: Path) -> dict[str, dict]:
    command = ["exiftool", "-json", "-n", "-a", "-G1", "-r", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {Path(one["SourceFile"]).name: one for one in json.loads(done.stdout)}


def _read(path: Path) -> RawMetadata:
    image = Image.open(io.BytesIO(path.read_bytes()))
    if image.format == "PNG":
        image.load()
    return read_raw_metadata(image)


def _number(value: object) -> float | None:
    """Numbers of exiftool; it writes `undef` and `inf` for parts over 0."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _position(told: dict) -> tuple[float, float] | None:
    """The first position by exiftool: EXIF with its references, XMP, the drone's."""
    for group in ("Composite", "XMP-exif", "XMP-drone-dji"):
        lat = _number(told.get(f"{group}:GPSLatitude"))
        lon = _number(told.get(f"{group}:GPSLongitude"))
        if lat is not None and lon is not None:
            return lat, lon
    return None


def _time(told: dict) -> datetime | None:
    """The first time by exiftool, in UTC; a time without an offset read as UTC."""
    text = told.get("ExifIFD:DateTimeOriginal")
    if text is not None and not text.startswith("0000"):
        fraction = told.get("ExifIFD:SubSecTimeOriginal")
        text += f".{fraction}" if fraction is not None else ""
        text += told.get("ExifIFD:OffsetTimeOriginal", "")
        return _parse(text)
    for tag in ("XMP-photoshop:DateCreated", "ExifIFD:CreateDate", "Composite:GPSDateTime"):
        if tag in told:
            return _parse(told[tag])
    return _parse(told.get("IFD0:ModifyDate"))


def _parse(text: str | None) -> datetime | None:
    if text is None:
        return None
    day, _, rest = text.partition(" ")
    try:
        moment = datetime.fromisoformat(f"{day.replace(':', '-')}T{rest}")
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _differs(field: str, facts: RawMetadata, told: dict) -> str:
    """Empty where both agree, else what they say."""
    if field == "time":
        ours, theirs = facts.captured_at, _time(told)
        return "" if ours == theirs else f"{ours} and {theirs}"
    if field == "position":
        theirs = _position(told)
        if facts.lat is None or facts.lon is None or theirs is None:
            both_none = theirs is None and (facts.lat is None or facts.lon is None)
            return "" if both_none else f"{facts.lat}, {facts.lon} and {theirs}"
        apart = max(abs(facts.lat - theirs[0]), abs(facts.lon - theirs[1]))
        return "" if apart < 1e-6 else f"{facts.lat}, {facts.lon} and {theirs}"
    tag = {"heading": "GPS:GPSImgDirection", "altitude": "Composite:GPSAltitude"}[field]
    ours = facts.heading_deg if field == "heading" else facts.altitude_m
    theirs = _number(told.get(tag))
    if ours is None or theirs is None:
        return "" if ours is theirs else f"{ours} and {theirs}"
    return "" if abs(ours - theirs) < 1e-6 else f"{ours} and {theirs}"


def test_read_raw_metadata_seeded_files_equal_exiftool_or_listed_difference(answers: list) -> None:
    shown: set[tuple[str, str]] = set()
    unexplained = []
    for name, traits, facts, told in answers:
        for field in ("position", "time", "heading", "altitude"):
            if not (difference := _differs(field, facts, told)):
                continue
            reasons = {key for key in DIFFERENCES if key[0] == field and key[1] in traits}
            shown |= reasons
            if not reasons:
                unexplained.append(f"{name} {sorted(traits)} {field}: {difference}")
    assert not unexplained, "\n".join(unexplained)
    assert set(DIFFERENCES) - shown == set(), "entries of DIFFERENCES that no file shows"


def test_seeded_files_cover_every_style(answers: list) -> None:
    seen = set().union(*(traits for _, traits, _, _ in answers))
    assert {style.__name__ for style in (*POSITIONS, *TIMES)} <= seen
    assert {"JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"} <= seen


def test_read_raw_metadata_listed_differences_give_intended_value(answers: list) -> None:
    for _, traits, facts, _ in answers:
        if "signed" in traits:
            assert max(facts.lat, facts.lon) < 0
        if "in_xmp_with_reference" in traits:
            assert max(facts.lat, facts.lon) < 0
        if traits & {"contradiction", "no_reference", "no_minutes", "many_minutes"}:
            assert facts.lat is None or facts.lon is None
        if "zero_and_xmp" in traits:
            assert (facts.position_source, len(facts.warnings) >= 1) == ("xmp", True)
        if "hour_24" in traits:
            assert facts.captured_at == datetime(2015, 8, 22, 22, 8, 19, tzinfo=UTC)
        if "with_satellites" in traits:
            assert (facts.captured_at.hour, facts.time_assumed_utc) == (10, False)
