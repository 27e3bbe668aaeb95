"""XMP: the few properties that matter, from hostile XML (XMP part 1; GPano; EXIF for XMP)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from pinpoint.media.exif import NO_POSITION, Position
from pinpoint.media.facts import Sphere, clean_text, finite, wrap_heading

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 20_000
"""Real packets are about five deep; long edit histories hold some thousand elements."""

_PREFIXES: Final[Mapping[str, str]] = {
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exif",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
}
_TIMES: Final = (
    "exif:DateTimeOriginal",
    "photoshop:DateCreated",
    "xmp:CreateDate",
    "exif:DateTimeDigitized",
)
_SPHERE: Final = (
    "FullPanoWidthPixels",
    "FullPanoHeightPixels",
    "CroppedAreaLeftPixels",
    "CroppedAreaTopPixels",
    "CroppedAreaImageWidthPixels",
    "CroppedAreaImageHeightPixels",
)
_DEGREES: Final = re.compile(
    r"^\s*(?P<d>\d{1,10}(?:\.\d+)?)"
    r"(?:[,\s]\s*(?P<m>\d{1,3}(?:\.\d+)?))?(?:[,\s]\s*(?P<s>\d{1,3}(?:\.\d+)?))?"
    r"\s*(?P<h>[NSEW])\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Xmp:
    """What an XMP packet says; empty where there is none."""

    position: Position = NO_POSITION
    moment: datetime | None = None
    local: datetime | None = None
    gps_time: datetime | None = None
    heading_deg: float | None = None
    pose_heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    equirectangular: bool = False
    sphere: Sphere | None = None
    damaged: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def read_xmp(packet: bytes | str | None) -> Xmp:
    """The properties of one XMP packet; damage is told, never raised."""
    if not packet:
        return Xmp()
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    try:
        root = _parse(packet.strip(b"\x00 \t\r\n"))
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        return Xmp(damaged=f"{type(error).__name__}: {error}"[:150])
    found = _properties(root)
    moment, local = _moment(found)
    return Xmp(
        position=_position(found),
        moment=moment,
        local=local,
        gps_time=_aware(found.get("exif:GPSTimeStamp")),
        heading_deg=wrap_heading(_ratio(found.get("exif:GPSImgDirection"))),
        pose_heading_deg=wrap_heading(finite(found.get("GPano:PoseHeadingDegrees"))),
        altitude_m=_altitude(found),
        creator=clean_text(found.get("dc:creator")),
        equirectangular=found.get("GPano:ProjectionType", "").lower() == "equirectangular",
        sphere=_sphere(found),
        properties=found,
    )


class _SmallTree(TreeBuilder):
    """A tree that stops growing: a packet of 3 MB can hold a million elements, 3 s of work."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: str, attrs: dict[Any, Any], /) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise ValueError(f"deeper than {MAX_DEPTH} or more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parse(packet: bytes) -> Element:
    parser = DefusedXMLParser(target=_SmallTree(), forbid_dtd=True)
    parser.feed(packet)
    root: Element = parser.close()
    return root


def _properties(root: Element) -> dict[str, str]:
    """`prefix:Name` → text, from attributes and elements of every rdf:Description."""
    found: dict[str, str] = {}
    for description in root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"):
        for key, value in description.attrib.items():
            _put(found, key, value)
        for child in description:
            items = [item.text or "" for item in child.iter() if (item.text or "").strip()]
            _put(found, child.tag, items[0] if items else "")
    return found


def _put(found: dict[str, str], tag: str, value: str) -> None:
    space, _, name = tag.removeprefix("{").partition("}")
    prefix = _PREFIXES.get(space)
    if prefix and len(value) <= 1_000:
        found.setdefault(f"{prefix}:{name}", value.strip())


def _position(found: Mapping[str, str]) -> Position:
    lat, lat_note = _coordinate(found.get("exif:GPSLatitude"), "latitude", "NS")
    lon, lon_note = _coordinate(found.get("exif:GPSLongitude"), "longitude", "EW")
    note = "; ".join(n for n in (lat_note, lon_note) if n)
    return Position(lat=lat, lon=lon, note=note, partial=(lat is None) != (lon is None))


def _coordinate(text: str | None, name: str, hemispheres: str) -> tuple[float | None, str]:
    """`DDD,MM,SSk`, `DDD,MM.mmk`, or signed decimal degrees."""
    if not text:
        return None, ""
    if match := _DEGREES.match(text):
        side = match["h"].upper()
        if side not in hemispheres:
            return None, f"the XMP {name} has the hemisphere {side}"
        value = float(match["d"]) + float(match["m"] or 0) / 60 + float(match["s"] or 0) / 3600
        return (-value if side == hemispheres[1] else value), ""
    value_or_none = finite(text)
    return value_or_none, "" if value_or_none is not None else f"the XMP {name} cannot be read"


def _ratio(text: str | None) -> float | None:
    """`a/b` or a decimal number."""
    if not text:
        return None
    top, slash, bottom = text.partition("/")
    if not slash:
        return finite(text)
    a, b = finite(top), finite(bottom)
    return a / b if a is not None and b else None


def _altitude(found: Mapping[str, str]) -> float | None:
    value = _ratio(found.get("exif:GPSAltitude"))
    if value is None or not -12_000 <= value <= 100_000:
        return None
    return -abs(value) if found.get("exif:GPSAltitudeRef") in ("1", "3") else value


def _moment(found: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """The best time: (with offset, without one), at most one of them set."""
    naive: datetime | None = None
    for name in _TIMES:
        moment = _iso(found.get(name))
        if moment is None:
            continue
        if moment.tzinfo is not None:
            return moment, None
        naive = naive or moment
    return None, naive


def _iso(text: str | None) -> datetime | None:
    """An ISO 8601 time to the second; a date alone says too little."""
    if not text or len(text) < 16:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _aware(text: str | None) -> datetime | None:
    moment = _iso(text)
    return moment if moment is not None and moment.tzinfo is not None else None


def _sphere(found: Mapping[str, str]) -> Sphere | None:
    """GPano's window; None where a size is missing or makes no sense."""
    sizes: list[int] = []
    for name in _SPHERE:
        value = finite(found.get(f"GPano:{name}"))
        if value is None or not 0 <= value < 2**31:
            return None
        sizes.append(int(value))
    full_w, full_h, left, top, width, height = sizes
    if min(full_w, full_h, width, height) < 1 or width > full_w or height > full_h:
        return None
    return Sphere(
        full_width_px=full_w,
        full_height_px=full_h,
        left_px=left,
        top_px=top,
        width_px=width,
        height_px=height,
    )
