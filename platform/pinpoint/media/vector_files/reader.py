"""Opens vector files as Arrow batches; runs only in the child process of `vector_rows`.

The columns of the result are the fields of the file and, in addition, `LON`, `LAT`, `ALTITUDE` and
`FAULT` from the geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray

from pinpoint.errors import BadManifestError
from pinpoint.geo.reference_systems import Wgs84Transform
from pinpoint.media.vector_files.formats import (
    ALTITUDE,
    FAULT,
    GEOMETRY_KEY,
    LAT,
    LON,
    FormatName,
    VectorFormat,
)
from pinpoint.media.vector_files.geoparquet import open_geoparquet

BATCH_ROWS: Final = 8_192
"""Rows of one batch; limits the memory of both processes."""
MAX_LAYERS: Final = 64
_POINT, _MULTIPOINT = 0, 4
_Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.object_]]
_GEOMETRY_NAMES: Final = {
    1: "LineString",
    2: "LinearRing",
    3: "Polygon",
    5: "MultiLineString",
    6: "MultiPolygon",
    7: "GeometryCollection",
}


@contextmanager
def open_batches(
    path: Path, file_format: VectorFormat
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open a vector file as a schema and its batches, with positions in WGS84.

    Args:
        path: An absolute path, so that GDAL takes it for nothing but a local file.
        file_format: From `formats.find_format`.

    Raises:
        BadManifestError: The file cannot be read, has several layers, or declares no usable
            reference system.
    """
    if file_format.driver is None:
        with open_geoparquet(path, BATCH_ROWS) as (schema, geometry, system, batches):
            fields = [field for field in schema if field.name != geometry]
            schema = _extend_schema(fields, has_geometry=geometry is not None)
            yield schema, _add_positions(batches, schema, fields, geometry, system)
        return
    layer = _choose_layer(path, file_format)
    source = pyogrio.raw.open_arrow(
        str(path),
        layer=layer,
        batch_size=BATCH_ROWS,
        use_pyarrow=True,
        datetime_as_string=True,
        return_fids=False,
    )
    with source as (meta, reader):
        geometry = (meta["geometry_name"] or "wkb_geometry") if meta["geometry_type"] else None
        system = _read_system(path, file_format.name, meta["crs"]) if geometry else None
        fields = [field for field in reader.schema if field.name in set(meta["fields"])]
        schema = _extend_schema(fields, has_geometry=geometry is not None)
        yield schema, _add_positions(reader, schema, fields, geometry, system)


def _choose_layer(path: Path, file_format: VectorFormat) -> str:
    """The only layer of a file.

    Raises:
        BadManifestError: There is none or there are several, or another driver opened the file.
    """
    layers = [str(row[0]) for row in pyogrio.list_layers(str(path))[: MAX_LAYERS + 1]]
    if len(layers) != 1:
        names = ", ".join(layers[:5]) or "none"
        raise BadManifestError(
            f"{path.name} has {len(layers)} layers ({names}): save the one that names files as a "
            "file of its own"
        )
    info = pyogrio.read_info(str(path), layer=layers[0], force_feature_count=False)
    if info["driver"] != file_format.driver:
        raise BadManifestError(f"{path.name} is not a {file_format.name} file")
    return layers[0]


def _read_system(path: Path, name: FormatName, definition: Any) -> Wgs84Transform:
    if not definition or "Undefined" in str(definition)[:40]:
        hint = "add its .prj file" if name == "Shapefile" else "assign one"
        raise BadManifestError(
            f"{path.name} declares no coordinate reference system: {hint}, or convert the file to "
            "WGS84 (EPSG:4326)"
        )
    return Wgs84Transform(definition)


def _extend_schema(fields: list[pa.Field], *, has_geometry: bool) -> pa.Schema:
    return pa.schema(
        [
            *fields,
            *(pa.field(name, pa.float64()) for name in (LON, LAT, ALTITUDE)),
            pa.field(FAULT, pa.string()),
        ],
        metadata={GEOMETRY_KEY: b"1" if has_geometry else b"0"},
    )


def _add_positions(
    batches: Any,
    schema: pa.Schema,
    fields: list[pa.Field],
    geometry: str | None,
    system: Wgs84Transform | None,
) -> Iterator[pa.RecordBatch]:
    """Batches with the fields and the positions of their geometries."""
    for batch in batches:
        columns = [batch.column(batch.schema.get_field_index(field.name)) for field in fields]
        if geometry is None or system is None:
            empty = pa.nulls(batch.num_rows, pa.float64())
            positions = [empty, empty, empty, pa.nulls(batch.num_rows, pa.string())]
        else:
            index = batch.schema.get_field_index(geometry)
            positions = _read_positions(batch.column(index), system)
        yield pa.RecordBatch.from_arrays([*columns, *positions], schema=schema)


def _read_positions(column: pa.Array, system: Wgs84Transform) -> list[pa.Array]:
    """Longitude, latitude, altitude and fault of each geometry."""
    x, y, z, faults = _read_points(column)
    lon, lat = system.to_lon_lat(x, y)
    outside = np.isfinite(x) & np.isfinite(y) & ~(np.isfinite(lon) & np.isfinite(lat))
    faults[outside] = f"the point is outside of the area of {system.name}"
    numbers = [pa.array(v, mask=~np.isfinite(v)) for v in (lon, lat, z)]
    return [*numbers, pa.array(faults, pa.string())]


def _read_points(column: pa.Array) -> _Points:
    """Coordinates `[N]` (NaN without a point) and faults `[N]` of WKB or point structures."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    faults = np.full(len(column), None, dtype=object)
    if pa.types.is_struct(column.type):
        missing = np.full(len(column), np.nan)
        x, y, z = (
            np.where(
                column.is_valid().to_numpy(zero_copy_only=False),
                column.field(name).to_numpy(zero_copy_only=False).astype(np.float64),
                np.nan,
            )
            if column.type.get_field_index(name) >= 0
            else missing
            for name in ("x", "y", "z")
        )
        return x, y, z, faults
    values = np.array(column.to_pylist(), dtype=object)
    geometries = shapely.from_wkb(values, on_invalid="ignore")
    damaged = shapely.is_missing(geometries) & np.array([value is not None for value in values])
    faults[damaged] = "the geometry cannot be read"
    kinds = shapely.get_type_id(geometries)
    pairs = kinds == _MULTIPOINT
    several = pairs & (shapely.get_num_geometries(geometries) > 1)
    faults[several] = "the geometry is a MultiPoint of several positions; one is wanted"
    single = pairs & ~several
    geometries[single] = shapely.get_geometry(geometries[single], 0)
    for kind, name in _GEOMETRY_NAMES.items():
        faults[kinds == kind] = f"the geometry is a {name}; a Point is wanted"
    # Coordinates of anything but a point are NaN.
    return shapely.get_x(geometries), shapely.get_y(geometries), shapely.get_z(geometries), faults
