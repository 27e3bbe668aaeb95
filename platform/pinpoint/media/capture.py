"""What the file says, what the outside says, and what comes of it: a `Capture` or a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pinpoint.media.checks import Refused, check_position, check_time
from pinpoint.media.facts import Facts, Scalar, wrap_heading
from pinpoint.media.tracks import position_at
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
    captured_at = facts.captured_at if hint.captured_at is None else _utc(hint.captured_at)
    point, position_source, more = _position(facts, hint, captured_at)
    check_time(captured_at, now)
    attributes: dict[str, Scalar] = {**facts.attributes, **more}
    if hint.captured_at is None and captured_at is not None and facts.time_assumed_utc:
        attributes["time_zone"] = "assumed_utc"
    attributes.update(hint.attributes)
    pose = facts.pose_heading_deg if picture.panorama else None
    heading = _first(wrap_heading(hint.heading_deg), pose, facts.heading_deg)
    return Capture(
        point=point,
        position_source=position_source,
        time_source=facts.time_source if hint.captured_at is None else hint.position_source,
        warnings=facts.warnings,
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


def _position(
    facts: Facts, hint: Hint, captured_at: datetime | None
) -> tuple[Point, str, dict[str, Scalar]]:
    """The point, where it comes from, and attributes about it."""
    if hint.lat is not None or hint.lon is not None:
        return Point(*check_position(hint.lat, hint.lon)), hint.position_source, {}
    whole = facts.lat is not None and facts.lon is not None
    if not whole and hint.track is not None and captured_at is not None:
        found = position_at(Path(hint.track), captured_at)
        if found is not None:
            return Point(*check_position(*found)), "gpx", {"track": Path(hint.track).name}
        raise Refused("no_position", f"the track {Path(hint.track).name} has a gap at that time")
    lat, lon = check_position(
        facts.lat, facts.lon, facts.position_note, partial=facts.position_partial
    )
    return Point(lat, lon), facts.position_source, {}


def _panorama(picture: Picture, heading_deg: float | None) -> Panorama | None:
    if picture.panorama is None:
        return None
    return Panorama(
        heading_deg=heading_deg,
        full_width_px=picture.panorama[0],
        full_height_px=picture.panorama[1],
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
