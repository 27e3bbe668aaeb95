"""A seeded program that makes files with metadata in many styles, for comparison with exiftool.

Every file knows its traits: the styles of its container, position, time and the rest. Positions and
times are random, faults included.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pillow_heif

from media.containers import with_chunk
from media.jpeg_metadata import sign_rationals
from media.pictures import exif, noise, ratio, saved, xmp

pillow_heif.register_heif_opener()

CONTAINERS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")
WITH_XMP = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF")
ORIGINAL, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132
DJI = "http://www.dji.com/drone-dji/1.0/"


@dataclass(slots=True)
class FileBuilder:
    """A file in the making: its tags, properties and traits."""

    rng: random.Random
    base: dict[int, Any] = field(default_factory=dict)
    detail: dict[int, Any] = field(default_factory=dict)
    gps: dict[int, Any] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    drone: dict[str, str] = field(default_factory=dict)
    negative: list[tuple[int, int]] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)

    @property
    def lat(self) -> float:
        return self.rng.uniform(1.0, 80.0)

    @property
    def lon(self) -> float:
        return self.rng.uniform(1.0, 170.0)

    @property
    def moment(self) -> datetime:
        return datetime(2005, 1, 1) + timedelta(seconds=self.rng.randrange(6 * 10**8))

    def set_gps(self, lat: Any, lon: Any) -> None:
        """Coordinates in the GPS directory, in a random hemisphere."""
        self.gps.update({1: self.rng.choice("NS"), 2: lat, 3: self.rng.choice("EW"), 4: lon})


def dms(degrees: float) -> tuple:
    """Degrees, minutes and hundredths of seconds, as cameras write them."""
    whole, rest = divmod(degrees, 1)
    minutes, seconds = divmod(rest * 60, 1)
    return ratio(int(whole), 1), ratio(int(minutes), 1), ratio(int(seconds * 6_000), 100)


def exif_text(moment: datetime) -> str:
    return moment.strftime("%Y:%m:%d %H:%M:%S")


def xmp_text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


# --- positions -----------------------------------------------------------------------------------


def plain(builder: FileBuilder) -> None:
    builder.set_gps(dms(builder.lat), dms(builder.lon))


def decimal(builder: FileBuilder) -> None:
    builder.set_gps(
        (ratio(int(builder.lat * 10**6), 10**6),), (ratio(int(builder.lon * 10**6), 10**6),)
    )


def decimal_minutes(builder: FileBuilder) -> None:
    def minutes(degrees: float) -> tuple:
        return ratio(int(degrees), 1), ratio(int(degrees % 1 * 60_000) | 1, 1_000), ratio(0, 0)

    builder.set_gps(minutes(builder.lat), minutes(builder.lon))


def signed(builder: FileBuilder) -> None:
    builder.set_gps(dms(builder.lat), dms(builder.lon))
    builder.gps[1], builder.gps[3] = "S", "W"
    builder.negative = [(tag, number) for tag in (2, 4) for number in range(3)]


def contradiction(builder: FileBuilder) -> None:
    signed(builder)
    builder.gps[1] = "N"


def no_reference(builder: FileBuilder) -> None:
    plain(builder)
    del builder.gps[3]


def no_minutes(builder: FileBuilder) -> None:
    plain(builder)
    builder.gps[2] = (ratio(36, 1), ratio(48, 0), ratio(14, 0))


def many_minutes(builder: FileBuilder) -> None:
    plain(builder)
    builder.gps[4] = (ratio(12, 1), ratio(75, 1), ratio(0, 1))


def zero(builder: FileBuilder) -> None:
    builder.set_gps(dms(0.0), dms(0.0))


def in_xmp(builder: FileBuilder) -> None:
    lat = f"{int(builder.lat)},{builder.rng.uniform(0, 59.9):.5f}{builder.rng.choice('NS')}"
    lon = f"{int(builder.lon)},{builder.rng.uniform(0, 59.9):.5f}{builder.rng.choice('EW')}"
    builder.properties |= {"exif__GPSLatitude": lat, "exif__GPSLongitude": lon}


def in_xmp_with_reference(builder: FileBuilder) -> None:
    builder.properties |= {
        "exif__GPSLatitude": f"{builder.lat:.6f}",
        "exif__GPSLatitudeRef": builder.rng.choice(("South", "S")),
        "exif__GPSLongitude": f"{builder.lon:.6f}",
        "exif__GPSLongitudeRef": builder.rng.choice(("West", "W")),
    }


def zero_and_xmp(builder: FileBuilder) -> None:
    zero(builder)
    in_xmp(builder)


def both(builder: FileBuilder) -> None:
    plain(builder)
    in_xmp(builder)


def by_drone(builder: FileBuilder) -> None:
    builder.gps[0] = b"\x02\x03\x00\x00"
    builder.drone = {"GpsLatitude": f"{builder.lat:+.7f}", "GpsLongitude": f"{-builder.lon:+.7f}"}


def no_position(builder: FileBuilder) -> None:
    builder.gps[0] = b"\x02\x03\x00\x00"


# --- times ---------------------------------------------------------------------------------------


def own_offset(builder: FileBuilder) -> None:
    builder.detail |= {ORIGINAL: exif_text(builder.moment), 0x9011: "+05:45", 0x9291: "25"}


def no_offset(builder: FileBuilder) -> None:
    builder.detail[ORIGINAL] = exif_text(builder.moment)


def offset_in_text(builder: FileBuilder) -> None:
    builder.detail[ORIGINAL] = f"{exif_text(builder.moment)}-03:00"


def short_offset(builder: FileBuilder) -> None:
    builder.detail |= {
        ORIGINAL: exif_text(builder.moment),
        0x9011: builder.rng.choice(("+2:00", "+0200")),
    }


def changed_later(builder: FileBuilder) -> None:
    builder.detail |= {ORIGINAL: exif_text(builder.moment), 0x9010: "+01:00"}
    builder.base[CHANGED] = exif_text(datetime(2024, 2, 3, 4, 5, 6))


def changed_at_once(builder: FileBuilder) -> None:
    text = exif_text(builder.moment)
    builder.detail |= {ORIGINAL: text, 0x9010: "+01:00"}
    builder.base[CHANGED] = text


def with_satellites(builder: FileBuilder) -> None:
    moment = builder.moment.replace(hour=12, minute=30, second=15)
    builder.detail[ORIGINAL] = exif_text(moment)
    builder.gps |= {29: moment.strftime("%Y:%m:%d"), 7: (10.0, 30.0, 15.0)}


def satellites_at_epoch(builder: FileBuilder) -> None:
    builder.detail[ORIGINAL] = exif_text(builder.moment)
    builder.gps |= {29: "1980:01:06", 7: (0.0, 0.0, 13.0)}


def only_satellites(builder: FileBuilder) -> None:
    builder.gps |= {29: builder.moment.strftime("%Y:%m:%d"), 7: (10.0, 30.0, 15.0)}


def hour_24(builder: FileBuilder) -> None:
    builder.detail |= {ORIGINAL: "2015:08:22 24:08:19", 0x9011: "+02:00"}


def created_in_xmp(builder: FileBuilder) -> None:
    builder.base[CHANGED] = exif_text(datetime(2024, 2, 3, 4, 5, 6))
    builder.properties["photoshop__DateCreated"] = f"{xmp_text(builder.moment)}+09:00"


def digitized(builder: FileBuilder) -> None:
    builder.detail[DIGITIZED] = exif_text(builder.moment)
    builder.base[CHANGED] = exif_text(datetime(2024, 2, 3, 4, 5, 6))


def only_changed(builder: FileBuilder) -> None:
    builder.base[CHANGED] = exif_text(builder.moment)


def blank(builder: FileBuilder) -> None:
    builder.detail[ORIGINAL] = "0000:00:00 00:00:00"


Style = Callable[[FileBuilder], None]
POSITIONS: tuple[Style, ...] = (
    *(plain, decimal, decimal_minutes, signed, contradiction, no_reference, no_minutes),
    *(many_minutes, zero, in_xmp, in_xmp_with_reference, zero_and_xmp, both, by_drone, no_position),
)
TIMES: tuple[Style, ...] = (
    *(own_offset, no_offset, offset_in_text, short_offset, changed_later, changed_at_once),
    *(with_satellites, satellites_at_epoch, only_satellites, hour_24, created_in_xmp),
    *(digitized, only_changed, blank),
)


def make_file(seed: int) -> tuple[str, bytes, set[str]]:
    """File name, bytes and traits of the file with this number."""
    builder = FileBuilder(random.Random(seed))
    styles = (POSITIONS[seed % len(POSITIONS)], TIMES[seed % len(TIMES)])
    for style in styles:
        style(builder)
        builder.traits.add(style.__name__)
    if builder.rng.random() < 0.5:
        builder.gps |= {
            5: builder.rng.choice((b"\x00", b"\x01")),
            6: ratio(builder.rng.randrange(9_000), 10),
        }
        builder.gps |= {16: builder.rng.choice("TM"), 17: ratio(builder.rng.randrange(36_000), 100)}
    builder.base |= {0x010F: "Maker", 0x0110: f"Model {seed}"}
    # Pillow writes no XMP and no signed rationals into TIFF files.
    special = builder.properties or builder.drone or builder.negative
    container = builder.rng.choice(WITH_XMP if special else CONTAINERS)
    builder.traits.add(container)
    return f"{seed:02d}.{container.lower()}", _write(builder, container), builder.traits


def _write(builder: FileBuilder, container: str) -> bytes:
    block = exif(base=builder.base, detail=builder.detail, gps=builder.gps)
    if builder.negative:
        block = sign_rationals(block, *builder.negative)
    packet = xmp(**builder.properties)
    if builder.drone:
        values = " ".join(f'd:{name}="{value}"' for name, value in builder.drone.items())
        about = b'rdf:about=""'
        packet = packet.replace(about, about + f' xmlns:d="{DJI}" {values}'.encode())
    if container == "PNG":
        data = saved(noise(), "PNG", exif=block)
        return with_chunk(data, b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + packet)
    more = {"xmp": packet} if container in WITH_XMP else {}
    return saved(noise(), container, exif=block, **more)
