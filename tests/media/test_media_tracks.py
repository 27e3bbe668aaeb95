"""GPX tracks give a position to files without one, and only if it is unambiguous."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from media.gpx_files import START, Gpx, Trk, clock, one_track, render, walk
from media.pictures import exif, noise, photo, saved
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.gpx import Segment
from pinpoint.media.tracks import (
    add_options,
    explain_gap,
    find_tracks,
    interpolate_position,
    position_at,
)
from pinpoint.records import DecodedImage, MetadataOverride, ReadOptions, Rejected
from pinpoint.settings import MediaSettings

HELSINKI = (60.17, 24.94)
TALLINN = (59.44, 24.75)


def time_at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def photo_at(minutes: float, offset: str | None = "+00:00", *, ahead_h: int = 0) -> bytes:
    """A photo without a position, taken so many minutes after `START`."""
    wall_clock = time_at(minutes) + timedelta(hours=ahead_h)
    detail = {0x9003: wall_clock.strftime("%Y:%m:%d %H:%M:%S")}
    if offset is not None:
        detail[0x9011] = offset
    return saved(noise(), exif=exif(detail=detail))


@pytest.fixture(scope="module")
def decoder():
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def read(
    decoder: ChildDecoder, data: bytes, metadata_override: MetadataOverride
) -> DecodedImage | Rejected:
    return decoder.read("a.jpg", data, metadata_override)


def gpx_position(result: DecodedImage | Rejected) -> tuple[float, float]:
    assert isinstance(result, DecodedImage), result
    assert result.capture.position_source == "gpx"
    return result.capture.point.lat, result.capture.point.lon


def test_position_at_overlapping_tracks_in_file_raises_unless_named(tmp_path: Path) -> None:
    tracks = [
        Trk(segments=[walk(*HELSINKI, every=2)], name="Aino"),
        Trk(segments=[walk(*TALLINN, start=1, every=2)], name="Mart"),
    ]
    path = tmp_path / "both.gpx"
    path.write_bytes(render(Gpx(tracks=tracks)))
    with pytest.raises(
        RejectedFileError, match=r"both\.gpx#1 \(Aino\), both\.gpx#2 \(Mart\)"
    ) as caught:
        position_at(path, time_at(10.5))
    assert caught.value.reason == "ambiguous_track"
    assert position_at(path, time_at(10.5), "Aino")[:2] == pytest.approx((60.1805, 24.94))
    assert position_at(path, time_at(10.5), "both.gpx#2")[:2] == pytest.approx((59.4495, 24.75))
    with pytest.raises(RejectedFileError, match=r"no track 'Eve'; there is both\.gpx#1 \(Aino\)"):
        position_at(path, time_at(10.5), "Eve")
    # A file name selects all of its tracks.
    with pytest.raises(RejectedFileError, match="overlap"):
        position_at(path, time_at(10.5), "both.gpx")


def test_position_at_overlapping_tracks_in_folder_raises_unless_named(tmp_path: Path) -> None:
    (tmp_path / "aino.gpx").write_bytes(render(one_track(walk(*HELSINKI))))
    (tmp_path / "mart.GPX").write_bytes(render(one_track(walk(*TALLINN, start=5))))
    with pytest.raises(
        RejectedFileError, match=r"2 tracks overlap in time \(aino\.gpx#1, mart\.GPX#1\)"
    ):
        position_at(tmp_path, time_at(10))
    # Also if only one track covers the time: the photo may belong to the other.
    with pytest.raises(RejectedFileError, match="overlap"):
        position_at(tmp_path, time_at(2))
    assert position_at(tmp_path, time_at(10), "mart.GPX")[0] == pytest.approx(59.445)


def test_position_at_consecutive_tracks_are_all_used(tmp_path: Path) -> None:
    (tmp_path / "day1.gpx").write_bytes(render(one_track(walk(*HELSINKI))))
    (tmp_path / "day2.gpx").write_bytes(render(one_track(walk(*TALLINN, start=20))))
    (tmp_path / "day2 copy.gpx").write_bytes(render(one_track(walk(*TALLINN, start=20))))
    assert position_at(tmp_path, time_at(10))[0] == pytest.approx(60.18)
    assert position_at(tmp_path, time_at(30))[0] == pytest.approx(59.45)


def test_position_at_unreadable_file_in_folder_raises_with_name(tmp_path: Path) -> None:
    (tmp_path / "good.gpx").write_bytes(render(one_track(walk(*HELSINKI))))
    (tmp_path / "bad.gpx").write_bytes(b"<gpx")
    with pytest.raises(RejectedFileError, match=r"bad\.gpx cannot be read"):
        position_at(tmp_path, time_at(10))
    assert position_at(tmp_path, time_at(10), "good.gpx")[0] == pytest.approx(60.18)


def test_position_at_between_segments_is_none(tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    parts = [walk(*HELSINKI, minutes=2), walk(60.3, 24.94, start=4, minutes=2)]
    path.write_bytes(render(one_track(*parts)))
    assert position_at(path, time_at(3)) is None
    assert position_at(path, time_at(1.5))[0] == pytest.approx(60.1715)
    assert position_at(path, time_at(4.5))[0] == pytest.approx(60.3005)
    assert "between two segments" in explain_gap(path, time_at(3))
    assert "does not reach 2023-09-10 10:00:00 UTC" in explain_gap(path, time_at(120))
    assert "--camera-clock-offset" in explain_gap(path, time_at(120))


@pytest.mark.parametrize(
    ("gap_min", "is_found"), [(4.9, True), (5.0, True), (5.1, False), (60.0, False)]
)
def test_position_at_gap_over_limit_in_segment_is_none(
    tmp_path: Path, gap_min: float, is_found: bool
) -> None:
    path = tmp_path / "walk.gpx"
    points = [(60.0, 24.0, clock(0)), (60.01, 24.0, clock(gap_min))]
    path.write_bytes(render(one_track(points)))
    assert (position_at(path, time_at(gap_min / 2)) is not None) == is_found
    assert position_at(path, time_at(0))[:2] == (60.0, 24.0)


def test_position_at_impossible_speed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mixed.gpx"
    # Ordered by time in one segment: only the speed shows that these are two people.
    points = sorted(
        [*walk(*HELSINKI, every=2), *walk(52.5, 13.4, start=1, every=2)], key=lambda p: p[2]
    )
    path.write_bytes(render(one_track(points)))
    assert position_at(path, time_at(10.5)) is None
    assert position_at(path, time_at(10))[:2] == pytest.approx((60.18, 24.94))


def test_position_at_mixed_segment_raises(tmp_path: Path) -> None:
    path = tmp_path / "mixed.gpx"
    path.write_bytes(render(one_track([*walk(*HELSINKI), *walk(*TALLINN)])))
    with pytest.raises(RejectedFileError, match="several travelers") as caught:
        position_at(path, time_at(10))
    assert caught.value.reason == "ambiguous_track"


def test_position_at_overlapping_segments_raises_unless_consistent(tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI), walk(*TALLINN, start=10))))
    with pytest.raises(RejectedFileError, match="several travelers"):
        position_at(path, time_at(5))
    # A logger that starts a new segment two minutes before it ends the old one.
    path.write_bytes(render(one_track(walk(60.0, 24.0, minutes=10), walk(60.008, 24.0, start=8))))
    assert position_at(path, time_at(9))[:2] == pytest.approx((60.009, 24.0))


def test_position_at_without_timed_points_is_none(tmp_path: Path) -> None:
    path = tmp_path / "plan.gpx"
    path.write_bytes(render(one_track([(60.0, 24.0, None), (60.1, 24.0, None)])))
    assert position_at(path, time_at(0)) is None
    assert "holds no points with a time" in explain_gap(path, time_at(0))


def test_position_at_changed_file_reads_it_again(tmp_path: Path) -> None:
    path = tmp_path / "a.gpx"
    path.write_bytes(render(one_track([(1.0, 2.0, clock(0))])))
    assert position_at(path, time_at(0)) == (1.0, 2.0, "a.gpx#1")
    path.write_bytes(render(one_track([(1.5, 2.25, clock(0))])))
    assert position_at(path, time_at(0)) == (1.5, 2.25, "a.gpx#1")


def test_interpolate_position_equals_plain_loop() -> None:
    segment = Segment(
        times_s=(0.0, 100.0, 250.0, 900.0),
        lats=(0.1, 0.2, 0.5, 0.9),
        lons=(179.9, -179.9, 179.7, 179.0),
    )
    for time_s in range(-10, 910, 7):
        expected = None
        for i in range(3):
            start, end = segment.times_s[i], segment.times_s[i + 1]
            if start <= time_s <= end and (end - start <= 300 or time_s in (start, end)):
                share = (time_s - start) / (end - start)
                first, second = segment.lons[i] % 360, segment.lons[i + 1] % 360
                lon = first * (1 - share) + second * share
                expected = (
                    segment.lats[i] * (1 - share) + segment.lats[i + 1] * share,
                    lon if lon <= 180 else lon - 360,
                )
        interpolated = interpolate_position(segment, float(time_s))
        assert (interpolated is None) == (expected is None)
        assert interpolated is None or interpolated == pytest.approx(expected)


def test_decoder_time_without_offset_with_track_is_rejected(
    decoder: ChildDecoder, tmp_path: Path
) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI, minutes=300))))
    metadata_override = MetadataOverride(track=str(path))
    result = read(decoder, photo_at(30, None, ahead_h=3), metadata_override)
    assert isinstance(result, Rejected)
    assert (result.error_stage, result.error_code) == ("check", "time_zone_unknown")
    assert "--time-zone" in result.error_message
    assert gpx_position(
        read(decoder, photo_at(30, "+03:00", ahead_h=3), metadata_override)
    ) == pytest.approx((60.2, 24.94))
    # A file with a position needs no track.
    file_reading = decoder.read(
        "b.jpg", photo(detail={0x9003: "2023:09:10 08:30:00"}), metadata_override
    )
    assert isinstance(file_reading, DecodedImage)
    assert (file_reading.capture.position_source, file_reading.capture.attributes["time_zone"]) == (
        "exif",
        "assumed_utc",
    )


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "+03:00", "+0300", "UTC+3", "+3"])
def test_decoder_time_zone_option_is_used(decoder: ChildDecoder, tmp_path: Path, zone: str) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI, minutes=300))))
    result = read(
        decoder, photo_at(30, None, ahead_h=3), MetadataOverride(track=str(path), time_zone=zone)
    )
    assert gpx_position(result) == pytest.approx((60.2, 24.94))
    assert isinstance(result, DecodedImage)
    assert result.capture.captured_at == time_at(30)
    assert result.capture.attributes["time_zone"] == zone
    # The offset of the file precedes the option.
    with_own_offset = read(
        decoder, photo_at(30), MetadataOverride(track=str(path), time_zone="-08:00")
    )
    assert gpx_position(with_own_offset) == pytest.approx((60.2, 24.94))


@pytest.mark.parametrize(
    ("wall_clock", "message_part"),
    [("2023:10:29 03:30:00", "comes twice"), ("2023:03:26 03:30:00", "does not exist")],
)
def test_decoder_time_at_clock_change_is_rejected(
    decoder: ChildDecoder, tmp_path: Path, wall_clock: str, message_part: str
) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI))))
    data = saved(noise(), exif=exif(detail={0x9003: wall_clock}))
    result = read(decoder, data, MetadataOverride(track=str(path), time_zone="Europe/Helsinki"))
    assert isinstance(result, Rejected)
    assert result.error_code == "time_zone_unknown"
    assert message_part in result.error_message


def test_decoder_camera_clock_offset_is_added(decoder: ChildDecoder, tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI, minutes=300))))
    positive_offset = MetadataOverride(track=str(path), camera_clock_offset_s=600.0)
    result = read(decoder, photo_at(30), positive_offset)
    assert gpx_position(result) == pytest.approx((60.21, 24.94))
    assert isinstance(result, DecodedImage)
    assert result.capture.captured_at == time_at(40)
    assert result.capture.warnings == ("+600 s were added to the camera's time",)
    negative_offset = MetadataOverride(
        track=str(path), camera_clock_offset_s=-600.0, time_zone="+03:00"
    )
    assert gpx_position(
        read(decoder, photo_at(30, None, ahead_h=3), negative_offset)
    ) == pytest.approx((60.19, 24.94))
    # The offset does not apply to the satellite time.
    gps = {29: "2023:09:10", 7: (8.0, 30.0, 0.0)}
    result = read(decoder, saved(noise(), exif=exif(gps=gps)), positive_offset)
    assert gpx_position(result) == pytest.approx((60.2, 24.94))
    # It does not apply to the time of a manifest.
    with_manifest_time = MetadataOverride(
        track=str(path), captured_at=time_at(5), camera_clock_offset_s=600.0
    )
    assert gpx_position(read(decoder, photo_at(30), with_manifest_time)) == pytest.approx(
        (60.175, 24.94)
    )


def test_decoder_manifest_time_without_offset_with_track_is_rejected(
    decoder: ChildDecoder, tmp_path: Path
) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI))))
    metadata_override = MetadataOverride(
        track=str(path), captured_at=time_at(5), attributes={"time_zone": "assumed_utc"}
    )
    result = read(decoder, saved(noise()), metadata_override)
    assert isinstance(result, Rejected)
    assert result.error_code == "time_zone_unknown"


@pytest.mark.parametrize("data", [b"", b"<gpx", b"<kml/>", None])
def test_decoder_bad_track_is_rejected_with_name(
    decoder: ChildDecoder, tmp_path: Path, data: bytes | None
) -> None:
    track = tmp_path / "bad.gpx"
    if data is not None:
        track.write_bytes(data)
    result = read(decoder, photo_at(1), MetadataOverride(track=str(track)))
    assert isinstance(result, Rejected)
    assert (result.error_code, result.error_stage) == ("no_position", "check")
    assert "bad.gpx" in result.error_message
    assert str(tmp_path) not in result.error_message
    assert "Errno" not in result.error_message


def test_find_tracks_uses_choice_then_stem_then_folder(tmp_path: Path) -> None:
    for name in ("a.gpx", "walk.gpx", "deep/other.gpx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(render(one_track(walk(*HELSINKI))))
    photos = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "deep" / "c.jpg"]
    track_of = find_tracks(tmp_path)
    expected_tracks = [tmp_path / "a.gpx", tmp_path, tmp_path / "deep" / "other.gpx"]
    assert [track_of(photo_path) for photo_path in photos] == expected_tracks
    assert {find_tracks(tmp_path, "walk.gpx")(photo_path) for photo_path in photos} == {
        tmp_path / "walk.gpx"
    }
    assert find_tracks(tmp_path, str(tmp_path / "a.gpx#1"))(photos[2]) == tmp_path / "a.gpx"
    # A name of a track leaves the files as they are.
    assert [find_tracks(tmp_path, "Aino")(photo_path) for photo_path in photos] == expected_tracks


def test_add_options_without_track_or_override_is_none(tmp_path: Path) -> None:
    assert add_options(None, None, ReadOptions(track="walk.gpx")) is None
    metadata_override = add_options(
        MetadataOverride(lat=1.0, lon=2.0), tmp_path, ReadOptions(track="x", time_zone="+01:00")
    )
    assert metadata_override == MetadataOverride(
        lat=1.0, lon=2.0, track=str(tmp_path), track_name="x", time_zone="+01:00"
    )


def test_position_at_same_instant_in_other_zone_is_equal(tmp_path: Path) -> None:
    path = tmp_path / "walk.gpx"
    path.write_bytes(render(one_track(walk(*HELSINKI))))
    moment = time_at(10)
    assert position_at(path, moment) == position_at(path, moment.astimezone(UTC))
