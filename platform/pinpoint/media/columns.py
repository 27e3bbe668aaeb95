"""Columns of manifests: what the header's names mean, and names that are refused.

A name that is not understood becomes an attribute and is listed. A name that looks like a position
or a time is refused where the manifest has no other: its values would silently count for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pinpoint.errors import BadManifest, BadRequest
from pinpoint.media.facts import clean_text

COLUMN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "file": (
        "file",
        "source_file",
        "file_path",
        "image_path",
        "path",
        "file_name",
        "image_file",
        "image_name",
        "image",
        "photo",
        "img",
    ),
    "latitude": ("latitude", "lat", "gps_latitude", "gps_lat", "decimal_latitude", "map_latitude"),
    "longitude": (
        "longitude",
        "lon",
        "lng",
        "long",
        "gps_longitude",
        "gps_lon",
        "gps_lng",
        "gps_long",
        "decimal_longitude",
        "map_longitude",
    ),
    "latitude_ref": ("latitude_ref", "lat_ref", "gps_latitude_ref"),
    "longitude_ref": ("longitude_ref", "lon_ref", "lng_ref", "gps_longitude_ref"),
    "heading_deg": (
        "heading_deg",
        "heading",
        "compass_angle",
        "gps_img_direction",
        "img_direction",
        "bearing",
        "azimuth",
    ),
    "captured_at": (
        "captured_at",
        "date_time_original",
        "sub_sec_date_time_original",
        "capture_time",
        "capture_date",
        "captured",
        "date_taken",
        "time_taken",
        "taken_at",
        "taken",
        "photo_taken_time",
        "map_capture_time",
        "date_time",
        "timestamp",
        "gps_date_time",
        "create_date",
        "date_time_digitized",
        "date",
        "time",
    ),
    "time_zone": ("time_zone", "tz", "offset_time_original", "offset_time", "utc_offset"),
    "sequence": ("sequence", "sequence_id", "sequence_key", "map_sequence_uuid"),
    "creator": ("creator", "author", "artist", "photographer"),
    "licence": ("licence", "license"),
    "panorama": ("panorama", "panorama_id", "pano_id"),
    "altitude_m": (
        "altitude_m",
        "altitude",
        "alt",
        "gps_altitude",
        "elevation",
        "ele",
        "map_altitude",
    ),
    "external_id": ("external_id", "id"),
}
"""Column → the names it may have, the preferred one first. Case, spaces, `_` and `-` do not matter;
neither does a group of exiftool (`EXIF:`) or a unit of `UNITS` in parentheses or at the end."""

UNITS: Final[Mapping[str, frozenset[str]]] = {
    "latitude": frozenset({"deg", "degrees", "°", "dd", "dms", "decimal", "wgs84", "epsg4326"}),
    "longitude": frozenset({"deg", "degrees", "°", "dd", "dms", "decimal", "wgs84", "epsg4326"}),
    "heading_deg": frozenset({"deg", "degrees", "°"}),
    "altitude_m": frozenset({"m", "meters", "metres"}),
    "captured_at": frozenset({"utc", "gmt"}),
}
"""Units that a name may carry; a name with any other is not understood."""

TIME_OF_DAY: Final = "time_of_day"
"""What `time` beside `date` means, where no better column says when a photo was taken."""
ATTRIBUTE: Final = "attribute"
"""What `--column NAME=attribute` makes of a column: kept, and nothing else."""

# Of several columns with the same meaning the preferred one counts; for others that is a mistake.
_PREFERRED: Final = frozenset({"file", "captured_at", "time_zone"})
_POSITION_WORDS: Final = frozenset(
    {"latitude", "longitude", "lat", "lon", "lng", "coord", "coords", "coordinate", "coordinates"}
    | {"latlon", "latlng", "lonlat", "lnglat", "easting", "northing", "utm", "mgrs", "geohash"}
    | {"wkt", "wkb", "ewkt", "pluscode", "latitud", "longitud", "breitengrad", "laengengrad"}
)
_POSITION_NAMES: Final = frozenset(
    {"x", "y", "xcoord", "ycoord", "posx", "posy", "pointx", "pointy", "gps", "gpsposition"}
    | {"gpscoordinates", "gpslocation", "position", "location", "geo", "geom", "geometry", "point"}
    | {"thegeom", "geopoint", "geolocation", "latitudee7", "longitudee7", "pluscode"}
)
_TIME_WORDS: Final = frozenset({"datetime", "timestamp", "captured", "taken", "shot"})
_TIME_PARTS: Final = frozenset({"date", "time", "datum", "uhrzeit"})
_TIME_KINDS: Final = frozenset(
    {"capture", "photo", "image", "picture", "original", "exif", "gps", "utc", "local", "camera"}
    | {"recorded", "recording", "shooting", "unix", "epoch"}
)
_HARMLESS: Final = re.compile(
    r"(?:file|profile|modify|modified|updated|created|upload|uploaded|index|import|process)\w*"
    r"|(?:exposure|shutter)time|subsectime\w*|gps(?:date|time)stamp|dest\w*",
    re.ASCII,
)
_VERBS: Final = frozenset({"modified", "updated", "created", "uploaded", "imported", "indexed"})
_MAX_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the names of one manifest mean."""

    meanings: tuple[str | None, ...]
    """For each name, in order: a column, or None for an attribute or a name that is empty."""
    names: tuple[str, ...]
    """As they stand in the manifest."""

    @property
    def understood(self) -> dict[str, str]:
        """Column → its name in the manifest."""
        pairs = zip(self.meanings, self.names, strict=True)
        return {meaning: name for meaning, name in pairs if meaning is not None}

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names that are kept as attributes."""
        pairs = zip(self.meanings, self.names, strict=True)
        return tuple(name for meaning, name in pairs if meaning is None and name.strip())


def find_column(name: str) -> str | None:
    """The column that a name means by itself, or None."""
    key, unit = _reduce(name)
    column = _BY_KEY.get(key)
    if column is None:
        # `latitude_deg`, `captured_at_utc`
        column, own = next(
            (
                (meaning, word)
                for word in _UNIT_WORDS
                if key.endswith(word)
                and (meaning := _BY_KEY.get(key.removesuffix(word))) is not None
            ),
            (None, ""),
        )
        unit = unit or own
    return column if not unit or unit in UNITS.get(column or "", ()) else None


def resolve_columns(
    file: str,
    names: Sequence[str],
    asked: Mapping[str, str] | None = None,
    *,
    has_position: bool = False,
) -> Columns:
    """What the names of a manifest mean.

    Args:
        file: The manifest's name, for messages.
        names: Its columns or properties.
        asked: Name → column or `attribute`, as a person said; wins over the name.
        has_position: Positions are there without a column (the geometries of GeoJSON).

    Raises:
        BadManifest: No column names files, two mean the same, only one of latitude and longitude
            is there, or a name looks like a position or a time and is not understood.
    """
    meanings = [_meaning(name, asked or {}) for name in names]
    for column in COLUMN_NAMES:
        alike = [at for at, meaning in enumerate(meanings) if meaning == column]
        if len(alike) > 1:
            kept = _prefer(column, alike, names, asked or {})
            if kept is None:
                twice = show_names([names[at] for at in alike])
                raise BadManifest(
                    f"{file} has the column {column} twice: {twice}; choose one with "
                    f"--column NAME={ATTRIBUTE} for the other"
                )
            for at in alike:
                meanings[at] = column if at == kept else None
            if column == "captured_at" and _reduce(names[kept])[0] == "date":
                for at in alike:
                    if _reduce(names[at])[0] == "time":
                        meanings[at] = TIME_OF_DAY
    columns = Columns(meanings=tuple(meanings), names=tuple(names))
    _check(file, columns, asked or {}, has_position)
    return columns


def check_asked(asked: Iterable[str]) -> dict[str, str]:
    """`NAME=COLUMN` texts as a map.

    Raises:
        BadRequest: A text has another form, or names a column that does not exist.
    """
    found: dict[str, str] = {}
    for text in asked:
        name, mark, column = text.rpartition("=")
        if not mark or not name.strip() or column.strip() not in {*COLUMN_NAMES, ATTRIBUTE}:
            known = ", ".join([*COLUMN_NAMES, ATTRIBUTE])
            raise BadRequest(f"--column {text[:60]!r} is not NAME=COLUMN; columns are {known}")
        found[name.strip()] = column.strip()
    return found


def show_names(names: Sequence[str]) -> str:
    """Names from somebody's file, for people."""
    shown = ", ".join(clean_text(name, 40) or "(empty)" for name in names[:_MAX_SHOWN])
    return (shown or "nothing") + (" …" if len(names) > _MAX_SHOWN else "")


def _meaning(name: str, asked: Mapping[str, str]) -> str | None:
    said = asked.get(name.strip())
    if said is not None:
        return None if said == ATTRIBUTE else said
    return find_column(name)


def _prefer(
    column: str, alike: list[int], names: Sequence[str], asked: Mapping[str, str]
) -> int | None:
    """Which of several names for one column counts; None where nobody can say."""
    said = [at for at in alike if names[at].strip() in asked]
    if said:
        return said[0] if len(said) == 1 else None
    keys = [_reduce(names[at])[0] for at in alike]
    if column not in _PREFERRED or len(set(keys)) < len(keys):
        return None
    order = [name.replace("_", "") for name in COLUMN_NAMES[column]]
    known = [at for at, key in zip(alike, keys, strict=True) if key in order]
    return min(known or alike, key=lambda at: _rank(order, _reduce(names[at])[0]))


def _rank(order: list[str], key: str) -> int:
    return order.index(key) if key in order else len(order)


def _check(file: str, columns: Columns, asked: Mapping[str, str], has_position: bool) -> None:
    understood, named = columns.understood, show_names(columns.names)
    if "file" not in understood:
        wanted = ", ".join(name for name in COLUMN_NAMES if name != "file")
        raise BadManifest(
            f"{file} names no files: its columns are {named}; wanted is `file`, and any of {wanted}"
        )
    there = [name for name in ("latitude", "longitude") if name in understood]
    unclear = [name for name in columns.attributes if name.strip() not in asked]
    if len(there) < 2 and not has_position:
        _refuse(file, "a position", [n for n in unclear if _looks_like_position(n)])
        if there:
            raise BadManifest(
                f"{file} has a {there[0]} ({understood[there[0]]}) but not both of latitude and "
                f"longitude: its columns are {named}"
            )
    if "captured_at" not in understood:
        _refuse(file, "a time", [n for n in unclear if _looks_like_time(n)])


def _refuse(file: str, what: str, names: list[str]) -> None:
    """Raise `BadManifest` for names that look like something and are not understood."""
    if names:
        shown = show_names(names)
        example = "latitude" if what == "a position" else "captured_at"
        raise BadManifest(
            f"{file} has columns that look like {what} and are not understood: {shown}; rename "
            f"them, or say what they mean: --column {clean_text(names[0], 40)}={example} "
            f"(={ATTRIBUTE} keeps one without a meaning)"
        )


def _looks_like_position(name: str) -> bool:
    key = _reduce(name)[0]
    if key in _POSITION_NAMES or _POSITION_WORDS & set(_split_words(name)):
        return _HARMLESS.fullmatch(key) is None
    return find_column(re.sub(r"[\(\[].*", "", name)) in ("latitude", "longitude")


def _looks_like_time(name: str) -> bool:
    key, words = _reduce(name)[0], set(_split_words(name))
    if _HARMLESS.fullmatch(key) or "".join(_split_words(name)[:1]) in _VERBS:
        return False
    alone = key in _TIME_PARTS or bool(_TIME_WORDS & words)
    return alone or bool(_TIME_PARTS & words and _TIME_KINDS & words)


def _split_words(name: str) -> list[str]:
    """Words of a name: `photoLatitude`, `photo_latitude` and `Photo latitude` have two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[a-z]+", spaced.casefold())


def _reduce(name: str) -> tuple[str, str]:
    """Letters and digits of a name in lower case, and the unit in parentheses after it."""
    plain = unicodedata.normalize("NFKC", name).strip().strip("\ufeff\"'` ").casefold()
    plain = re.sub(r"^\[?[a-z][\w-]*\]?\s*:\s*", "", plain)
    match = re.fullmatch(r"(.*?)\s*[\(\[]\s*(.*?)\s*[\)\]]", plain)
    plain, unit = (match[1], match[2]) if match else (plain, "")
    return re.sub(r"[\s_.-]+", "", plain), re.sub(r"[\s_.:-]+", "", unit)


_BY_KEY: Final = {
    name.replace("_", ""): column for column, names in COLUMN_NAMES.items() for name in names
}
_UNIT_WORDS: Final = tuple(
    sorted({word for words in UNITS.values() for word in words}, key=len, reverse=True)
)
