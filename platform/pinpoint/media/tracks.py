"""Positions of the photographer by time, from GPX tracks (docs/reference/manifests.md).

A position is interpolated between two neighboring points of one segment, never across segments.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import find_sibling_tracks, list_files, read_bytes
from pinpoint.media.gpx import MAX_TRACK_BYTES, GpxFile, Segment, Track, read_gpx
from pinpoint.records import MetadataOverride, ReadOptions

MAX_GAP_S: Final = 300.0
"""Maximum time between two track points for an interpolation."""
MAX_SPEED_M_S: Final = 1_000.0
"""Maximum speed between two points, above that of any aircraft."""
MAX_SEGMENT_DISTANCE_M: Final = 100.0
"""Maximum distance between two segments of one track that overlap in time."""
_MAX_SHOWN: Final = 5

TrackPosition = tuple[float, float]


def find_tracks(root: Path, chosen: str | None = None) -> Callable[[Path], Path | None]:
    """A function from a photo below `root` to its GPX file, or to a folder with several.

    Args:
        root: The folder that is read.
        chosen: Value of `--track`. A GPX file of that name next to the photo, otherwise in
            `root`, otherwise at that path, is used. Any other text is the name of a track.
    """
    find_nearby = find_sibling_tracks(root)
    file = (chosen or "").partition("#")[0]
    is_file = file.lower().endswith(".gpx")
    shared = next((path for path in (root / file, Path(file)) if is_file and path.is_file()), None)

    def find_track(photo: Path) -> Path | None:
        chosen_file = photo.parent / Path(file).name
        return chosen_file if is_file and chosen_file.is_file() else shared or find_nearby(photo)

    return find_track


def add_options(
    metadata_override: MetadataOverride | None,
    track: Path | None,
    options: ReadOptions,
    sidecars: tuple[str, ...] = (),
) -> MetadataOverride | None:
    """The override with a photo's track, its sidecars and the options; None without any of them."""
    if (
        track is None
        and not sidecars
        and options.time_zone is None
        and options.camera_clock_offset_s is None
    ):
        return metadata_override
    return replace(
        metadata_override or MetadataOverride(),
        track=None if track is None else str(track.absolute()),
        track_name=None if track is None else options.track,
        sidecars=sidecars,
        time_zone=options.time_zone,
        camera_clock_offset_s=options.camera_clock_offset_s,
    )


def position_at(
    path: Path, moment: datetime, name: str | None = None
) -> tuple[float, float, str] | None:
    """Latitude, longitude and the track's label at a moment; None outside every track and in gaps.

    Gaps are the times between two segments, between points more than `MAX_GAP_S` apart, and
    between points that require a speed above `MAX_SPEED_M_S`.

    Args:
        path: A GPX file, or a folder with GPX files.
        moment: Time-zone aware.
        name: Selects a track: its name, its file's name, or `FILE#2` for the second of a file.

    Raises:
        RejectedFileError: `no_position` for unreadable files and for a name without a track;
            `ambiguous_track` if two tracks, or two contradicting segments, overlap in time.
    """
    tracks = _choose_tracks(_read_tracks(path, name), name, path)
    time_s = moment.timestamp()
    covering = [track for track in tracks if any(covers(s, time_s) for s in track.segments)]
    if not covering:
        return None
    track = covering[0]
    rivals = [other for other in tracks if other is not track and overlap(track, other)]
    if rivals:
        labels = ", ".join(rival.label for rival in [track, *rivals][:_MAX_SHOWN])
        raise RejectedFileError(
            "ambiguous_track",
            f"{len(rivals) + 1} tracks overlap in time ({labels}): choose one by its name or "
            f"number, for example --track '{track.file}#{track.number}'",
        )
    position = _position_in(track, time_s)
    return None if position is None else (*position, track.label)


def explain_gap(path: Path, moment: datetime, name: str | None = None) -> str:
    """Explain to users why `position_at` returned None, and the remedy.

    Raises:
        RejectedFileError: As `position_at`.
    """
    tracks = _choose_tracks(_read_tracks(path, name), name, path)
    times_s = [
        time_s
        for track in tracks
        for segment in track.segments
        for time_s in segment.times_s[:: len(segment.times_s) - 1 or 1]
    ]
    when = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if not times_s:
        return f"the track {path.name} holds no points with a time and a position"
    time_s = moment.timestamp()
    if min(times_s) <= time_s <= max(times_s):
        return (
            f"the track {path.name} has a gap at {when}: between two segments, or between points "
            f"more than {MAX_GAP_S:.0f} s apart"
        )
    first, last = (datetime.fromtimestamp(t, UTC) for t in (min(times_s), max(times_s)))
    return (
        f"the track {path.name} does not reach {when} (it covers {first:%Y-%m-%d %H:%M:%S} to "
        f"{last:%Y-%m-%d %H:%M:%S}): if the camera's clock was wrong, give --camera-clock-offset "
        "or --time-zone"
    )


def interpolate_position(segment: Segment, time_s: float) -> TrackPosition | None:
    """Position at a time between two neighboring points; None in gaps (see `position_at`)."""
    times_s, lats, lons = segment.times_s, segment.lats, segment.lons
    after = bisect_left(times_s, time_s)
    if after == len(times_s):
        return None
    if times_s[after] == time_s:
        return lats[after], lons[after]
    if after == 0:
        return None
    before = after - 1
    gap_s = times_s[after] - times_s[before]
    start, end = (lats[before], lons[before]), (lats[after], lons[after])
    if gap_s > MAX_GAP_S or _distance_m(start, end) > MAX_SPEED_M_S * gap_s:
        return None
    share = (time_s - times_s[before]) / gap_s
    east = (end[1] - start[1] + 180.0) % 360.0 - 180.0
    lon = (start[1] + share * east + 180.0) % 360.0 - 180.0
    return start[0] + share * (end[0] - start[0]), lon


def covers(segment: Segment, time_s: float) -> bool:
    """Whether a time is between the first and the last point of a segment."""
    return segment.times_s[0] <= time_s <= segment.times_s[-1]


def overlap(track: Track, other: Track) -> bool:
    """Whether two tracks overlap in time; a common end and start is not an overlap."""
    return any(_overlap_in_time(a, b) for a in track.segments for b in other.segments)


def _overlap_in_time(a: Segment, b: Segment) -> bool:
    start, end = max(a.times_s[0], b.times_s[0]), min(a.times_s[-1], b.times_s[-1])
    if start < end:
        return True
    lone = min(len(a.times_s), len(b.times_s)) == 1
    return lone and start == end


def _position_in(track: Track, time_s: float) -> TrackPosition | None:
    """Position in the segment that covers a time.

    Raises:
        RejectedFileError: `ambiguous_track`; segments of the track contradict each other.
    """
    segment = next(segment for segment in track.segments if covers(segment, time_s))
    unclear = segment.mixed or any(
        _overlap_in_time(segment, other) and not _segments_agree(segment, other)
        for other in track.segments
        if other is not segment
    )
    if unclear:
        raise RejectedFileError(
            "ambiguous_track",
            f"the track {track.label} holds the ways of several travelers at one time, or of a "
            "clock that was set back: put them into files of their own",
        )
    positions = (
        interpolate_position(segment, time_s)
        for segment in track.segments
        if covers(segment, time_s)
    )
    return next((position for position in positions if position is not None), None)


def _segments_agree(a: Segment, b: Segment) -> bool:
    """Whether two segments have the same positions while they overlap."""
    start, end = max(a.times_s[0], b.times_s[0]), min(a.times_s[-1], b.times_s[-1])
    for time_s in (start, (start + end) / 2, end):
        first, second = interpolate_position(a, time_s), interpolate_position(b, time_s)
        if first is None or second is None or _distance_m(first, second) > MAX_SEGMENT_DISTANCE_M:
            return False
    return True


def _distance_m(a: TrackPosition, b: TrackPosition) -> float:
    return float(haversine_m(np.array([a]), np.array([b]))[0])


def _choose_tracks(tracks: Sequence[Track], name: str | None, path: Path) -> list[Track]:
    """The tracks with a name, without duplicates: a copy of a file is not an overlap."""
    if name is None:
        chosen = list(tracks)
    else:
        file, _, number = name.rpartition("/")[2].partition("#")
        chosen = [
            track
            for track in tracks
            if track.name == name or (track.file == file and number in ("", str(track.number)))
        ]
        if not chosen:
            available = ", ".join(track.label for track in tracks[:_MAX_SHOWN]) or "no track"
            raise RejectedFileError(
                "no_position", f"there is no track {name[:60]!r}; there is {available}"
            )
    # By the hash only, because comparing every point for every photo would take too long.
    distinct = {track.fingerprint: track for track in reversed(chosen) if track.segments}
    return sorted(distinct.values(), key=lambda track: (track.file, track.number))


def _read_tracks(path: Path, name: str | None) -> list[Track]:
    """Tracks of a file, or of every GPX file of a folder.

    Raises:
        RejectedFileError: `no_position`; one of the files cannot be read.
    """
    return [track for file in _list_gpx(path, name) for track in _read_file(file).tracks]


def _list_gpx(path: Path, name: str | None) -> list[Path]:
    """The GPX files to read: the file with the name, otherwise all of them."""
    try:
        files = list_files(path) if path.is_dir() else [path]
    except OSError as error:
        reason = error.strerror or "it is gone"
        raise RejectedFileError(
            "no_position", f"the tracks of {path.name} cannot be listed: {reason}"
        ) from error
    if path.is_dir():
        files = [file for file in files if file.name.lower().endswith(".gpx")]
    file_name = Path((name or "").partition("#")[0]).name
    return [file for file in files if file.name == file_name] or files


def _read_file(file: Path) -> GpxFile:
    try:
        stat = file.stat()
    except OSError as error:
        reason = error.strerror or "it is gone"
        raise RejectedFileError(
            "no_position", f"the track {file.name} cannot be read: {reason}"
        ) from error
    result = _load_track(file, stat.st_mtime_ns, stat.st_size)
    if isinstance(result, RejectedFileError):
        raise RejectedFileError(result.reason, result.detail)
    return result


@lru_cache(maxsize=16)
def _load_track(file: Path, _mtime_ns: int, _size: int) -> GpxFile | RejectedFileError:
    """Load a track; cached while the file is unchanged, because a folder shares its tracks."""
    try:
        data = read_bytes(file, MAX_TRACK_BYTES)
    except RejectedFileError as refused:
        detail = f"the track {file.name} cannot be read: {refused.detail}"
        return RejectedFileError("no_position", detail)
    try:
        return read_gpx(file.name, data)
    except RejectedFileError as refused:
        return refused
