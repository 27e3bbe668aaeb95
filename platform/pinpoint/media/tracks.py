"""GPX tracks: where the photographer was at a moment. GPX is hostile XML like any other."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import ParseError

import gpxpy
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pinpoint.media.checks import Refused
from pinpoint.media.files import read_bytes

MAX_TRACK_BYTES: Final = 20_000_000
MAX_GAP_S: Final = 300.0
"""Between track points further apart than this nobody knows where the photographer was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Points with a time, in order of time; seconds since 1970, degrees."""

    times_s: tuple[float, ...]
    lats: tuple[float, ...]
    lons: tuple[float, ...]


def position_at(path: Path, moment: datetime) -> tuple[float, float] | None:
    """Latitude and longitude at a moment; None outside the track or inside a gap over 5 minutes.

    Raises:
        Refused: The track cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise Refused("no_position", f"the track {path.name} cannot be read: {error}") from error
    return interpolate(_load(path, stat.st_mtime_ns, stat.st_size), moment.timestamp())


def interpolate(track: Track, time_s: float) -> tuple[float, float] | None:
    """Position at a time between two points that are at most `MAX_GAP_S` apart."""
    after = bisect_left(track.times_s, time_s)
    if after == len(track.times_s):
        return None
    if track.times_s[after] == time_s:
        return track.lats[after], track.lons[after]
    if after == 0:
        return None
    before = after - 1
    gap_s = track.times_s[after] - track.times_s[before]
    if gap_s > MAX_GAP_S:
        return None
    share = (time_s - track.times_s[before]) / gap_s
    east = (track.lons[after] - track.lons[before] + 180.0) % 360.0 - 180.0
    lon = (track.lons[before] + share * east + 180.0) % 360.0 - 180.0
    return track.lats[before] + share * (track.lats[after] - track.lats[before]), lon


@lru_cache(maxsize=16)
def _load(path: Path, _mtime_ns: int, _size: int) -> Track:
    """A whole folder shares one track, so the last ones are kept while they do not change."""
    try:
        data = read_bytes(path, MAX_TRACK_BYTES)
    except Refused as refused:
        why = f"the track {path.name} cannot be read: {refused.detail}"
        raise Refused("no_position", why) from refused
    try:
        # gpxpy's own parser would expand entities; this one refuses any document type.
        fromstring(data, forbid_dtd=True)
        gpx = gpxpy.parse(data.decode("utf-8-sig"))
    except (
        ParseError,
        DefusedXmlException,
        gpxpy.gpx.GPXException,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        raise Refused("no_position", f"the track {path.name} cannot be read: {error}") from error
    points: list[tuple[float, float, float]] = []
    for one in gpx.walk(only_points=True):
        if one.time is not None and abs(one.latitude) <= 90 and abs(one.longitude) <= 180:
            time = one.time if one.time.tzinfo else one.time.replace(tzinfo=UTC)
            points.append((time.timestamp(), one.latitude, one.longitude))
    points.sort()
    return Track(
        times_s=tuple(p[0] for p in points),
        lats=tuple(p[1] for p in points),
        lons=tuple(p[2] for p in points),
    )
