"""GPX files for tests: tracks of segments of points, in any encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2023, 9, 10, 8, 0, tzinfo=UTC)

Point = tuple[float, float, str | None]
"""Latitude, longitude, text of the time or None."""


@dataclass(frozen=True, kw_only=True)
class Trk:
    """A `trk` with its segments."""

    segments: Sequence[Sequence[Point]]
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Gpx:
    """Content of a file; `extra` follows the tracks unchanged."""

    tracks: Sequence[Trk] = field(default_factory=tuple)
    extra: str = ""
    version: str = "1.1"


def clock(minutes: float, *, mark: str = "Z") -> str:
    """The time of a point so many minutes after `START`."""
    return (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S") + mark


def walk(
    lat: float,
    lon: float,
    *,
    start: int = 0,
    minutes: int = 20,
    step: float = 0.001,
    every: int = 1,
) -> list[Point]:
    """A point every `every` minutes, northward by `step` degrees a minute."""
    return [
        (lat + step * (at - start), lon, clock(at))
        for at in range(start, start + minutes + 1, every)
    ]


def one_track(*segments: Sequence[Point], name: str | None = None) -> Gpx:
    """A file with one track."""
    return Gpx(tracks=[Trk(segments=segments, name=name)])


def render(gpx: Gpx, *, encoding: str = "UTF-8", declared: str | None = "same") -> bytes:
    """The file's bytes; `declared` is the encoding of its declaration, None without one."""
    says = encoding if declared == "same" else declared
    head = f'<?xml version="1.0" encoding="{says}"?>' if says else ""
    space = f"http://www.topografix.com/GPX/{gpx.version.replace('.', '/')}"
    body = "".join(_track(track) for track in gpx.tracks)
    text = (
        f'{head}<gpx version="{gpx.version}" creator="test" xmlns="{space}">{body}{gpx.extra}</gpx>'
    )
    return text.encode(encoding)


def _track(track: Trk) -> str:
    name = f"<name>{track.name}</name>" if track.name is not None else ""
    segments = "".join(
        f"<trkseg>{''.join(_point(*point) for point in segment)}</trkseg>"
        for segment in track.segments
    )
    return f"<trk>{name}{segments}</trk>"


def _point(lat: float, lon: float, time: str | None) -> str:
    inside = "" if time is None else f"<ele>40</ele><time>{time}</time>"
    return f'<trkpt lat="{lat}" lon="{lon}">{inside}</trkpt>'
