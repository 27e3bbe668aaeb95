"""Columns that GIS formats derive from `lon` and `lat`: the geometry as WKB, and bounding boxes."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

GEOMETRY: Final = "geometry"
_POINT_TYPE: Final = 1
_WKB_POINT: Final = np.dtype(
    [("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")], align=False
)
"""Well-known binary of a point, little-endian (OGC 06-103r4, 8.2): 21 bytes."""

Coordinates = NDArray[np.float64]


def read_lon_lat(batch: pa.RecordBatch) -> tuple[Coordinates, Coordinates]:
    """Longitudes and latitudes of a batch, each `[N]`, degrees."""
    lon, lat = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("lon", "lat"))
    return lon, lat


def to_wkb(lon: Coordinates, lat: Coordinates) -> pa.BinaryArray:
    """Points `[N]` in well-known binary."""
    points = np.zeros(len(lon), dtype=_WKB_POINT)
    points["order"], points["type"] = 1, _POINT_TYPE
    points["x"], points["y"] = lon, lat
    offsets = np.arange(len(lon) + 1, dtype=np.int32) * _WKB_POINT.itemsize
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(lon), [None, pa.py_buffer(offsets), pa.py_buffer(points.tobytes())]
    )


def replace_position(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Replace the columns `lat` and `lon` by the geometry, which comes first."""
    rest = batch.drop_columns(["lat", "lon"])
    geometry = to_wkb(*read_lon_lat(batch))
    schema = place_geometry(batch.schema)
    return pa.RecordBatch.from_arrays([geometry, *rest.columns], schema=schema)


def place_geometry(schema: pa.Schema) -> pa.Schema:
    """Schema of the batches of `replace_position`."""
    fields = [field for field in schema if field.name not in ("lat", "lon")]
    return pa.schema([pa.field(GEOMETRY, pa.binary(), nullable=False), *fields])
