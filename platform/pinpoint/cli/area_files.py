"""Areas in files: GeoJSON, and all vector formats that GDAL reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadRequestError, describe_cause

_GEOJSON_SUFFIXES: Final = (".geojson", ".json")
_MAX_GEOJSON_BYTES: Final = 10_000_000
_POLYGON_TYPES: Final = (3, 6)
"""Shapely's numbers of Polygon and MultiPolygon."""


def read_area(path: Path) -> str:
    """Read an area as GeoJSON in WGS84.

    Args:
        path: GeoJSON, whose rings the API checks, or a file of another format (GeoPackage,
            Shapefile, FlatGeobuf, KML …) with a declared reference system: its first layer.

    Raises:
        BadRequestError: The file cannot be read, or contains no polygons.
    """
    try:
        if path.suffix.lower() in _GEOJSON_SUFFIXES:
            return _read_geojson(path)
        return _read_layer(path)
    except OSError as error:
        raise BadRequestError(
            f"{path} cannot be read: {describe_cause(error)}", reason="unreadable"
        ) from error


def _read_geojson(path: Path) -> str:
    """Read GeoJSON without the properties, which filters ignore.

    Raises:
        BadRequestError: The file is too large, or not GeoJSON.
    """
    if path.stat().st_size > _MAX_GEOJSON_BYTES:
        raise BadRequestError(f"{path} is larger than {_MAX_GEOJSON_BYTES:,} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path} is not GeoJSON: {describe_cause(error)}") from error
    return json.dumps(_without_properties(document), separators=(",", ":"))


def _without_properties(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    kept = {name: value for name, value in document.items() if name != "properties"}
    if isinstance(kept.get("features"), list):
        kept["features"] = [_without_properties(feature) for feature in kept["features"]]
    return kept


def _read_layer(path: Path) -> str:
    """Read the polygons of a layer and convert them to WGS84.

    Raises:
        BadRequestError: GDAL cannot read the file, it declares no reference system, or a geometry
            is no polygon.
    """
    # Imported here so that other commands start without GDAL.
    import pyogrio.errors
    import pyogrio.raw
    import shapely
    from pyproj import Transformer

    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file")
    try:
        layer, _, geometries, _ = pyogrio.raw.read(path, columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise BadRequestError(f"{path} cannot be read as vector data: {error}") from error
    if layer["crs"] is None:
        raise BadRequestError(f"{path} declares no coordinate reference system")
    shapes = [shape for shape in shapely.from_wkb(geometries) if shape is not None]
    if not shapes or any(shapely.get_type_id(shape) not in _POLYGON_TYPES for shape in shapes):
        raise BadRequestError(f"{path} must contain polygons, and no other geometries")
    to_wgs84 = Transformer.from_crs(layer["crs"], "EPSG:4326", always_xy=True)
    converted = shapely.transform(shapes, to_wgs84.transform, interleaved=False)
    return str(shapely.to_geojson(shapely.multipolygons(shapely.get_parts(converted))))
