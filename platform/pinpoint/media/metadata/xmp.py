"""XMP: reads the required properties from untrusted XML (XMP part 1; GPano; EXIF for XMP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from pinpoint.media.metadata.positions import Position, drone_position, xmp_position
from pinpoint.media.metadata.raw_metadata import (
    Sphere,
    clean_metadata_text,
    read_ratio,
    to_finite,
    wrap_heading,
)
from pinpoint.media.metadata.times import Clock, is_blank_time, parse_offset, parse_time
from pinpoint.records import TimeSource

_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 20_000
"""Real packets have a depth of about five; long edit histories have some thousand elements."""

_PREFIXES: Final[Mapping[str, str]] = {
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exif",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
}
_DRONES: Final = (
    "drone",
    "dji.com",
    "autel",
    "skydio",
    "parrot.com",
    "yuneec",
    "pix4d",
    "sensefly",
)
"""Parts of the namespace addresses of drone makers. Their properties become `drone:name`, in lower
case, because the makers spell them differently."""
_DRONE_HEADINGS: Final = ("gimbalyawdegree", "camerayawdegree", "camerayaw", "yaw")
"""Headings of the camera, not of the flight."""
_TIMES: Final[tuple[tuple[TimeSource | None, str, str], ...]] = (
    ("xmp_original", "exif:DateTimeOriginal", "exif:OffsetTimeOriginal"),
    ("xmp_created", "photoshop:DateCreated", ""),
    ("xmp_created", "xmp:CreateDate", ""),
    ("xmp_digitized", "exif:DateTimeDigitized", "exif:OffsetTimeDigitized"),
    (None, "xmp:ModifyDate", ""),
)
"""(source, property, property of its offset). No camera writes xmp:ModifyDate, so only its offset
is used."""
_SPHERE: Final = (
    "FullPanoWidthPixels",
    "FullPanoHeightPixels",
    "CroppedAreaLeftPixels",
    "CroppedAreaTopPixels",
    "CroppedAreaImageWidthPixels",
    "CroppedAreaImageHeightPixels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Xmp:
    """Values of an XMP packet; empty without a packet."""

    positions: tuple[Position, ...] = ()
    """From the properties of EXIF, then from those of a drone's maker."""
    clocks: tuple[Clock, ...] = ()
    satellite: Clock | None = None
    notes: tuple[str, ...] = ()
    """Notes on times that cannot be read."""
    heading_deg: float | None = None
    gimbal_heading_deg: float | None = None
    """Direction of a drone's camera."""
    pose_heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    equirectangular: bool = False
    sphere: Sphere | None = None
    damaged: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def read_xmp(*packets: bytes | str | None) -> Xmp:
    """Read one XMP packet, in one part or several; damage is reported and not raised.

    Args:
        packets: The packet, then its extension if it has one. The first part with a property has
            precedence.
    """
    properties: dict[str, str] = {}
    damaged = None
    for packet in packets:
        try:
            for name, value in _parse_properties(packet).items():
                properties.setdefault(name, value)
        except _XmpLimitError as error:
            damaged = damaged or str(error)
        except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError):
            damaged = damaged or "the XMP packet is not valid XML"
    if not properties:
        return Xmp(damaged=damaged)
    clocks, notes = _read_clocks(properties)
    altitudes = (_read_altitude(properties), _read_drone_altitude(properties))
    return Xmp(
        positions=(xmp_position(properties), drone_position(properties)),
        clocks=tuple(clocks),
        satellite=_read_satellite(properties),
        notes=tuple(notes),
        heading_deg=wrap_heading(read_ratio(properties.get("exif:GPSImgDirection"))),
        gimbal_heading_deg=_first_heading(properties),
        pose_heading_deg=wrap_heading(to_finite(properties.get("GPano:PoseHeadingDegrees"))),
        altitude_m=next((a for a in altitudes if a is not None), None),
        creator=clean_metadata_text(properties.get("dc:creator")),
        equirectangular=properties.get("GPano:ProjectionType", "").lower() == "equirectangular",
        sphere=_read_sphere(properties),
        damaged=damaged,
        properties=properties,
    )


class _XmpLimitError(ValueError):
    """An XMP packet that exceeds a limit."""


class _SmallTree(TreeBuilder):
    """A tree of limited size: a packet of 3 MB can have a million elements, 3 s of work."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: str, attrs: dict[Any, Any], /) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise _XmpLimitError(f"deeper than {MAX_DEPTH} or more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parse_xml(packet: bytes) -> Element:
    parser = DefusedXMLParser(target=_SmallTree(), forbid_dtd=True)
    parser.feed(packet)
    root: Element = parser.close()
    return root


def _parse_properties(packet: bytes | str | None) -> dict[str, str]:
    """`prefix:Name` → text, from attributes and elements of every rdf:Description.

    Descriptions inside properties describe other images (ingredients, history) and are skipped.

    Raises:
        ParseError, DefusedXmlException, ValueError, LookupError, RecursionError: Invalid XMP.
    """
    if not packet:
        return {}
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "replace")
    root = _parse_xml(packet.strip(b"\x00 \t\r\n"))
    properties: dict[str, str] = {}
    where = "" if root.tag == f"{_RDF}RDF" else f".//{_RDF}RDF/"
    for description in root.iterfind(f"{where}{_RDF}Description"):
        for key, value in description.attrib.items():
            _add_property(properties, key, value)
        for child in description:
            items = [item.text or "" for item in child.iter() if (item.text or "").strip()]
            _add_property(properties, child.tag, items[0] if items else "")
    return properties


def _add_property(properties: dict[str, str], tag: str, value: str) -> None:
    space, _, name = tag.removeprefix("{").partition("}")
    prefix = _PREFIXES.get(space)
    if prefix is None and any(maker in space.lower() for maker in _DRONES):
        prefix, name = "drone", name.lower()
    if prefix and len(value) <= 1_000:
        properties.setdefault(f"{prefix}:{name}", value.strip())


def _read_altitude(properties: Mapping[str, str]) -> float | None:
    value = read_ratio(properties.get("exif:GPSAltitude"))
    if value is None or not -12_000 <= value <= 100_000:
        return None
    ref = properties.get("exif:GPSAltitudeRef", "").lower()
    return -abs(value) if ref in ("1", "3") or ref.startswith("below") else value


def _read_drone_altitude(properties: Mapping[str, str]) -> float | None:
    """Meters above sea level by a drone's maker; heights above the take-off are not used."""
    value = to_finite(properties.get("drone:absolutealtitude"))
    return value if value is not None and -12_000 <= value <= 100_000 else None


def _first_heading(properties: Mapping[str, str]) -> float | None:
    headings = (wrap_heading(properties.get(f"drone:{name}")) for name in _DRONE_HEADINGS)
    return next((heading for heading in headings if heading is not None), None)


def _read_clocks(properties: Mapping[str, str]) -> tuple[list[Clock], list[str]]:
    """Times, each with its offset, and notes."""
    clocks: list[Clock] = []
    notes: list[str] = []
    for source, name, offset_name in _TIMES:
        text = properties.get(name)
        clock = parse_time(text, source, name)
        if clock is None:
            if not is_blank_time(text):
                notes.append(f"{name} {clean_metadata_text(text, 40)!r} is no time; not used")
            continue
        if clock.offset is None:
            clock = replace(clock, offset=parse_offset(properties.get(offset_name)))
        clocks.append(clock)
    return clocks, notes


def _read_satellite(properties: Mapping[str, str]) -> Clock | None:
    """exif:GPSTimeStamp: date and time in one value, UTC without an offset."""
    clock = parse_time(properties.get("exif:GPSTimeStamp"), "xmp_gps", "exif:GPSTimeStamp")
    if clock is None:
        return None
    moment = clock.wall if clock.offset is None else clock.instant
    void = properties.get("exif:GPSStatus") == "V"
    return None if moment is None else replace(clock, wall=moment, offset=None, void=void)


def _read_sphere(properties: Mapping[str, str]) -> Sphere | None:
    """GPano's window; None if a size is missing or invalid."""
    sizes: list[int] = []
    for name in _SPHERE:
        value = to_finite(properties.get(f"GPano:{name}"))
        if value is None or not 0 <= value < 2**31:
            return None
        sizes.append(int(value))
    full_w, full_h, left_column, top_row, width, height = sizes
    if min(full_w, full_h, width, height) < 1 or width > full_w or height > full_h:
        return None
    return Sphere(
        full_width_px=full_w,
        full_height_px=full_h,
        left_px=left_column,
        top_px=top_row,
        width_px=width,
        height_px=height,
    )
