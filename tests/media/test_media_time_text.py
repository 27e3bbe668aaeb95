"""How files write times and offsets: every spelling is read or noted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from media.jpeg_metadata import OFFSET_ORIGINAL, ORIGINAL, TAKEN, read_tags, utc
from pinpoint.media.metadata.times import parse_offset, parse_time
from pinpoint.records import TIME_SOURCES

# --- F7, F11: how times and offsets are written --------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("+02:00", 2),
        ("+2:00", 2),
        ("+0200", 2),
        ("+02", 2),
        ("+2", 2),
        ("UTC+2", 2),
        ("GMT+02:00", 2),
        ("utc+2", 2),
        ("-3:30", -3.5),
        ("-0330", -3.5),
        ("+5.5", 5.5),
        ("+05:45", 5.75),
        (" +02:00 ", 2),
        ("\u221202:00", -2),
        ("Z", 0),
        ("z", 0),
        ("UTC", 0),
        ("+00:00", 0),
        ("+14:00", 14),
        ("-12", -12),
        ("+02:00:00", 2),
    ],
)
def test_parse_offset_known_spellings_give_offset(text: str, hours: float) -> None:
    offset = parse_offset(text)
    assert offset is not None
    assert offset.utcoffset(None) == timedelta(hours=hours)
    expected = utc("2024-06-01T12:10:30.25") - timedelta(hours=hours)
    metadata = read_tags(exif__DateTimeOriginal=f"2024-06-01T12:10:30.25{text.strip()}")
    assert (metadata.captured_at, metadata.time_assumed_utc) == (expected, False)
    if text.isascii():  # EXIF's texts are
        for detail in (
            {ORIGINAL: "2024:06:01 12:10:30.25", OFFSET_ORIGINAL: text},
            {ORIGINAL: f"2024:06:01 12:10:30.25{text}"},
        ):
            assert read_tags(detail=detail).captured_at == expected


@pytest.mark.parametrize(
    "text", ["", "+99:99", "+15:00", "+02:60", "CEST", "02:00", "+", "++2", "+2:0:", None]
)
def test_parse_offset_of_other_text_is_none(text: str | None) -> None:
    assert parse_offset(text) is None


def test_unreadable_offset_adds_warning() -> None:
    for metadata in (
        read_tags(detail={ORIGINAL: TAKEN, OFFSET_ORIGINAL: "CEST"}),
        read_tags(detail={ORIGINAL: f"{TAKEN} CEST"}),
    ):
        assert (metadata.captured_at, metadata.time_assumed_utc) == (
            utc("2015-06-01T10:00:00"),
            True,
        )
        assert "cannot be read" in metadata.warnings[0]


@pytest.mark.parametrize(
    ("text", "expected", "warning_part"),
    [
        ("2015:08:22 24:08:19", "2015-08-23T00:08:19", "hour 24; read as the next day"),
        ("2015:12:31 24:00:00", "2016-01-01T00:00:00", "hour 24"),
        ("2016:12:31 23:59:60", "2017-01-01T00:00:00", "second 60; read as the next minute"),
        ("2015:08:22 14:08:19.25", "2015-08-22T14:08:19.250", None),
        ("2015-08-22T14:08:19", "2015-08-22T14:08:19", None),
        ("2015/08/22 14:08:19", "2015-08-22T14:08:19", None),
        ("2015: 8:22  4: 8: 9", "2015-08-22T04:08:09", None),
        ("2015:08:22 14:08", "2015-08-22T14:08:00", None),
        ("20150822T140819", "2015-08-22T14:08:19", None),
        ("2015:08:22 02:08:19 PM", "2015-08-22T14:08:19", None),
        ("2015:08:22 12:08:19 am", "2015-08-22T00:08:19", None),
    ],
)
def test_parse_time_unusual_spellings_give_time(
    text: str, expected: str, warning_part: str | None
) -> None:
    metadata = read_tags(detail={ORIGINAL: text})
    assert metadata.captured_at == utc(expected)
    assert (
        [warning_part in text for text in metadata.warnings] == [True]
        if warning_part
        else not metadata.warnings
    )


@pytest.mark.parametrize(
    "text", ["2015:08:22 25:00:00", "2015:08:22 10:60:00", "2015:02:30 10:00:00", "yesterday"]
)
def test_parse_time_invalid_text_adds_warning(text: str) -> None:
    metadata = read_tags(detail={ORIGINAL: text})
    assert (metadata.captured_at, metadata.time_source) == (None, None)
    assert "is no time; not used" in metadata.warnings[0]


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", ""])
def test_parse_time_blank_text_adds_no_warning(text: str) -> None:
    metadata = read_tags(detail={ORIGINAL: text})
    assert (metadata.captured_at, metadata.warnings) == (None, ())


def test_parse_time_before_first_photograph_is_ignored() -> None:
    metadata = read_tags(detail={ORIGINAL: "0001:01:01 00:00:00", OFFSET_ORIGINAL: "+01:00"})
    assert metadata.captured_at is None
    assert "is no time" in metadata.warnings[0]
    assert read_tags(detail={ORIGINAL: "1827:01:01 00:00:00"}).captured_at == utc(
        "1827-01-01T00:00:00"
    )


def test_parse_time_beyond_calendar_adds_warning() -> None:
    metadata = read_tags(detail={ORIGINAL: "9999:12:31 23:00:00", OFFSET_ORIGINAL: "-02:00"})
    assert metadata.captured_at is None
    assert "beyond the calendar" in metadata.warnings[0]


def test_clock_instant_applies_offset() -> None:
    clock = parse_time("2024-06-01T12:00:00+02:00", "exif_original", "DateTimeOriginal")
    assert clock is not None
    assert clock.offset == timezone(timedelta(hours=2))
    assert clock.instant == datetime(2024, 6, 1, 10)
    assert clock.source in TIME_SOURCES
