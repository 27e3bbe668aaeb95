"""Reading GPX: encodings, order of points, and what is not a track."""

from __future__ import annotations

import random

import pytest

from media.gpx_files import Gpx, Trk, clock, one_track, render, walk
from pinpoint.media import gpx as gpx_module
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.gpx import GpxFile, decode_xml, read_gpx

NAMES = {
    "UTF-8": "Zürich – 東京",
    "ISO-8859-1": "Besançon",
    "ISO-8859-15": "Cœur 5 €",
    "windows-1252": "“Málaga”",
    "windows-1251": "Казань",
    "koi8-r": "Пермь",
    "Shift_JIS": "京都",
    "GBK": "成都",
    "Big5": "臺北",
    "US-ASCII": "Oslo",
    "UTF-16": "Kraków",
    "UTF-16LE": "Łódź",
    "UTF-16BE": "Gdańsk",
    "UTF-32": "Brno",
}


@pytest.mark.parametrize(("encoding", "name"), NAMES.items())
def test_read_gpx_declared_encoding_reads_names_and_points(encoding: str, name: str) -> None:
    gpx_file = read_gpx(
        "walk.gpx", render(one_track(walk(46.5, 6.6), name=name), encoding=encoding)
    )
    (track,) = gpx_file.tracks
    assert (track.name, track.number) == (name, 1)
    assert [len(segment.times_s) for segment in track.segments] == [21]
    assert (track.segments[0].lats[5], track.segments[0].lons[5]) == (46.505, 6.6)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8-sig", "UTF-8"),  # a byte order mark
        ("utf-8-sig", "ISO-8859-1"),  # the mark decides
        ("UTF-8", "UTF-16"),  # what .NET writes into strings
        ("UTF-8", None),
        ("utf-16", None),
        ("ISO-8859-1", "UTF-8"),  # the declaration is wrong: only the name suffers
        ("ISO-8859-1", None),
    ],
)
def test_read_gpx_bom_or_wrong_declaration_reads_points(
    encoding: str, declared: str | None
) -> None:
    data = render(one_track(walk(46.5, 6.6), name="Besançon"), encoding=encoding, declared=declared)
    (track,) = read_gpx("walk.gpx", data).tracks
    assert len(track.segments[0].times_s) == 21
    assert (track.name or "").startswith("Besan")


@pytest.mark.parametrize(
    "encoding", ["punycode", "idna", "utf-7", "unicode_escape", "zlib", "rot13", "x-unknown", "hex"]
)
def test_read_gpx_non_text_encoding_raises(encoding: str) -> None:
    data = render(one_track(walk(46.5, 6.6)), declared=encoding)
    with pytest.raises(RejectedFileError, match="encoding that is not read; save it as UTF-8"):
        read_gpx("walk.gpx", data)


def test_decode_xml_removes_the_declaration() -> None:
    assert decode_xml(b'  <?xml version="1.0" encoding="cp1252" standalone="yes"?><a/>') == "<a/>"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<gpx",
        b"no xml at all",
        b"<kml><trk/></kml>",
        b'<!DOCTYPE gpx [<!ENTITY a "b">]><gpx>&a;</gpx>',
        b'<!DOCTYPE gpx SYSTEM "file:///etc/hostname"><gpx/>',
        b"<gpx>" + b"<a>" * 100 + b"</a>" * 100 + b"</gpx>",
    ],
)
def test_read_gpx_hostile_or_broken_raises(data: bytes) -> None:
    with pytest.raises(RejectedFileError, match=r"the track walk\.gpx cannot be read"):
        read_gpx("walk.gpx", data)


def test_read_gpx_too_many_points_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpx_module, "MAX_POINTS", 20)
    with pytest.raises(RejectedFileError, match="more than 20 points"):
        read_gpx("walk.gpx", render(one_track(walk(46.5, 6.6))))


def test_read_gpx_waypoints_and_routes_are_not_tracks() -> None:
    time = f"<time>{clock(3)}</time>"
    extra = (
        f'<wpt lat="1" lon="2">{time}<name>Bench</name></wpt>'
        f'<rte><name>Plan</name><rtept lat="3" lon="4">{time}</rtept><rtept lat="5" lon="6"/></rte>'
    )
    gpx_file = read_gpx("plan.gpx", render(Gpx(extra=extra)))
    assert gpx_file == GpxFile(waypoints=1, route_points=2)


def test_read_gpx_unusable_points_are_skipped_and_counted() -> None:
    points = [
        (46.5, 6.6, clock(0)),
        (46.6, 6.6, None),
        (91.0, 6.6, clock(1)),
        (0.0, 0.0, clock(2)),
        (46.7, 6.6, "yesterday"),
        (46.8, 6.6, "2023-09-10T25:00:00Z"),
        (46.9, 6.6, clock(3)),
    ]
    gpx_file = read_gpx("walk.gpx", render(one_track(points)))
    assert (gpx_file.points_without_time, gpx_file.points_unusable) == (1, 4)
    assert gpx_file.tracks[0].segments[0].lats == (46.5, 46.9)


@pytest.mark.parametrize("mark", ["Z", "", ".000Z", "+00:00"])
def test_read_gpx_times_in_utc_by_default(mark: str) -> None:
    gpx_file = read_gpx("walk.gpx", render(one_track([(1.0, 2.0, clock(0, mark=mark))])))
    assert gpx_file.tracks[0].segments[0].times_s == (1694332800.0,)


def test_read_gpx_times_with_an_offset_are_converted() -> None:
    gpx_file = read_gpx("walk.gpx", render(one_track([(1.0, 2.0, "2023-09-10T10:00:00+02:00")])))
    assert gpx_file.tracks[0].segments[0].times_s == (1694332800.0,)


def test_read_gpx_version_1_0_and_points_outside_segments_read() -> None:
    extra = f'<trk><trkpt lat="1" lon="2"><time>{clock(1)}</time></trkpt></trk>'
    gpx_file = read_gpx(
        "old.gpx", render(Gpx(tracks=[Trk(segments=[])], extra=extra, version="1.0"))
    )
    assert [track.number for track in gpx_file.tracks] == [1, 2]
    assert gpx_file.tracks[1].segments[0].lons == (2.0,)


@pytest.mark.parametrize("order", ["reversed", "shuffled", "two swapped"])
def test_read_gpx_points_out_of_order_sorted(order: str) -> None:
    points = walk(46.5, 6.6)
    if order == "reversed":
        points.reverse()
    elif order == "shuffled":
        random.Random(3).shuffle(points)
    else:
        points[4], points[5] = points[5], points[4]
    (segment,) = read_gpx("walk.gpx", render(one_track(points))).tracks[0].segments
    assert not segment.mixed
    assert list(segment.times_s) == sorted(segment.times_s)
    assert list(segment.lats) == sorted(segment.lats)


def test_read_gpx_two_travelers_in_one_segment_marked_mixed() -> None:
    points = [*walk(46.5, 6.6), *walk(46.9, 7.4)]
    (segment,) = read_gpx("walk.gpx", render(one_track(points))).tracks[0].segments
    assert segment.mixed


def test_read_gpx_clock_set_back_marked_mixed() -> None:
    points = [*walk(46.5, 6.6, step=0.01), *walk(46.8, 6.6, start=10, step=0.01)]
    (segment,) = read_gpx("walk.gpx", render(one_track(points))).tracks[0].segments
    assert segment.mixed


def test_read_gpx_same_time_nearby_keeps_the_first() -> None:
    points = [(46.5, 6.6, clock(0)), (46.5001, 6.6, clock(0)), (46.6, 6.6, clock(1))]
    (segment,) = read_gpx("walk.gpx", render(one_track(points))).tracks[0].segments
    assert segment.lats == (46.5, 46.6)


def test_read_gpx_same_time_far_apart_splits_the_segment() -> None:
    points = [*walk(46.5, 6.6, minutes=4), (50.0, 8.0, clock(2)), (46.6, 6.6, clock(6))]
    points.sort(key=lambda point: point[2])
    first, second = read_gpx("walk.gpx", render(one_track(points))).tracks[0].segments
    assert [len(first.times_s), len(second.times_s)] == [2, 3]
    assert 1694332800.0 + 120 not in (*first.times_s, *second.times_s)
