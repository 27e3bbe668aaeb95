"""Times in manifests: unambiguous texts are read, other texts are rejected with advice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pinpoint.errors import BadRequestError
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.manifests.manifest_times import (
    EPOCH_UNITS,
    FIRST_EPOCH_S,
    LAST_EPOCH_S,
    read_time,
)
from pinpoint.media.metadata.clocks import check_zone, find_zone, read_clock_offset, read_offset

NOON = datetime(2019, 11, 24, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2019-11-24T12:30:15Z",
        "2019-11-24 12:30:15+00:00",
        "2019-11-24T14:30:15+02:00",
        "2019-11-24T14:30:15+0200",
        "2019-11-24T14:30:15 +2:00",
        "2019-11-24T14:30:15+02",
        "2019-11-24 07:30:15-05:00",
        "2019-11-24 12:30:15 UTC",
        "2019-11-24 12:30:15 GMT",
        "2019-11-24t12:30:15z",
        "2019:11:24 12:30:15",
        "2019:11:24 14:30:15+02:00",
        "2019/11/24 12:30:15",
        "2019.11.24 12:30:15",
        "2019-11-24, 12:30:15",
        "24/11/2019 12:30:15",
        "11/24/2019 12:30:15",
        "11/24/2019, 12:30:15 PM",
        "24-11-2019 12:30:15",
        "24.11.2019 12:30:15",
        "20191124T123015Z",
        "20191124123015",
        "1574598615",
        "1574598615.0",
        "1574598615000",
        "1574598615000000",
        "1574598615000000000",
    ],
)
def test_read_time_known_spellings_give_one_moment(text: str) -> None:
    assert read_time(f" {text} ").moment == NOON


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1706121712300", datetime(2024, 1, 24, 18, 41, 52, 300_000, UTC)),
        ("1706121712.3", datetime(2024, 1, 24, 18, 41, 52, 300_000, UTC)),
        ("315532800", datetime(1980, 1, 1, tzinfo=UTC)),
        ("202406010805", datetime(2024, 6, 1, 8, 5, tzinfo=UTC)),
        ("946684800000", datetime(2000, 1, 1, tzinfo=UTC)),
        ("946684800", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2015-08-22 24:08:19", datetime(2015, 8, 23, 0, 8, 19, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2019-11-24 12:30:15,250", NOON + timedelta(milliseconds=250)),
        ("2019-11-24 12:30", NOON.replace(second=0)),
        ("2019-11-24", datetime(2019, 11, 24, tzinfo=UTC)),
        ("20191124", datetime(2019, 11, 24, tzinfo=UTC)),
        ("1.6.2024 08:05", datetime(2024, 6, 1, 8, 5, tzinfo=UTC)),
        ("05/05/2024 08:05", datetime(2024, 5, 5, 8, 5, tzinfo=UTC)),
        ("11/24/2019 12:05 AM", datetime(2019, 11, 24, 0, 5, tzinfo=UTC)),
        ("11/24/2019 1:05 p.m.", datetime(2019, 11, 24, 13, 5, tzinfo=UTC)),
    ],
)
def test_read_time_edge_cases_give_expected_moment(text: str, moment: datetime) -> None:
    assert read_time(text).moment == moment


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("01/06/2024 12:00", "2024-06-01 or 2024-01-06; write the year first"),
        ("06-01-2024", "write the year first"),
        ("24/11/19", "four digits"),
        ("1.7061217123E+12", "format the column"),
        ("1,70612E+12", "format the column"),
        ("45444.5", "since 1970"),
        ("0", "since 1970"),
        ("-1574598615", "since 1970"),
        ("157459861500", "since 1970"),  # neither seconds nor milliseconds
        ("99999999999999999999", "since 1970"),
        ("2019-13-24", "no such date"),
        ("2019-02-29", "no such date"),
        ("2019-11-24 25:00", "clock"),
        ("2019-11-24 12:60", "clock"),
        ("11/24/2019 13:05 PM", "12-hour"),
        ("2019-11-24 12:30:15 CEST", "no offset"),
        ("2019-11-24 12:30:15+15:00", "no offset"),
        ("0001-01-01T00:00:00+01:00", "year"),
        ("9999-12-31T23:59:59-14:00", "year"),
        ("yesterday", "ISO 8601"),
        ("12:30:15", "year"),
        ("2" * 80, "too long"),
        ("\u00b2" * 8, "ISO 8601"),
        ("\u0662\u0660\u0661\u0669-11-24", "ISO 8601"),
    ],
)
def test_read_time_ambiguous_text_raises_with_advice(text: str, advice: str) -> None:
    with pytest.raises(RejectedFileError, match=advice) as caught:
        read_time(text)
    assert caught.value.reason == "bad_row"


def test_read_time_epoch_ranges_do_not_overlap() -> None:
    edges = [
        (FIRST_EPOCH_S * 10**power, LAST_EPOCH_S * 10**power) for power in EPOCH_UNITS.values()
    ]
    assert all(last < first for (_, last), (first, _) in pairwise(edges))
    for first, last in edges:
        assert read_time(str(first)).moment == datetime(1980, 1, 1, tzinfo=UTC)
        with pytest.raises(RejectedFileError):
            read_time(str(last))


def test_read_time_without_offset_reports_assumed_zone() -> None:
    assert read_time("2019-11-24 12:30:15").zone == "assumed_utc"
    assert read_time("2019-11-24 12:30:15Z").zone is None
    assert read_time("1574598615").zone is None
    paris = read_time("2019-11-24 13:30:15", "Europe/Paris")
    assert (paris.moment, paris.zone) == (NOON, "Europe/Paris")
    assert read_time("2019-11-24 12:30:15Z", "Europe/Paris").moment == NOON


@pytest.mark.parametrize("text", ["2019-10-27 02:30:00", "2019-03-31 02:30:00"])
def test_read_time_at_clock_change_raises(text: str) -> None:
    with pytest.raises(RejectedFileError, match="where the clock changes; give an offset"):
        read_time(text, "Europe/Paris")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Z", 0),
        ("utc", 0),
        ("+2", 2),
        ("+02:30", 2.5),
        ("-0330", -3.5),
        ("GMT-7", -7),
        ("\u22123", -3),
    ],
)
def test_read_offset_known_spellings_give_offset(text: str, hours: float) -> None:
    assert read_offset(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "2", "+14:30", "+2:5", "+02:70", "CET", "+1e1"])
def test_read_offset_other_text_is_none(text: str) -> None:
    assert read_offset(text) is None


@pytest.mark.parametrize(
    "text", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "", "Europe/", "a" * 300, "\x00"]
)
def test_find_zone_unknown_name_is_none_and_check_zone_raises(text: str) -> None:
    assert find_zone(text) is None
    with pytest.raises(BadRequestError, match="unknown: give an IANA name"):
        check_zone(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("+00:03:20", 200.0),
        ("-01:00:00", -3600.0),
        ("00:00:01.5", 1.5),
        ("8760:00:00", 31_536_000.0),
        ("200", 200.0),
        ("-0.25", -0.25),
    ],
)
def test_read_clock_offset_known_spellings_give_seconds(text: str, seconds: float) -> None:
    assert read_clock_offset(text) == seconds


@pytest.mark.parametrize("text", ["", "03:20", "+1h", "00:60:00", "nan", "999999999", "1e3"])
def test_read_clock_offset_other_text_raises(text: str) -> None:
    with pytest.raises(BadRequestError, match="camera clock offset"):
        read_clock_offset(text)
