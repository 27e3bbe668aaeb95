"""The parameter `datetime`: intervals as in OGC API - Features, times as in RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.test_api_problems import problem
from pinpoint.api.v1.times import TimeInterval, parse_interval
from pinpoint_client.transport import to_form

START, END = "2026-05-01T12:00:00Z", "2026-06-01T00:00:00.5+02:00"
START_TIME = datetime(2026, 5, 1, 12, tzinfo=UTC)
AFTER_END = datetime(2026, 5, 31, 22, 0, 0, 500_001, tzinfo=UTC)
FIRST_TIME = datetime(1, 1, 1, tzinfo=UTC)
PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}


@pytest.mark.parametrize(
    ("text", "start", "before"),
    [
        (f"{START}/{END}", START_TIME, AFTER_END),
        (f"{START}/..", START_TIME, None),
        (f"{START}/", START_TIME, None),
        (f"../{END}", None, AFTER_END),
        (f"/{END}", None, AFTER_END),
        (START, START_TIME, START_TIME + timedelta(microseconds=1)),
        (START.lower() + "/..", START_TIME, None),
        ("../9999-12-31T23:59:59.999999Z", None, None),
        # QGIS sends these years for an open end.
        (f"0000-01-01T00:00:00Z/{END}", FIRST_TIME, AFTER_END),
        (f"{START}/9999-12-31T00:00:00Z", START_TIME, datetime(9999, 12, 31, 0, 0, 0, 1, UTC)),
        (
            "0000-01-01T00:00:00Z/9999-12-31T00:00:00Z",
            FIRST_TIME,
            datetime(9999, 12, 31, 0, 0, 0, 1, UTC),
        ),
    ],
)
def test_parse_interval_with_valid_text_returns_half_open_bounds(text, start, before):
    assert parse_interval(text) == TimeInterval(start=start, before=before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a start or an end"),
        ("..", "needs a start or an end"),
        ("../..", "needs a start or an end"),
        (f"{START}/{END}/{END}", "has one `/`"),
        (f"{END}/{START}", "must not be before its start"),
        ("2026-05-01/..", "not a time of RFC 3339"),
        ("2026-05-01T12:00:00/..", "not a time of RFC 3339"),
        ("2026-05-01T12:00Z/..", "not a time of RFC 3339"),
        ("2026-05-01 12:00:00Z/..", "not a time of RFC 3339"),
        ("1777636800/..", "not a time of RFC 3339"),
        ("٢٠٢٦-05-01T12:00:00Z/..", "not a time of RFC 3339"),
        ("2026-02-30T12:00:00Z/..", "is not a time"),
        ("2026-05-01T25:00:00Z/..", "is not a time"),
        ("0000-02-30T00:00:00Z/..", "is not a time"),
        ("0001-01-01T00:00:00+01:00/..", "outside of the years"),
        ("yesterday", "not a time of RFC 3339"),
    ],
)
def test_parse_interval_with_invalid_text_raises(text, message):
    with pytest.raises(ValueError, match=message):
        parse_interval(text)


TIMES = st.datetimes(
    min_value=datetime(1, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)


@given(TIMES, TIMES, TIMES)
def test_parse_interval_with_two_times_includes_both_ends(start, end, time):
    start, end = sorted((start, end))
    interval = parse_interval(to_form({"datetime": (start, end)})["datetime"])
    assert interval.start <= start < interval.before
    assert interval.start <= end < interval.before
    assert (interval.start <= time < interval.before) == (start <= time <= end)


def test_locate_with_an_interval_filters_by_capture_time(api, search_calls):
    with api.http() as http:
        form = {"datetime": f"{START}/{END}"}
        assert http.post("/v1/locate", files=PHOTO, data=form).status_code == 200
    limits = search_calls[0]["limits"]
    assert (limits.captured_after, limits.captured_before) == (START_TIME, AFTER_END)


def test_similar_with_reversed_interval_returns_422_with_the_field(api, search_calls):
    with api.http() as http:
        answer = http.post("/v1/similar", files=PHOTO, data={"datetime": f"{END}/{START}"})
    body = problem(answer, 422, "invalid_request")
    assert "datetime" in str(body)
    assert "must not be before its start" in str(body)
    assert search_calls == []


@pytest.mark.parametrize("name", ["since", "until", "kinds", "kind", "over"])
def test_locate_with_rejected_parameter_returns_422(api, search_calls, name):
    with api.http() as http:
        problem(http.post("/v1/locate", files=PHOTO, data={name: "x"}), 422, "invalid_request")
    assert search_calls == []


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((START_TIME, None), "2026-05-01T12:00:00+00:00/.."),
        ((None, START_TIME), "../2026-05-01T12:00:00+00:00"),
        (f"{START}/..", f"{START}/.."),
    ],
)
def test_to_form_with_an_interval_returns_ogc_text(interval, text):
    assert to_form({"datetime": interval}) == {"datetime": text}
