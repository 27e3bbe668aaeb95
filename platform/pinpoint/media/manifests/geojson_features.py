"""GeoJSON as rows of a manifest: features with one position each (RFC 7946)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.manifests.columns import Columns, resolve_columns
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.media.manifests.row_limits import check_row_count
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, to_finite
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

if TYPE_CHECKING:
    from pinpoint.geo.reference_systems import Wgs84Transform

_WGS84: Final = frozenset({"CRS84", "CRS83", "4326", "WGS84"})
_SYSTEM_NAME: Final = re.compile(
    r"(?:urn:ogc:def:crs:)?(?:(?P<authority>EPSG|OGC|ESRI|IGNF|IAU)(?::[\w.]*)?:)?"
    r"(?P<code>[A-Z0-9]{2,20})",
    re.ASCII | re.IGNORECASE,
)
"""Names of reference systems: `EPSG:2154`, `urn:ogc:def:crs:EPSG::2154`, `CRS84`."""
_MAX_NAMES: Final = 256


def open_collection(
    path: Path,
    settings: MediaSettings,
    document: Mapping[str, Any],
    requested: Mapping[str, str],
    *,
    has_files: bool = False,
) -> ManifestTable:
    """Open a FeatureCollection that is loaded.

    Args:
        path: For messages.
        settings: `max_manifest_rows` applies.
        document: With a list of `features`, not validated yet.
        requested: Name → column, as given by the user.
        has_files: Features need not name files.

    Raises:
        BadManifestError: Its reference system is unknown, or see `resolve_properties`.
        TooLargeError: More features than allowed.
    """
    features: list[Any] = document["features"]
    system = read_reference_system(path, document.get("crs"))
    check_row_count(path, settings, len(features))
    names = list_properties(features)
    has_position = any(
        isinstance(feature, dict) and feature.get("geometry") is not None for feature in features
    )
    columns = resolve_properties(
        path, names, requested, has_position=has_position, has_files=has_files or not features
    )
    return ManifestTable(columns=columns, rows=read_features(features, columns, system))


def read_features(
    features: Iterable[Any], columns: Columns, system: Wgs84Transform | None
) -> Iterator[RawRow | Rejected]:
    """Features as rows; a bad feature becomes a `Rejected`."""
    for number, feature in enumerate(features, start=1):
        try:
            yield read_feature(feature, columns, system)
        except RejectedFileError as refused:
            named = f"feature {number}"
            yield rejected(named, refused.reason, f"{named}: {refused.detail}", error_stage="find")


def list_properties(features: Iterable[Any]) -> list[str]:
    """Names of all properties, in the order in which they first appear."""
    names: dict[str, None] = {}
    for feature in features:
        if isinstance(feature, dict) and isinstance(feature.get("properties"), dict):
            names.update(dict.fromkeys(feature["properties"]))
    return list(names)


def resolve_properties(
    path: Path,
    names: Sequence[str],
    requested: Mapping[str, str],
    *,
    has_position: bool,
    has_files: bool = False,
) -> Columns:
    """Resolve the meanings of the properties.

    Raises:
        BadManifestError: See `columns.resolve_columns`; or there are too many properties.
    """
    if len(names) > _MAX_NAMES:
        raise BadManifestError(f"{path.name} has {len(names)} properties; at most {_MAX_NAMES}")
    return resolve_columns(
        path.name, names, requested, has_position=has_position, has_files=has_files
    )


def read_feature(feature: object, columns: Columns, system: Wgs84Transform | None = None) -> RawRow:
    """Cells of one feature; the position of its geometry wins over properties of the same name.

    Args:
        feature: Parsed JSON.
        columns: Meanings of the properties.
        system: Reference system of the geometry; None for WGS84.

    Raises:
        RejectedFileError: `bad_row`; it has no properties, or its geometry is not one point.
    """
    if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
        raise RejectedFileError("bad_row", "it is not a feature with properties")
    meanings = dict(zip(columns.names, columns.meanings, strict=True))
    values: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, value in feature["properties"].items():
        meaning = meanings.get(name)
        if meaning is None:
            attributes[name] = value
        else:
            values[meaning] = value
    if feature.get("id") is not None:
        values.setdefault("external_id", feature["id"])
    coordinates = read_point(feature.get("geometry"))
    if coordinates is not None and system is not None:
        coordinates = _transform_point(coordinates, system)
    if coordinates is not None:
        values["longitude"], values["latitude"] = coordinates[:2]
        values.pop("longitude_ref", None)
        values.pop("latitude_ref", None)
        if len(coordinates) == 3:
            values.setdefault("altitude_m", coordinates[2])
    return RawRow(values=values, attributes=attributes)


def read_point(geometry: object) -> list[Any] | None:
    """Coordinates of a Point, of a MultiPoint or GeometryCollection of one; None for no geometry.

    Raises:
        RejectedFileError: `bad_row`.
    """
    if geometry is None:
        return None
    if not isinstance(geometry, dict):
        raise RejectedFileError("bad_row", "the geometry is not a GeoJSON geometry")
    kind = geometry.get("type")
    members = geometry.get("geometries" if kind == "GeometryCollection" else "coordinates")
    if kind in ("MultiPoint", "GeometryCollection"):
        if not isinstance(members, list) or len(members) != 1:
            count = len(members) if isinstance(members, list) else 0
            raise RejectedFileError(
                "bad_row", f"the geometry is a {kind} of {count}; one position is wanted"
            )
        if kind == "GeometryCollection":
            return read_point(members[0])
        members = members[0]
    elif kind != "Point":
        kind_name = clean_metadata_text(kind, 40) or "nothing"
        raise RejectedFileError("bad_row", f"the geometry is a {kind_name}; a Point is wanted")
    if members == []:
        return None
    if not isinstance(members, list) or len(members) not in (2, 3):
        raise RejectedFileError("bad_row", "a Point has two or three coordinates")
    return members


def read_reference_system(path: Path, crs: object) -> Wgs84Transform | None:
    """The reference system that a collection declares as in GeoJSON 2008; None for WGS84.

    RFC 7946 has no such member: its coordinates are always in WGS84.

    Raises:
        BadManifestError: It has no name of an authority and a code, or no transformation.
    """
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    match = _SYSTEM_NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        system_name = clean_metadata_text(name, 60) or "one without a name"
        raise BadManifestError(
            f"{path.name} is in the coordinate reference system {system_name}, which is not named "
            "by an authority and a code (EPSG:2154): convert it to WGS84 (EPSG:4326)"
        )
    code = match["code"].upper()
    if code in _WGS84:
        return None
    # Imported here: few collections have the member, and PROJ takes long to import.
    from pinpoint.geo.reference_systems import Wgs84Transform

    try:
        return Wgs84Transform(f"{(match['authority'] or 'EPSG').upper()}:{code}")
    except BadRequestError as error:
        raise BadManifestError(f"{path.name}: {error.message}") from error


def _transform_point(coordinates: list[Any], system: Wgs84Transform) -> list[Any]:
    """Longitude, latitude and the other coordinates of a point in a reference system.

    Raises:
        RejectedFileError: `bad_row`; they are no numbers, or outside of the system's area.
    """
    numbers = [to_finite(value) for value in coordinates[:2]]
    if numbers[0] is None or numbers[1] is None:
        raise RejectedFileError("bad_row", "the coordinates of the Point are no numbers")
    lon, lat = system.to_lon_lat(np.array(numbers[:1]), np.array(numbers[1:]))
    if not (np.isfinite(lon[0]) and np.isfinite(lat[0])):
        raise RejectedFileError("bad_row", f"the point is outside of the area of {system.name}")
    return [float(lon[0]), float(lat[0]), *coordinates[2:]]
