"""GPX tracks give a position where nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.pictures import exif, gpx, noise, photo, saved
from pinpoint.media.decoder import ChildDecoder
from pinpoint.media.tracks import Track, interpolate, position_at
from pinpoint.records import Hint, Reading, Rejected
from pinpoint.settings import MediaSettings

POINTS = (
    (10.0, 179.9, "2020-02-03T12:00:00Z"),
    (11.0, -179.9, "2020-02-03T12:04:00Z"),
    (20.0, 0.0, "2020-02-03T13:00:00Z"),
)


def taken(clock: str) -> bytes:
    return saved(noise(), exif=exif(detail={0x9003: f"2020:02:03 {clock}", 0x9011: "+00:00"}))


def test_a_track_places_a_photo(tmp_path: Path) -> None:
    track = tmp_path / "walk.gpx"
    track.write_bytes(gpx(*POINTS))
    hint = Hint(track=str(track))
    with ChildDecoder(MediaSettings()) as decoder:
        reading = decoder.read("a.jpg", taken("12:01:00"), hint)
        assert isinstance(reading, Reading)
        assert reading.capture.position_source == "gpx"
        assert reading.capture.point.lat == pytest.approx(10.25)
        assert reading.capture.point.lon == pytest.approx(179.95)
        for clock in ("12:30:00", "11:59:59", "13:00:01"):
            result = decoder.read("a.jpg", taken(clock), hint)
            assert isinstance(result, Rejected)
            assert result.reason == "no_position"
            assert "walk.gpx" in result.detail
        own = decoder.read("a.jpg", photo(), hint)
        assert isinstance(own, Reading)
        assert own.capture.position_source == "exif"
        timeless = decoder.read("a.jpg", saved(noise()), hint)
        assert isinstance(timeless, Rejected)


@pytest.mark.parametrize(
    "data",
    [b"", b"<gpx", gpx(*POINTS, head='<!DOCTYPE x [<!ENTITY a "b">]>'), b"<gpx>\xff</gpx>", None],
)
def test_a_bad_track_is_told(tmp_path: Path, data: bytes | None) -> None:
    track = tmp_path / "bad.gpx"
    if data is not None:
        track.write_bytes(data)
    with ChildDecoder(MediaSettings()) as decoder:
        result = decoder.read("a.jpg", taken("12:01:00"), Hint(track=str(track)))
        assert isinstance(result, Rejected)
        assert (result.reason, result.stage) == ("no_position", "check")
        assert "bad.gpx" in result.detail


def test_interpolation_against_a_plain_loop() -> None:
    track = Track(
        times_s=(0.0, 100.0, 250.0, 900.0), lats=(0.0, 1.0, 4.0, 9.0), lons=(10.0, 12.0, 9.0, 0.0)
    )
    for time_s in range(-10, 910, 7):
        expected = None
        for i in range(3):
            start, end = track.times_s[i], track.times_s[i + 1]
            if start <= time_s <= end and (end - start <= 300 or time_s in (start, end)):
                share = (time_s - start) / (end - start)
                expected = (
                    track.lats[i] * (1 - share) + track.lats[i + 1] * share,
                    track.lons[i] * (1 - share) + track.lons[i + 1] * share,
                )
        found = interpolate(track, float(time_s))
        assert (found is None) == (expected is None)
        assert found is None or found == pytest.approx(expected)


def test_a_changed_track_is_read_again(tmp_path: Path) -> None:
    track, moment = tmp_path / "a.gpx", datetime(2020, 2, 3, 12, tzinfo=UTC)
    track.write_bytes(gpx((1.0, 2.0, "2020-02-03T12:00:00Z")))
    assert position_at(track, moment) == (1.0, 2.0)
    track.write_bytes(gpx((1.5, 2.25, "2020-02-03T12:00:00Z")))
    assert position_at(track, moment) == (1.5, 2.25)
