"""Vector files for tests: the same rows in each format and reference system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import shapely
from pyarrow import parquet

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".shp": "ESRI Shapefile"}
POSITIONS = {"a.jpg": (48.8583, 2.2945), "b.jpg": (43.2965, 5.3698)}
"""File → latitude and longitude, degrees."""


def project(crs: str | None, lat: float, lon: float) -> tuple[float, float]:
    """Easting and northing, or longitude and latitude."""
    if crs is None:
        return lon, lat
    transformer = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = transformer.transform(lon, lat)
    return float(x), float(y)


def write_vector_file(
    path: Path,
    crs: str | None,
    *,
    geometries: list[shapely.Geometry | None] | None = None,
    columns: dict[str, list[Any]] | None = None,
    layer: str = "photos",
) -> Path:
    """Write two files with positions, or the given geometries and columns.

    Args:
        path: Its suffix decides the format.
        crs: Reference system; None declares none.
        geometries: One for each row.
        columns: Field → values.
        layer: Name of the layer.
    """
    if geometries is None:
        points = [project(crs, lat, lon) for lat, lon in POSITIONS.values()]
        geometries = [shapely.Point(point) for point in points]
    # A Shapefile cuts longer names.
    heading = "heading_de" if path.suffix == ".shp" else "heading_deg"
    columns = columns or {"file": list(POSITIONS), heading: [90.5, None]}
    if path.suffix == ".parquet":
        return write_geoparquet(path, crs, geometries, columns)
    data = [
        np.array(
            values,
            dtype=object if any(isinstance(value, str) for value in values) else np.float64,
        )
        for values in columns.values()
    ]
    pyogrio.raw.write(
        path,
        geometry=np.array(shapely.to_wkb(geometries), dtype=object),
        field_data=data,
        fields=np.array(list(columns), dtype=object),
        geometry_type="Unknown" if path.suffix != ".shp" else "Point",
        crs=crs,
        driver=DRIVERS[path.suffix],
        layer=layer,
        append=path.exists(),
    )
    return path


def write_geoparquet(
    path: Path, crs: str | None, geometries: list[Any], columns: dict[str, list[Any]], **column: Any
) -> Path:
    """Write GeoParquet 1.1; without a reference system its member `crs` is null."""
    system = None if crs is None else pyproj.CRS(crs).to_json_dict()
    described = {"encoding": "WKB", "geometry_types": [], "crs": system, **column}
    geo = {"version": "1.1.0", "primary_column": "geom", "columns": {"geom": described}}
    table = pa.table({**columns, "geom": list(shapely.to_wkb(geometries))})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


class WkbType(pa.ExtensionType):
    """The type that Arrow writes as Parquet's logical type GEOMETRY (geoarrow.wkb)."""

    def __init__(self, crs: str) -> None:
        self.crs = crs
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"crs": self.crs}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> WkbType:
        return cls(json.loads(serialized)["crs"])


def write_native_geometry(path: Path, crs: str) -> Path:
    """Write the files with positions with a column of the logical type GEOMETRY."""
    points = [shapely.Point(project(crs, lat, lon)) for lat, lon in POSITIONS.values()]
    kind = WkbType(crs)
    pa.register_extension_type(kind)
    try:
        storage = pa.array(list(shapely.to_wkb(points)), pa.binary())
        geometry = pa.ExtensionArray.from_storage(kind, storage)
        table = pa.table({"file": list(POSITIONS), "geometry": geometry})
        parquet.write_table(table, path, store_schema=False)
    finally:
        pa.unregister_extension_type("geoarrow.wkb")
    return path
