"""Columns of manifests: the meanings of header names, and names that are refused.

An unknown name becomes an attribute and is listed. An unknown name that looks like a position or a
time is refused if the manifest has no other, because its values would be ignored silently.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.media.metadata.raw_metadata import clean_metadata_text

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
        "uri",
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
    "field_of_view_deg": (
        "field_of_view_deg",
        "field_of_view",
        "horizontal_field_of_view",
        "interior_orientation_field_of_view",
        "hfov",
        "fov",
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
    "license": ("license", "licence"),
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
"""Column → its accepted names, in order of preference. Case, spaces, `_` and `-` are ignored. A
group of exiftool (`EXIF:`) and a unit of `UNITS` in parentheses or at the end are ignored too."""

UNITS: Final[Mapping[str, frozenset[str]]] = {
    "latitude": frozenset({"deg", "degrees", "°", "dd", "dms", "decimal", "wgs84", "epsg4326"}),
    "longitude": frozenset({"deg", "degrees", "°", "dd", "dms", "decimal", "wgs84", "epsg4326"}),
    "heading_deg": frozenset({"deg", "degrees", "°"}),
    "field_of_view_deg": frozenset({"deg", "degrees", "°"}),
    "altitude_m": frozenset({"m", "meters", "metres"}),
    "captured_at": frozenset({"utc", "gmt"}),
}
"""Units that a name may contain; a name with any other unit is unknown."""

TIME_OF_DAY: Final = "time_of_day"
"""Meaning of `time` next to `date`, if no better column has the capture time."""
ATTRIBUTE: Final = "attribute"
"""Meaning of a column after `--column NAME=attribute`: its values are stored without a meaning."""

# If several columns have one of these meanings, the preferred column is used. For other meanings
# that is an error.
_PREFERRED: Final = frozenset({"file", "captured_at", "time_zone", "external_id"})
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
_IGNORED_NAMES: Final = re.compile(
    r"(?:file|profile|modify|modified|updated|created|upload|uploaded|index|import|process)\w*"
    r"|(?:exposure|shutter)time|subsectime\w*|gps(?:date|time)stamp|dest\w*",
    re.ASCII,
)
_CHANGE_VERBS: Final = frozenset(
    {"modified", "updated", "created", "uploaded", "imported", "indexed"}
)
_MAX_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Meanings of the names of one manifest."""

    meanings: tuple[str | None, ...]
    """For each name, in order: a column, or None for an attribute or an empty name."""
    names: tuple[str, ...]
    """The names as written in the manifest."""

    @property
    def understood(self) -> dict[str, str]:
        """Column → its name in the manifest."""
        pairs = zip(self.meanings, self.names, strict=True)
        return {meaning: name for meaning, name in pairs if meaning is not None}

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names that are stored as attributes."""
        pairs = zip(self.meanings, self.names, strict=True)
        return tuple(name for meaning, name in pairs if meaning is None and name.strip())


def find_column(name: str) -> str | None:
    """The column of a name, or None."""
    key, unit = normalize_name(name)
    column = _BY_KEY.get(key)
    if column is None:
        # `latitude_deg`, `captured_at_utc`
        column, unit_word = next(
            (
                (meaning, word)
                for word in _UNIT_WORDS
                if key.endswith(word)
                and (meaning := _BY_KEY.get(key.removesuffix(word))) is not None
            ),
            (None, ""),
        )
        unit = unit or unit_word
    return column if not unit or unit in UNITS.get(column or "", ()) else None


def resolve_columns(
    file: str,
    names: Sequence[str],
    requested: Mapping[str, str] | None = None,
    *,
    has_position: bool = False,
    has_files: bool = False,
) -> Columns:
    """Resolve the meanings of the names of a manifest.

    Args:
        file: The manifest's name, for messages.
        names: Its columns or properties.
        requested: Name → column or `attribute`, as given by the user; has precedence.
        has_position: Positions exist without a column (the geometries of GeoJSON).
        has_files: Rows name files without a column, or need none.

    Raises:
        BadManifestError: No column names files, two have the same meaning, only one of latitude and
            longitude exists, or an unknown name looks like a position or a time.
    """
    meanings = [_resolve_meaning(name, requested or {}) for name in names]
    for column in COLUMN_NAMES:
        same_meaning = [index for index, meaning in enumerate(meanings) if meaning == column]
        if len(same_meaning) > 1:
            preferred = _select_preferred(column, same_meaning, names, requested or {})
            if preferred is None:
                duplicates = show_names([names[index] for index in same_meaning])
                raise BadManifestError(
                    f"{file} has the column {column} twice: {duplicates}; choose one with "
                    f"--column NAME={ATTRIBUTE} for the other"
                )
            for index in same_meaning:
                meanings[index] = column if index == preferred else None
            if column == "captured_at" and normalize_name(names[preferred])[0] == "date":
                for index in same_meaning:
                    if normalize_name(names[index])[0] == "time":
                        meanings[index] = TIME_OF_DAY
    columns = Columns(meanings=tuple(meanings), names=tuple(names))
    if not has_files:
        _check_file_column(file, columns)
    _check_columns(file, columns, requested or {}, has_position)
    return columns


def parse_column_options(requested: Iterable[str]) -> dict[str, str]:
    """Parse `NAME=COLUMN` texts to a map.

    Raises:
        BadRequestError: A text has another form, or names a column that does not exist.
    """
    columns: dict[str, str] = {}
    for text in requested:
        name, mark, column = text.rpartition("=")
        if not mark or not name.strip() or column.strip() not in {*COLUMN_NAMES, ATTRIBUTE}:
            allowed = ", ".join([*COLUMN_NAMES, ATTRIBUTE])
            raise BadRequestError(
                f"--column {text[:60]!r} is not NAME=COLUMN; columns are {allowed}"
            )
        columns[name.strip()] = column.strip()
    return columns


def show_names(names: Sequence[str]) -> str:
    """Names from a file, formatted for messages."""
    text = ", ".join(clean_metadata_text(name, 40) or "(empty)" for name in names[:_MAX_SHOWN])
    return (text or "nothing") + (" …" if len(names) > _MAX_SHOWN else "")


def normalize_name(name: str) -> tuple[str, str]:
    """Letters and digits of a name in lower case, and the unit in parentheses after it."""
    plain = unicodedata.normalize("NFKC", name).strip().strip("\ufeff\"'` ").casefold()
    plain = re.sub(r"^\[?[a-z][\w-]*\]?\s*:\s*", "", plain)
    match = re.fullmatch(r"(.*?)\s*[\(\[]\s*(.*?)\s*[\)\]]", plain)
    plain, unit = (match[1], match[2]) if match else (plain, "")
    return re.sub(r"[\s_.-]+", "", plain), re.sub(r"[\s_.:-]+", "", unit)


def _resolve_meaning(name: str, requested: Mapping[str, str]) -> str | None:
    column = requested.get(name.strip())
    if column is not None:
        return None if column == ATTRIBUTE else column
    return find_column(name)


def _select_preferred(
    column: str, alike: list[int], names: Sequence[str], requested: Mapping[str, str]
) -> int | None:
    """Index of the name to use if several have one meaning; None if it is ambiguous."""
    requested_indexes = [index for index in alike if names[index].strip() in requested]
    if requested_indexes:
        return requested_indexes[0] if len(requested_indexes) == 1 else None
    keys = [normalize_name(names[index])[0] for index in alike]
    if column not in _PREFERRED or len(set(keys)) < len(keys):
        return None
    order = [name.replace("_", "") for name in COLUMN_NAMES[column]]
    listed = [index for index, key in zip(alike, keys, strict=True) if key in order]
    return min(
        listed or alike, key=lambda index: _rank_name(order, normalize_name(names[index])[0])
    )


def _rank_name(order: list[str], key: str) -> int:
    return order.index(key) if key in order else len(order)


def _check_file_column(file: str, columns: Columns) -> None:
    if "file" not in columns.understood:
        other_columns = ", ".join(name for name in COLUMN_NAMES if name != "file")
        raise BadManifestError(
            f"{file} names no files: its columns are {show_names(columns.names)}; wanted is "
            f"`file`, and any of {other_columns}"
        )


def _check_columns(
    file: str, columns: Columns, requested: Mapping[str, str], has_position: bool
) -> None:
    understood, named = columns.understood, show_names(columns.names)
    present = [name for name in ("latitude", "longitude") if name in understood]
    unclear = [name for name in columns.attributes if name.strip() not in requested]
    if len(present) < 2 and not has_position:
        _reject_unclear(file, "a position", [n for n in unclear if _looks_like_position(n)])
        if present:
            raise BadManifestError(
                f"{file} has a {present[0]} ({understood[present[0]]}) but not both of latitude "
                f"and longitude: its columns are {named}"
            )
    if "captured_at" not in understood:
        _reject_unclear(file, "a time", [n for n in unclear if _looks_like_time(n)])


def _reject_unclear(file: str, what: str, names: list[str]) -> None:
    """Raise `BadManifestError` for unknown names that look like a position or a time."""
    if names:
        shown_names = show_names(names)
        example = "latitude" if what == "a position" else "captured_at"
        first_name = clean_metadata_text(names[0], 40)
        raise BadManifestError(
            f"{file} has columns that look like {what} and are not understood: {shown_names}; "
            f"rename them, or say what they mean: --column {first_name}={example} "
            f"(={ATTRIBUTE} keeps one without a meaning)"
        )


def _looks_like_position(name: str) -> bool:
    key = normalize_name(name)[0]
    if key in _POSITION_NAMES or _POSITION_WORDS & set(_split_words(name)):
        return _IGNORED_NAMES.fullmatch(key) is None
    return find_column(re.sub(r"[\(\[].*", "", name)) in ("latitude", "longitude")


def _looks_like_time(name: str) -> bool:
    key, words = normalize_name(name)[0], set(_split_words(name))
    if _IGNORED_NAMES.fullmatch(key) or "".join(_split_words(name)[:1]) in _CHANGE_VERBS:
        return False
    alone = key in _TIME_PARTS or bool(_TIME_WORDS & words)
    return alone or bool(_TIME_PARTS & words and _TIME_KINDS & words)


def _split_words(name: str) -> list[str]:
    """Words of a name: `photoLatitude`, `photo_latitude` and `Photo latitude` have two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[a-z]+", spaced.casefold())


_BY_KEY: Final = {
    name.replace("_", ""): column for column, names in COLUMN_NAMES.items() for name in names
}
_UNIT_WORDS: Final = tuple(
    sorted({word for words in UNITS.values() for word in words}, key=len, reverse=True)
)
