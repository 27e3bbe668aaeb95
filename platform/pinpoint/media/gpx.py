"""GPX files: reads tracks from untrusted XML in any declared encoding (GPX 1.0 and 1.1).

Only `trk` is read, because waypoints and routes are planned or marked positions, not those of the
photographer. The file is parsed as a stream of events, never as a tree.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from pinpoint.geo.distance import haversine_m
from pinpoint.media.checks import NULL_ISLAND_DEG, RejectedFileError
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, to_finite

MAX_TRACK_BYTES: Final = 20_000_000
MAX_POINTS: Final = 400_000
"""Maximum of points, waypoints and route points in one file; one point per second for four days."""
MAX_GPX_DEPTH: Final = 64
MAX_SAME_TIME_M: Final = 100.0
"""Maximum distance of points with the same time; otherwise that time has no position."""

_ENCODINGS: Final = frozenset(
    {"utf-8", "ascii", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}
    | {"big5", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "koi8-r", "koi8-u", "mac-roman"}
    | {
        "shift_jis",
        "cp874",
        "cp437",
        "cp850",
        "cp852",
        "cp866",
        "cp932",
        "cp949",
        "cp950",
        "tis-620",
    }
    | {f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))}
    | {f"cp125{page}" for page in range(9)}
)
"""Codecs that a file may declare. Other codecs of Python are not for text, or can be made slow."""
_DECLARATION = re.compile(r"^\s*<\?xml\s[^>]*?\?>", re.ASCII)
_DECLARED = re.compile(rb"^\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UTF16_STARTS: Final = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
"""First bytes of UTF-16 without a byte order mark."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Points = list[tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Points in order of time; seconds since 1970, degrees. At least one point."""

    times_s: tuple[float, ...]
    lats: tuple[float, ...]
    lons: tuple[float, ...]
    mixed: bool = False
    """Whether points jump back and forth in time order: two travelers, or a clock set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One `trk` of a file, in the order of its file."""

    file: str
    number: int
    """From 1."""
    name: str | None
    segments: tuple[Segment, ...]
    fingerprint: int
    """Hash of the segments; copies of a track have the same hash."""

    @property
    def label(self) -> str:
        """Value for `--track`: `walk.gpx#2`, with the track's name if it has one."""
        named = f" ({self.name})" if self.name else ""
        return f"{self.file}#{self.number}{named}"


@dataclass(slots=True)
class GpxFile:
    """Contents of one file."""

    tracks: tuple[Track, ...] = ()
    points_without_time: int = 0
    points_unusable: int = 0
    """Number of points with an unreadable position or time, or with the position 0/0."""
    waypoints: int = 0
    route_points: int = 0


def read_gpx(name: str, data: bytes) -> GpxFile:
    """Read the tracks of a GPX file; points without a time or position are omitted and counted.

    Args:
        name: The file's name, for messages.
        data: At most `MAX_TRACK_BYTES`.

    Raises:
        RejectedFileError: `no_position`; it is not GPX, has a document type, or exceeds a limit.
    """
    reader = _Reader(name)
    parser = DefusedXMLParser(target=reader, forbid_dtd=True)
    try:
        parser.feed(decode_xml(data))
        return parser.close()  # type: ignore[no-any-return]
    except DefusedXmlException as error:
        raise _make_refusal(name, "it declares a document type or entities") from error
    except ParseError as error:
        line, column = getattr(error, "position", (0, 0))
        raise _make_refusal(name, f"it is not XML (line {line}, column {column})") from error
    except UnicodeError as error:
        raise _make_refusal(name, "its text is not in the encoding that it declares") from error
    except LookupError as error:
        raise _make_refusal(
            name, "it declares an encoding that is not read; save it as UTF-8"
        ) from error


def decode_xml(data: bytes) -> str:
    """Text of an XML file without its declaration.

    The encoding is given by a byte order mark, the pattern of UTF-16, the declaration, or is UTF-8.
    Invalid bytes become U+FFFD: names may be damaged, but numbers are ASCII.

    Raises:
        LookupError: The declared encoding is not supported.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _DECLARATION.sub("", data[len(mark) :].decode(encoding, "replace"), count=1)
    encoding = next((name for head, name in _UTF16_STARTS if data[:2] == head), "")
    if not encoding:
        match = _DECLARED.match(data[:200])
        encoding = codecs.lookup(match[1].decode("ascii")).name if match else "utf-8"
        if encoding not in _ENCODINGS:
            raise LookupError("an encoding that is not read")
        if encoding.startswith(("utf-16", "utf-32")):
            # The declaration was readable as single bytes, so it cannot be UTF-16.
            encoding = "utf-8"
    return _DECLARATION.sub("", data.decode(encoding, "replace"), count=1)


def order_points(points: Points) -> list[Segment]:
    """Split points `(time s, lat, lon)` of one `trkseg` into segments in order of time.

    Points are sorted by time. If that makes the path longer than in the file, the segment is
    `mixed`. A time with two positions more than `MAX_SAME_TIME_M` apart ends a segment and is in
    no segment.
    """
    if not points:
        return []
    ordered = sorted(points, key=lambda point: point[0])
    if ordered != points and _length_m(ordered) > 1.01 * _length_m(points) + MAX_SAME_TIME_M:
        return [_build_segment(ordered, mixed=True)]
    segments: list[Segment] = []
    run: Points = []
    at = 0
    while at < len(ordered):
        end = at + 1
        while end < len(ordered) and ordered[end][0] == ordered[at][0]:
            end += 1
        if end == at + 1 or _spread_m(ordered[at:end]) <= MAX_SAME_TIME_M:
            run.append(ordered[at])
        elif run:
            segments.append(_build_segment(run))
            run = []
        at = end
    return [*segments, _build_segment(run)] if run else segments


def _build_segment(points: Points, *, mixed: bool = False) -> Segment:
    times_s, lats, lons = zip(*points, strict=True)
    return Segment(times_s=times_s, lats=lats, lons=lons, mixed=mixed)


def _length_m(points: Points) -> float:
    where = np.array([point[1:] for point in points], dtype=np.float64)
    return float(haversine_m(where[:-1], where[1:]).sum())


def _spread_m(points: Points) -> float:
    """Maximum distance of the points from the first one."""
    where = np.array([point[1:] for point in points], dtype=np.float64)
    return float(haversine_m(where[:1].repeat(len(where), axis=0), where).max())


def _make_refusal(name: str, why: str) -> RejectedFileError:
    return RejectedFileError("no_position", f"the track {name} cannot be read: {why}")


@dataclass(slots=True)
class _Reader:
    """Target of the parser's events; stores points, not elements."""

    name: str
    gpx_file: GpxFile = field(default_factory=GpxFile)
    _path: list[str] = field(default_factory=list)
    _tracks: list[Track] = field(default_factory=list)
    _segments: list[Segment] = field(default_factory=list)
    _points: Points = field(default_factory=list)
    _where: tuple[float, float] | None = None
    _time: str = ""
    _track_name: str = ""
    _count: int = 0

    def start(self, tag: str, attributes: Mapping[str, Any]) -> None:
        """Handle the start of an element."""
        name = tag.rpartition("}")[2]
        if not self._path and name != "gpx":
            raise _make_refusal(self.name, "it is not GPX")
        self._path.append(name)
        if len(self._path) > MAX_GPX_DEPTH:
            raise _make_refusal(self.name, f"its elements are more than {MAX_GPX_DEPTH} deep")
        if name in ("trkpt", "wpt", "rtept"):
            self._count += 1
            if self._count > MAX_POINTS:
                raise _make_refusal(self.name, f"it holds more than {MAX_POINTS} points; split it")
        if name == "trkpt":
            self._where, self._time = _read_position(attributes), ""
        elif name == "wpt":
            self.gpx_file.waypoints += 1
        elif name == "rtept":
            self.gpx_file.route_points += 1

    def data(self, text: str) -> None:
        """Handle text of the current element; only a point's time and a track's name are stored."""
        inside = self._path[-2:]
        if inside == ["trkpt", "time"] and len(self._time) < 100:
            self._time += text[:100]
        elif inside == ["trk", "name"] and len(self._track_name) < 1_000:
            self._track_name += text[:1_000]

    def end(self, tag: str) -> None:
        """Handle the end of an element."""
        name = self._path.pop()
        if name == "trkpt":
            self._keep_point()
        elif name in ("trkseg", "trk"):
            # Some files have points directly below `trk`; they are a segment too.
            self._segments += order_points(self._points)
            self._points = []
            if name == "trk":
                self._keep_track()

    def close(self) -> GpxFile:
        """Return the result at the end of the file."""
        self.gpx_file.tracks = tuple(self._tracks)
        return self.gpx_file

    def _keep_point(self) -> None:
        if not self._time.strip():
            self.gpx_file.points_without_time += 1
            return
        time_s = _parse_seconds(self._time)
        if self._where is None or time_s is None:
            self.gpx_file.points_unusable += 1
        else:
            self._points.append((time_s, *self._where))

    def _keep_track(self) -> None:
        segments = tuple(self._segments)
        self._tracks.append(
            Track(
                file=self.name,
                number=len(self._tracks) + 1,
                name=clean_metadata_text(self._track_name),
                segments=segments,
                fingerprint=hash(segments),
            )
        )
        self._segments, self._track_name = [], ""


def _read_position(attributes: Mapping[str, Any]) -> tuple[float, float] | None:
    """Degrees of a point; None if they are out of range, or 0/0, which means "no fix"."""
    lat, lon = to_finite(attributes.get("lat")), to_finite(attributes.get("lon"))
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        return None
    if abs(lat) < NULL_ISLAND_DEG and abs(lon) < NULL_ISLAND_DEG:
        return None
    return lat, lon


def _parse_seconds(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; without an offset it is UTC, as GPX defines it."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()
