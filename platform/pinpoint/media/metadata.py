"""EXIF and XMP of one opened picture, weighed against each other into `Facts`."""

from __future__ import annotations

from datetime import UTC, datetime

from PIL import Image

from pinpoint.media.exif import Exif, Position, read_exif
from pinpoint.media.facts import Facts, Scalar
from pinpoint.media.xmp import Xmp, read_xmp


def read_facts(image: Image.Image) -> Facts:
    """What an opened picture says of itself. EXIF speaks first, XMP where EXIF is silent."""
    exif, xmp = read_exif(image), read_xmp(image.info.get("xmp"))
    position, position_source = _position(exif, xmp)
    captured_at, assumed = _captured_at(exif, xmp)
    attributes: dict[str, Scalar] = {}
    for name, damage in (("exif_damaged", exif.damaged), ("xmp_damaged", xmp.damaged)):
        if damage:
            attributes[name] = damage
    if exif.heading_deg is not None and exif.heading_magnetic:
        attributes["heading_reference"] = "magnetic"
    headings = (exif.heading_deg, xmp.heading_deg, xmp.pose_heading_deg)
    return Facts(
        lat=position.lat,
        lon=position.lon,
        position_source=position_source,
        position_note=position.note[:150],
        position_partial=position.partial and not position.whole,
        captured_at=captured_at,
        time_assumed_utc=assumed,
        heading_deg=next((h for h in headings if h is not None), None),
        pose_heading_deg=xmp.pose_heading_deg,
        altitude_m=exif.altitude_m if exif.altitude_m is not None else xmp.altitude_m,
        camera=exif.camera,
        creator=exif.creator or xmp.creator,
        sphere=xmp.sphere,
        attributes=attributes | _projection(xmp),
    )


def _projection(xmp: Xmp) -> dict[str, Scalar]:
    return {"projection": "equirectangular"} if xmp.equirectangular else {}


def _position(exif: Exif, xmp: Xmp) -> tuple[Position, str]:
    """The first whole position; else the first part, so that the refusal can say so."""
    both = ((exif.position, "exif"), (xmp.position, "xmp"))
    for position, name in both:
        if position.whole:
            return position, name
    for position, name in both:
        if position.partial:
            return position, name
    return Position(note=exif.position.note or xmp.position.note), "none"


def _captured_at(exif: Exif, xmp: Xmp) -> tuple[datetime | None, bool]:
    """The time in UTC, and whether UTC had to be assumed for it.

    A time with an offset is best; then the satellites' UTC; a wall clock without either is
    taken as UTC, and said to be.
    """
    for moment in (exif.moment, exif.gps_time, xmp.moment, xmp.gps_time):
        if moment is not None and (utc := _utc(moment)) is not None:
            return utc, False
    local = exif.local or xmp.local
    return (local.replace(tzinfo=UTC), True) if local else (None, False)


def _utc(moment: datetime) -> datetime | None:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
