"""EXIF: what the tags say, with every tag taken as a lie until it reads well (EXIF 3.0)."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from PIL import Image

from pinpoint.media.facts import clean_text, finite, wrap_heading

# What Pillow raises on a damaged directory; the picture itself may be whole.
DAMAGE: Final = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    struct.error,
)

_GPS_IFD: Final = 0x8825
_EXIF_IFD: Final = 0x8769
_TIMES: Final = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292), (0x0132, 0x9010, 0x9290))
"""(time, offset, sub-second) tags: original, digitised, changed."""

_NO_SIDE: Final = "has no hemisphere"

Tags = Mapping[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position as one of the two metadata blocks has it."""

    lat: float | None = None
    lon: float | None = None
    note: str = ""
    partial: bool = False
    """One coordinate is missing, or a hemisphere is."""

    @property
    def whole(self) -> bool:
        """Both coordinates can be read."""
        return self.lat is not None and self.lon is not None


NO_POSITION: Final = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exif:
    """The tags that matter here. `local` is a wall-clock time without an offset."""

    position: Position = NO_POSITION
    moment: datetime | None = None
    local: datetime | None = None
    gps_time: datetime | None = None
    heading_deg: float | None = None
    heading_magnetic: bool = False
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    damaged: str | None = None


def read_exif(image: Image.Image) -> Exif:
    """All that matters from an opened picture's EXIF; damage is told, never raised."""
    try:
        base = image.getexif()
        gps, detail = base.get_ifd(_GPS_IFD), base.get_ifd(_EXIF_IFD)
    except DAMAGE as error:
        return Exif(damaged=f"{type(error).__name__}: {error}"[:150])
    moment, local = _moment(base, detail)
    return Exif(
        position=gps_position(gps),
        moment=moment,
        local=local,
        gps_time=gps_time(gps),
        heading_deg=wrap_heading(_first(gps.get(17))),
        heading_magnetic=clean_text(gps.get(16)) == "M",
        altitude_m=_altitude(gps),
        camera=_camera(base),
        creator=_text(base.get(0x013B)) or _wide_text(base.get(0x9C9D)),
    )


def gps_position(gps: Tags) -> Position:
    """Position from the GPS directory; a hemisphere that is missing is not guessed."""
    lat, lat_note = _coordinate(gps, "latitude", 2, 1, "NS")
    lon, lon_note = _coordinate(gps, "longitude", 4, 3, "EW")
    partial = (lat is None) != (lon is None) or _NO_SIDE in lat_note + lon_note
    note = "; ".join(n for n in (lat_note, lon_note) if n)
    return Position(lat=lat, lon=lon, note=note, partial=partial)


def _coordinate(
    gps: Tags, name: str, tag: int, ref_tag: int, hemispheres: str
) -> tuple[float | None, str]:
    """Degrees with sign, or None and why."""
    raw = gps.get(tag)
    if raw is None:
        return None, ""
    parts = [finite(part) for part in (raw if isinstance(raw, tuple | list) else (raw,))]
    # Programs that know no seconds write 0/0 for them.
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    numbers = [part for part in parts if part is not None]
    if not numbers or len(numbers) != len(parts) or len(parts) > 3:
        return None, f"the {name} cannot be read"
    ref = clean_text(gps.get(ref_tag))
    ref = ref[0].upper() if ref else ""
    if len(ref) != 1 or ref not in hemispheres:
        return None, f"the {name} {_NO_SIDE}"
    value = sum(part / 60**i for i, part in enumerate(numbers))
    return (-value if ref == hemispheres[1] else value), ""


def gps_time(gps: Tags) -> datetime | None:
    """UTC time of the satellite fix: GPSDateStamp and GPSTimeStamp."""
    date, clock = clean_text(gps.get(29)), gps.get(7)
    if date is None or not isinstance(clock, tuple | list) or len(clock) != 3:
        return None
    hms = [finite(part) for part in clock]
    try:
        day = datetime.strptime(date.replace("-", ":")[:10], "%Y:%m:%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    if any(part is None or part < 0 for part in hms):
        return None
    seconds = sum((part or 0.0) * 60 ** (2 - i) for i, part in enumerate(hms))
    return day + timedelta(seconds=seconds) if seconds < 86_401 else None


def _moment(base: Tags, detail: Tags) -> tuple[datetime | None, datetime | None]:
    """The best time: (with offset, without one), at most one of them set."""
    naive: datetime | None = None
    for tag, offset_tag, part_tag in _TIMES:
        text = clean_text(detail.get(tag) or base.get(tag))
        local = exif_time(text)
        if local is None:
            continue
        fraction = clean_text(detail.get(part_tag))
        if fraction and fraction.isdecimal():
            local += timedelta(seconds=float(f"0.{fraction}"))
        offset = exif_offset(clean_text(detail.get(offset_tag)))
        if offset is not None:
            return local.replace(tzinfo=offset), None
        naive = naive or local
    return None, naive


def exif_time(text: str | None) -> datetime | None:
    """`YYYY:MM:DD HH:MM:SS` (or with dashes, or T) without an offset."""
    if text is None or len(text) < 19:
        return None
    try:
        return datetime.strptime(text[:19].replace("-", ":").replace("T", " "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def exif_offset(text: str | None) -> timezone | None:
    """`+HH:MM`, `-HH:MM` or `Z`."""
    if text in ("Z", "z"):
        return UTC
    if text is None or len(text) != 6 or text[0] not in "+-" or text[3] != ":":
        return None
    if not (text[1:3].isdecimal() and text[4:6].isdecimal()):
        return None
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if minutes > 14 * 60 or int(text[4:6]) > 59:
        return None
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _altitude(gps: Tags) -> float | None:
    """Metres, negative below the reference (GPSAltitudeRef 1, or 3 of EXIF 3.0)."""
    value = finite(_first(gps.get(6)))
    if value is None or not -12_000 <= value <= 100_000:
        return None
    ref = _first(gps.get(5))
    below = ref in (1, 3, b"\x01", b"\x03", "1", "3")
    return -abs(value) if below else value


def _camera(base: Tags) -> str | None:
    """Make and model, the make not said twice."""
    make, model = _text(base.get(0x010F)), _text(base.get(0x0110))
    if make and model:
        if model.casefold().startswith(make.split()[0].casefold()):
            return model
        return clean_text(f"{make} {model}")
    return make or model


def _text(value: object) -> str | None:
    """Text of an ASCII tag; Pillow reads it as Latin-1, most programs write UTF-8."""
    value = _first(value)
    if isinstance(value, str):
        try:
            value = value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return clean_text(value)
    return clean_text(value)


def _wide_text(value: object) -> str | None:
    """Windows' XP tags: UTF-16 in bytes."""
    if isinstance(value, tuple) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
        value = bytes(value)
    return clean_text(value.decode("utf-16-le", "replace")) if isinstance(value, bytes) else None


def _first(value: Any) -> Any:
    """The value of a tag that should hold one but may hold a tuple."""
    if isinstance(value, tuple | list):
        return value[0] if value else None
    return None if isinstance(value, float) and math.isnan(value) else value
