"""Encode a rendered image like a camera: JPEG with EXIF, and GPano XMP for panoramas."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from PIL import Image, TiffImagePlugin

from pinpoint.records import Pixels, Point

PHOTOGRAPH_QUALITY: Final = 88

# Tag numbers of EXIF 2.32.
_MAKE, _CAMERA, _ARTIST, _SOFTWARE = 0x010F, 0x0110, 0x013B, 0x0131
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN, _TAKEN_OFFSET, _FOCAL_MM, _FOCAL_35_MM = 0x9003, 0x9011, 0x920A, 0xA405
_LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _DIRECTION_REF, _DIRECTION = (
    1,
    2,
    3,
    4,
    5,
    6,
    16,
    17,
)

_GPANO: Final = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"
 GPano:ProjectionType="equirectangular" GPano:UsePanoramaViewer="True"
 GPano:FullPanoWidthPixels="{width}" GPano:FullPanoHeightPixels="{height}"
 GPano:CroppedAreaImageWidthPixels="{width}" GPano:CroppedAreaImageHeightPixels="{height}"
 GPano:CroppedAreaLeftPixels="0" GPano:CroppedAreaTopPixels="0"
 GPano:PoseHeadingDegrees="{heading:.2f}"/></rdf:RDF></x:xmpmeta>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Metadata that a camera writes.

    `point`, `heading_deg` and `altitude_m` are in the GPS block, which is omitted without a point.
    """

    taken_at: datetime
    """Timezone-aware; written as local time with its offset."""
    make: str
    camera: str
    artist: str
    focal_35_mm: int
    point: Point | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    panorama: bool = False


def encode_photograph(pixels: Pixels, label: Label) -> bytes:
    """Encode one image `[H, W, 3]` with its metadata; equal inputs give equal bytes."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    extra = {}
    if label.panorama:
        height, width = pixels.shape[:2]
        extra["xmp"] = _GPANO.format(
            width=width, height=height, heading=label.heading_deg or 0.0
        ).encode()
    image.save(out, "JPEG", quality=PHOTOGRAPH_QUALITY, exif=_make_exif(label), **extra)
    return out.getvalue()


def _make_exif(label: Label) -> Image.Exif:
    exif = Image.Exif()
    exif[_MAKE] = label.make
    exif[_CAMERA] = label.camera
    exif[_ARTIST] = label.artist
    exif[_SOFTWARE] = "pinpoint.synthetic (synthetic)"
    exif_ifd = exif.get_ifd(_EXIF_IFD)
    exif_ifd[_TAKEN] = label.taken_at.strftime("%Y:%m:%d %H:%M:%S")
    offset = label.taken_at.strftime("%z")
    exif_ifd[_TAKEN_OFFSET] = f"{offset[:3]}:{offset[3:5]}"
    exif_ifd[_FOCAL_35_MM] = label.focal_35_mm
    exif_ifd[_FOCAL_MM] = _to_rational(label.focal_35_mm / 1.5, 10)
    if label.point is not None:
        gps = exif.get_ifd(_GPS_IFD)
        gps[_LAT_REF], gps[_LAT] = "N" if label.point.lat >= 0 else "S", _to_dms(label.point.lat)
        gps[_LON_REF], gps[_LON] = "E" if label.point.lon >= 0 else "W", _to_dms(label.point.lon)
        if label.altitude_m is not None:
            gps[_ALT_REF] = b"\x00" if label.altitude_m >= 0 else b"\x01"
            gps[_ALT] = _to_rational(abs(label.altitude_m), 100)
        if label.heading_deg is not None:
            gps[_DIRECTION_REF], gps[_DIRECTION] = "T", _to_rational(label.heading_deg % 360, 100)
    return exif


def _to_dms(degrees: float) -> tuple[TiffImagePlugin.IFDRational, ...]:
    """Degrees, minutes and seconds, accurate to a millionth of a degree or better."""
    seconds = Fraction(round(abs(degrees) * 3600 * 10_000), 10_000)
    whole_degrees, remainder = divmod(seconds, 3600)
    minutes, remainder = divmod(remainder, 60)
    return (
        TiffImagePlugin.IFDRational(int(whole_degrees), 1),
        TiffImagePlugin.IFDRational(int(minutes), 1),
        TiffImagePlugin.IFDRational(int(remainder * 10_000), 10_000),
    )


def _to_rational(value: float, denominator: int) -> TiffImagePlugin.IFDRational:
    return TiffImagePlugin.IFDRational(round(value * denominator), denominator)
