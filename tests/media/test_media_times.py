"""Which time of a file is used, which offset applies to it, and the warnings about the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from media.jpeg_metadata import (
    CHANGED,
    DIGITIZED,
    EVENING,
    OFFSET,
    OFFSET_DIGITIZED,
    OFFSET_ORIGINAL,
    ORIGINAL,
    SUBSEC,
    SUBSEC_ORIGINAL,
    TAKEN,
    gps_clock,
    read_tags,
    utc,
)
from media.pictures import photo
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import DecodedImage
from pinpoint.settings import MediaSettings

# --- F1: what was written later does not outrank when it was taken -------------------------------


@pytest.mark.parametrize(
    ("base", "detail", "properties", "expected", "source", "assumed", "warning_part"),
    [
        # The offset of the last change does not belong to the time of capture.
        (
            {CHANGED: "2023:01:15 18:00:00"},
            {ORIGINAL: TAKEN, OFFSET: "+01:00"},
            {},
            "2015-06-01T10:00:00",
            "exif_original",
            True,
            "belongs to another time",
        ),
        # It does if both have the same wall clock.
        (
            {CHANGED: TAKEN},
            {ORIGINAL: TAKEN, OFFSET: "+01:00"},
            {},
            "2015-06-01T09:00:00",
            "exif_original",
            False,
            "that of DateTime fits",
        ),
        (
            {},
            {ORIGINAL: TAKEN, DIGITIZED: TAKEN, OFFSET_DIGITIZED: "-03:30"},
            {},
            "2015-06-01T13:30:00",
            "exif_original",
            False,
            "that of DateTimeDigitized",
        ),
        # A scan of a slide: the digitized time differs, and so does its offset.
        (
            {},
            {
                ORIGINAL: "1985:07:20 12:00:00",
                DIGITIZED: "2016:01:02 03:04:05",
                OFFSET_DIGITIZED: "+01:00",
            },
            {},
            "1985-07-20T12:00:00",
            "exif_original",
            True,
            "DateTimeDigitized 2016-01-02",
        ),
        # An offset without its time is not used.
        (
            {},
            {ORIGINAL: TAKEN, OFFSET: "+01:00"},
            {},
            "2015-06-01T10:00:00",
            "exif_original",
            True,
            None,
        ),
        (
            {},
            {ORIGINAL: TAKEN},
            {"xmp__CreateDate": "2023-01-15T18:00:00+01:00"},
            "2015-06-01T10:00:00",
            "exif_original",
            True,
            "another time is xmp:CreateDate 2023-01-15",
        ),
        (
            {},
            {ORIGINAL: TAKEN},
            {"xmp__CreateDate": "2015-06-01T10:00:00+02:00"},
            "2015-06-01T08:00:00",
            "exif_original",
            False,
            "that of xmp:CreateDate",
        ),
        # The same instant in another zone.
        (
            {},
            {ORIGINAL: TAKEN},
            {"photoshop__DateCreated": "2015-06-01T08:00:00Z"},
            "2015-06-01T08:00:00",
            "exif_original",
            False,
            "the same instant",
        ),
        (
            {},
            {ORIGINAL: TAKEN},
            {"photoshop__DateCreated": "2015-06-01T08:07:00Z"},
            "2015-06-01T10:00:00",
            "exif_original",
            True,
            "another time is",
        ),
        # The offset of the time itself is used.
        (
            {CHANGED: TAKEN},
            {ORIGINAL: TAKEN, OFFSET_ORIGINAL: "+02:00", OFFSET: "+01:00"},
            {},
            "2015-06-01T08:00:00",
            "exif_original",
            False,
            None,
        ),
        # The creation time precedes the time of the last change.
        (
            {CHANGED: "2015:08:02 16:02:20"},
            {},
            {"photoshop__DateCreated": "2015-06-29T14:12:41"},
            "2015-06-29T14:12:41",
            "xmp_created",
            True,
            None,
        ),
        (
            {CHANGED: "2015:08:02 16:02:20"},
            {},
            {"xmp__CreateDate": "2015-06-29T14:12:41"},
            "2015-06-29T14:12:41",
            "xmp_created",
            True,
            None,
        ),
        (
            {CHANGED: "2015:08:02 16:02:20"},
            {DIGITIZED: TAKEN},
            {},
            "2015-06-01T10:00:00",
            "exif_digitized",
            True,
            None,
        ),
        (
            {},
            {DIGITIZED: "2016:01:01 00:00:00"},
            {"exif__DateTimeOriginal": "2015-06-01T10:00:00"},
            "2015-06-01T10:00:00",
            "xmp_original",
            True,
            "DateTimeDigitized 2016-01-01",
        ),
        (
            {CHANGED: "2015:08:02 16:02:20"},
            {},
            {},
            "2015-08-02T16:02:20",
            "exif_modified",
            True,
            None,
        ),
        # The time of the last change in XMP is no time of capture, but its offset may fit.
        ({}, {}, {"xmp__ModifyDate": "2015-08-02T16:02:20+02:00"}, None, None, False, None),
        (
            {CHANGED: "2015:08:02 16:02:20"},
            {},
            {"xmp__ModifyDate": "2015-08-02T16:02:20+02:00"},
            "2015-08-02T14:02:20",
            "exif_modified",
            False,
            "that of xmp:ModifyDate",
        ),
        (
            {},
            {ORIGINAL: "0000:00:00 00:00:00"},
            {"xmp__CreateDate": "2015-06-01T10:00:00Z"},
            "2015-06-01T10:00:00",
            "xmp_created",
            False,
            None,
        ),
        # TimeZoneOffset of TIFF/EP.
        ({}, {ORIGINAL: TAKEN, 0x882A: 2}, {}, "2015-06-01T08:00:00", "exif_original", False, None),
    ],
)
def test_choose_time_several_times_uses_capture_time(
    base: dict,
    detail: dict,
    properties: dict,
    expected: str | None,
    source: str | None,
    assumed: bool,
    warning_part: str | None,
) -> None:
    metadata = read_tags(base, detail, **properties)
    assert metadata.captured_at == (utc(expected) if expected else None)
    assert (metadata.time_source, metadata.time_assumed_utc) == (source, assumed)
    assert (
        [warning_part in text for text in metadata.warnings].count(True) == 1
        if warning_part
        else not metadata.warnings
    )


def test_choose_time_ignores_sub_seconds_of_other_time() -> None:
    metadata = read_tags(detail={ORIGINAL: TAKEN, SUBSEC: "75", SUBSEC_ORIGINAL: "25"})
    assert metadata.captured_at == utc("2015-06-01T10:00:00.250")
    assert read_tags(detail={ORIGINAL: TAKEN, SUBSEC: "75"}).captured_at == utc(
        "2015-06-01T10:00:00"
    )


# --- F2: satellite clocks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gps", "warning_part"),
    [
        (gps_clock("1970:01:01", 0), "does not fit any time zone"),
        (gps_clock("1980:01:06", 0), "does not fit any time zone"),
        (gps_clock("2022:10:30", 1, 30), "does not fit any time zone"),
        (gps_clock("2022:11:01", 19, 30), "does not fit any time zone"),
        (gps_clock("2021:10:30", 19, 30), "does not fit any time zone"),
        (gps_clock("2003:03:16", 19, 30), "1024 weeks off"),
        (gps_clock("1983:07:31", 19, 30), "2048 weeks off"),
        (gps_clock("2022:10:30", 19, 37, 11), "does not fit any time zone"),
        # A receiver that knows only the day writes midnight.
        (gps_clock("2022:10:31", 0), "has only a date"),
        ({29: "2022:10:30"}, "has no time of day"),
        ({29: "2022:10:30", 7: (25.0, 0.0, 0.0)}, "is no time of day"),
        ({29: "2022:13:45", 7: (5.0, 0.0, 0.0)}, "is no date"),
        ({7: (19.0, 30.0, 0.0)}, None),
        ({29: "0000:00:00", 7: (0.0, 0.0, 0.0)}, None),
    ],
)
def test_satellite_clock_without_fix_uses_camera_time(gps: dict, warning_part: str | None) -> None:
    metadata = read_tags(detail={ORIGINAL: EVENING}, gps=gps)
    assert metadata.captured_at == utc("2022-10-30T20:30:00")
    assert (metadata.time_source, metadata.time_assumed_utc) == ("exif_original", True)
    assert (
        [warning_part in text for text in metadata.warnings] == [True]
        if warning_part
        else not metadata.warnings
    )


@pytest.mark.parametrize(
    ("gps", "expected", "source"),
    [
        (gps_clock("2022:10:30", 19, 30), "2022-10-30T19:30:00", "exif_original"),
        (gps_clock("2022:10:31", 6, 30), "2022-10-31T06:30:00", "exif_original"),
        (gps_clock("2022:10:30", 14, 45), "2022-10-30T14:45:00", "exif_original"),
        # A camera clock that is some seconds off: the satellite time is used.
        (gps_clock("2022:10:30", 19, 28, 5), "2022-10-30T19:28:05", "exif_gps"),
    ],
)
def test_satellite_clock_consistent_with_camera_gives_time_zone(
    gps: dict, expected: str, source: str
) -> None:
    metadata = read_tags(detail={ORIGINAL: EVENING}, gps=gps)
    assert (metadata.captured_at, metadata.time_source) == (utc(expected), source)
    assert not metadata.time_assumed_utc
    assert not metadata.warnings


@pytest.mark.parametrize(
    ("base", "gps", "expected", "source", "warning_part"),
    [
        ({}, gps_clock("2022:10:30", 19, 30), "2022-10-30T19:30:00", "exif_gps", None),
        ({}, gps_clock("1980:01:06", 0), None, None, "had no fix"),
        ({}, gps_clock("1970:01:01", 0), None, None, "had no fix"),
        ({}, {**gps_clock("2022:10:30", 19), 9: "V"}, None, None, "had no fix"),
        # A time before the last change is plausible; a later time is not.
        (
            {CHANGED: "2023:01:01 10:00:00"},
            gps_clock("2022:10:30", 19, 30),
            "2022-10-30T19:30:00",
            "exif_gps",
            None,
        ),
        (
            {CHANGED: "2020:01:01 10:00:00"},
            gps_clock("2022:10:30", 19),
            "2020-01-01T10:00:00",
            "exif_modified",
            "fit",
        ),
        (
            {CHANGED: "2022:10:30 20:30:00"},
            gps_clock("2003:03:16", 19, 30),
            "2022-10-30T20:30:00",
            "exif_modified",
            "1024 weeks off",
        ),
    ],
)
def test_satellite_clock_without_camera_time_is_used_when_plausible(
    base: dict, gps: dict, expected: str | None, source: str | None, warning_part: str | None
) -> None:
    metadata = read_tags(base, gps=gps)
    assert metadata.captured_at == (utc(expected) if expected else None)
    assert metadata.time_source == source
    assert (
        [warning_part in text for text in metadata.warnings] == [True]
        if warning_part
        else not metadata.warnings
    )


def test_satellite_clock_with_camera_offset_is_only_compared() -> None:
    detail = {ORIGINAL: EVENING, OFFSET_ORIGINAL: "+01:00"}
    assert not read_tags(detail=detail, gps=gps_clock("2022:10:30", 19, 30, 4)).warnings
    other = read_tags(detail=detail, gps=gps_clock("2022:10:31", 19, 30))
    assert other.captured_at == utc("2022-10-30T19:30:00")
    assert "the satellite clock differs" in other.warnings[0]


def test_satellite_clock_in_xmp_is_utc() -> None:
    for text in ("2022-10-30T19:30:00Z", "2022-10-30T19:30:00", "2022-10-30T21:30:00+02:00"):
        metadata = read_tags(exif__GPSTimeStamp=text)
        assert (metadata.captured_at, metadata.time_source) == (
            utc("2022-10-30T19:30:00"),
            "xmp_gps",
        )


# --- through the decoding child ------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def test_decoder_returns_time_source_and_warnings(decoder: ChildDecoder) -> None:
    result = decoder.read(
        "a.jpg", photo(detail={ORIGINAL: EVENING}, gps=gps_clock("1970:01:01", 0))
    )
    assert isinstance(result, DecodedImage)
    capture = result.capture
    assert capture.time_source == "exif_original"
    assert capture.warnings == (
        "the satellite clock does not fit any time zone: GPSTimeStamp 1970-01-01 00:00:00 UTC; "
        "DateTimeOriginal 2022-10-30 20:30:00 comes first",
    )
    query = decoder.read("a.jpg", photo(), query=True)
    assert isinstance(query, DecodedImage)
    assert query.capture.warnings == ()
