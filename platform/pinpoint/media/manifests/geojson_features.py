"""GeoJSON as rows of a manifest: features with one position each (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.manifests.columns import Columns, resolve_columns
from pinpoint.media.manifests.manifest_rows import RawRow
from pinpoint.media.metadata.raw_metadata import clean_metadata_text

MAX_GEOJSON_BYTES: Final = 64_000_000
"""Maximum size, because GeoJSON is loaded into memory; use CSV for more rows."""
_WGS84: Final = frozenset({"CRS84", "CRS83", "4326", "EPSG:4326", "WGS84"})
_MAX_NAMES: Final = 256


def load_features(path: Path) -> list[Any]:
    """Features of a collection, not validated yet.

    Raises:
        BadManifestError: It is not a GeoJSON FeatureCollection, or not in longitude and latitude.
        TooLargeError: Over `MAX_GEOJSON_BYTES`.
    """
    if path.stat().st_size > MAX_GEOJSON_BYTES:
        raise TooLargeError(f"{path.name} is over {MAX_GEOJSON_BYTES} bytes; give a CSV instead")
    try:
        document = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadManifestError(f"{path.name} is not JSON ({where})") from error
    except (ValueError, RecursionError) as error:
        why = "it is not UTF-8, too deep, or has a number of thousands of digits"
        raise BadManifestError(f"{path.name} is not JSON that can be read: {why}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise BadManifestError(f"{path.name} is not a GeoJSON FeatureCollection")
    _check_reference_system(path, document.get("crs"))
    return features


def list_properties(features: list[Any]) -> list[str]:
    """Names of all properties, in the order in which they first appear."""
    names: dict[str, None] = {}
    for feature in features:
        if isinstance(feature, dict) and isinstance(feature.get("properties"), dict):
            names.update(dict.fromkeys(feature["properties"]))
    return list(names)


def resolve_properties(path: Path, features: list[Any], requested: Mapping[str, str]) -> Columns:
    """Resolve the meanings of the properties.

    Raises:
        BadManifestError: See `columns.resolve_columns`; or there are too many properties.
    """
    names = list_properties(features)
    if len(names) > _MAX_NAMES:
        raise BadManifestError(f"{path.name} has {len(names)} properties; at most {_MAX_NAMES}")
    has_position = any(
        isinstance(feature, dict) and feature.get("geometry") is not None for feature in features
    )
    return resolve_columns(path.name, names, requested, has_position=has_position)


def read_feature(feature: object, columns: Columns) -> RawRow:
    """Cells of one feature; the position of its geometry wins over properties of the same name.

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
    coordinates = _read_point(feature.get("geometry"))
    if coordinates is not None:
        values["longitude"], values["latitude"] = coordinates[:2]
        values.pop("longitude_ref", None)
        values.pop("latitude_ref", None)
        if len(coordinates) == 3:
            values.setdefault("altitude_m", coordinates[2])
    return RawRow(values=values, attributes=attributes)


def _read_point(geometry: object) -> list[Any] | None:
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
            return _read_point(members[0])
        members = members[0]
    elif kind != "Point":
        kind_name = clean_metadata_text(kind, 40) or "nothing"
        raise RejectedFileError("bad_row", f"the geometry is a {kind_name}; a Point is wanted")
    if members == []:
        return None
    if not isinstance(members, list) or len(members) not in (2, 3):
        raise RejectedFileError("bad_row", "a Point has two or three coordinates")
    return members


def _check_reference_system(path: Path, crs: object) -> None:
    """Raise `BadManifestError` for a collection that declares anything but WGS84 (GeoJSON 2008)."""
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    last = name.rpartition(":")[2].upper() if isinstance(name, str) else ""
    if last not in _WGS84:
        system_name = clean_metadata_text(name, 60) or "one without a name"
        raise BadManifestError(
            f"{path.name} is in the coordinate reference system {system_name}: convert it to WGS84 "
            "(EPSG:4326)"
        )
