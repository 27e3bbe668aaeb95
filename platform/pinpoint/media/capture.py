"""What the file says, what the outside says, and what comes of it: a `Capture` or a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pinpoint.media.checks import Refused, check_position, check_time
from pinpoint.media.clocks import CaptureTime, read_capture_time
from pinpoint.media.facts import Facts, Scalar, wrap_heading
from pinpoint.media.tracks import explain_gap, position_at
from pinpoint.records import Capture, Hint, Panorama, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The file itself: what it is, not what it says."""

    format: str
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    panorama: tuple[int, int] | None = None
    """Full width and height of the sphere, where the picture was cut into faces."""


def query_capture(picture: Picture) -> Capture:
    """A photo to locate: nothing it says of itself goes on, least of all its position."""
    return Capture(
        point=Point(0.0, 0.0),
        position_source="none",
        panorama=_panorama(picture, None),
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        sha256=picture.sha256,
        size_bytes=picture.size_bytes,
    )


def make_capture(picture: Picture, facts: Facts, hint: Hint, now: datetime) -> Capture:
    """Weigh file and hint: the hint's fields win.

    Raises:
        Refused: The position or the time cannot be used; `checks.REASONS` lists why.
    """
    taken = read_capture_time(facts, hint)
    captured_at = taken.moment
    point, position_source, more = _position(facts, hint, taken)
    check_time(captured_at, now)
    attributes: dict[str, Scalar] = {**facts.attributes, **more}
    if taken.zone is not None:
        attributes["time_zone"] = taken.zone
    attributes.update(hint.attributes)
    pose = facts.pose_heading_deg if picture.panorama else None
    heading = _first(wrap_heading(hint.heading_deg), pose, facts.heading_deg)
    return Capture(
        point=point,
        position_source=position_source,
        time_source=facts.time_source if hint.captured_at is None else hint.position_source,
        warnings=(*facts.warnings, taken.note) if taken.note else facts.warnings,
        captured_at=captured_at,
        heading_deg=heading,
        altitude_m=_first(hint.altitude_m, facts.altitude_m),
        camera=facts.camera,
        creator=hint.creator or facts.creator,
        sequence=hint.sequence,
        licence=hint.licence,
        panorama_id=hint.panorama_id,
        panorama=_panorama(picture, heading),
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        sha256=picture.sha256,
        size_bytes=picture.size_bytes,
        attributes=attributes,
    )


def _position(facts: Facts, hint: Hint, taken: CaptureTime) -> tuple[Point, str, dict[str, Scalar]]:
    """The point, where it comes from, and attributes about it."""
    if hint.lat is not None or hint.lon is not None:
        return Point(*check_position(hint.lat, hint.lon)), hint.position_source, {}
    whole = facts.lat is not None and facts.lon is not None
    if not whole and hint.track is not None and taken.moment is not None:
        point, label = _position_on_track(Path(hint.track), hint.track_name, taken)
        return point, "gpx", {"track": label}
    lat, lon = check_position(
        facts.lat, facts.lon, facts.position_note, partial=facts.position_partial
    )
    return Point(lat, lon), facts.position_source, {}


def _position_on_track(path: Path, name: str | None, taken: CaptureTime) -> tuple[Point, str]:
    """The point of a photo on its track, and the track's label.

    Raises:
        Refused: `time_zone_unknown`, `ambiguous_track`, or `no_position` where no track reaches.
    """
    if taken.moment is None:
        raise Refused("no_position", "neither the file nor its hint says when it was taken")
    if taken.zone_problem:
        raise Refused("time_zone_unknown", f"beside the track {path.name}: {taken.zone_problem}")
    found = position_at(path, taken.moment, name)
    if found is None:
        raise Refused("no_position", explain_gap(path, taken.moment, name))
    lat, lon, label = found
    return Point(*check_position(lat, lon)), label


def _panorama(picture: Picture, heading_deg: float | None) -> Panorama | None:
    if picture.panorama is None:
        return None
    return Panorama(
        heading_deg=heading_deg,
        full_width_px=picture.panorama[0],
        full_height_px=picture.panorama[1],
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
