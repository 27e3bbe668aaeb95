"""GeoParquet 1.1 and 2.0 of exports (https://geoparquet.org/releases/), written as a stream.

Points in WGS84, longitude first (OGC:CRS84), in the order of their H3 cells. Row groups are small
enough to read a part of the world, and large enough to compress well.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyproj
from numpy.typing import NDArray
from pyarrow import parquet

from pinpoint.media.exports.byte_sink import ByteSink
from pinpoint.media.exports.formats import GeoParquetVersion
from pinpoint.media.exports.point_columns import (
    GEOMETRY_COLUMN,
    Coordinates,
    place_geometry,
    read_lon_lat,
    replace_position,
)
from pinpoint.records import ExportRows

GROUP_ROWS: Final = 65_536
"""Rows of a row group; the last one has up to `MIN_LAST_ROWS` more, so that it is not small."""
MIN_LAST_ROWS: Final = 50_000
MAX_GROUP_BYTES: Final = 96 << 20
"""Size at which a row group ends early: rows with embeddings are large."""
COMPRESSION_LEVEL: Final = 3
"""Level of zstd. Level 15 makes files 4 % smaller and takes five times the CPU time (measured)."""

_BBOX: Final = "bbox"
_BBOX_TYPE: Final = pa.struct(
    [pa.field(name, pa.float32(), nullable=False) for name in ("xmin", "ymin", "xmax", "ymax")]
)
_UNIQUE: Final = frozenset({"id", "external_id", "sha256", "uri", GEOMETRY_COLUMN, _BBOX})
"""Columns whose values hardly repeat: a dictionary would be given up after the work."""


class _WkbType(pa.ExtensionType):  # type: ignore[misc]
    """Arrow's type of WKB (`geoarrow.wkb`), written as Parquet's logical type GEOMETRY.

    Parquet's default reference system is OGC:CRS84.
    """

    def __init__(self) -> None:
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"{}"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: Any) -> _WkbType:
        return cls()


def stream_geoparquet(rows: ExportRows, version: GeoParquetVersion) -> Generator[bytes]:
    """Write a GeoParquet file; its parts are returned as they are complete.

    Args:
        rows: The rows.
        version: 1.1 stores WKB in a binary column, 2.0 in Parquet's logical type GEOMETRY, which
            readers with libarrow 19 and older cannot open. Both have the covering `bbox`.
    """
    sink, schema = ByteSink(), _file_schema(rows.schema, version)
    extent = _Extent()
    with parquet.ParquetWriter(
        sink,
        schema,
        version="2.6",
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=[name for name in schema.names if name not in _UNIQUE],
        write_page_index=True,
    ) as writer:
        for group in _group_batches(rows.batches):
            columns = [_to_file_batch(batch, schema, extent) for batch in group]
            writer.write_table(pa.Table.from_batches(columns, schema), row_group_size=1 << 30)
            yield sink.take()
        writer.add_key_value_metadata({"geo": json.dumps(_geo_metadata(version, extent))})
    yield sink.take()


def _file_schema(schema: pa.Schema, version: GeoParquetVersion) -> pa.Schema:
    geometry, *rest = place_geometry(schema)
    if version == "2.0":
        geometry = geometry.with_type(_WkbType())
    return pa.schema([geometry, pa.field(_BBOX, _BBOX_TYPE, nullable=False), *rest])


def _to_file_batch(batch: pa.RecordBatch, schema: pa.Schema, extent: _Extent) -> pa.RecordBatch:
    lon, lat = read_lon_lat(batch)
    extent.add(lon, lat)
    geometry, *rest = replace_position(batch).columns
    if isinstance(schema.field(GEOMETRY_COLUMN).type, _WkbType):
        geometry = pa.ExtensionArray.from_storage(_WkbType(), geometry)
    return pa.RecordBatch.from_arrays([geometry, _to_boxes(lon, lat), *rest], schema=schema)


def _group_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches of each row group, which are whole batches."""
    pending: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    for batch in batches:
        pending.append(batch)
        num_rows += batch.num_rows
        num_bytes += batch.nbytes
        if num_rows >= GROUP_ROWS + MIN_LAST_ROWS or num_bytes >= MAX_GROUP_BYTES:
            taken = _count_leading(pending, GROUP_ROWS)
            yield pending[:taken]
            pending = pending[taken:]
            num_rows = sum(rest.num_rows for rest in pending)
            num_bytes = sum(rest.nbytes for rest in pending)
    if pending:
        yield pending


def _count_leading(batches: list[pa.RecordBatch], num_rows: int) -> int:
    """Number of leading batches that have at least this many rows; all, if they have fewer."""
    for count, total in enumerate(np.cumsum([batch.num_rows for batch in batches]), start=1):
        if total >= num_rows:
            return count
    return len(batches)


class _Extent:
    """The bounding box of all points so far."""

    def __init__(self) -> None:
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)

    def add(self, lon: Coordinates, lat: Coordinates) -> None:
        """Extend the box by points, each `[N]`, N ≥ 1."""
        self._low = np.minimum(self._low, [lon.min(), lat.min()])
        self._high = np.maximum(self._high, [lon.max(), lat.max()])

    def to_bbox(self) -> list[float] | None:
        """West, south, east, north; None without a point."""
        if self._low[0] > self._high[0]:
            return None
        return [*self._low.tolist(), *self._high.tolist()]


def _to_boxes(lon: Coordinates, lat: Coordinates) -> pa.StructArray:
    """The covering of each point: a box of 32-bit numbers, rounded outward."""
    sides = [
        _round_outwards(lon, -1),
        _round_outwards(lat, -1),
        _round_outwards(lon, 1),
        _round_outwards(lat, 1),
    ]
    return pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(_BBOX_TYPE))


def _round_outwards(degrees: Coordinates, direction: int) -> NDArray[np.float32]:
    """Nearest 32-bit numbers that are not above (-1) or not below (1) the values."""
    near = degrees.astype(np.float32)
    is_inside = (near.astype(np.float64) - degrees) * direction < 0
    return np.where(is_inside, np.nextafter(near, np.float32(direction * np.inf)), near)


def _geo_metadata(version: GeoParquetVersion, extent: _Extent) -> dict[str, Any]:
    """File metadata `geo`, the same fields in both versions."""
    bbox = extent.to_bbox()
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": _describe_crs84(),
        "covering": {_BBOX: {side: [_BBOX, side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if bbox is not None:
        column["bbox"] = bbox
    return {
        "version": f"{version}.0",
        "primary_column": GEOMETRY_COLUMN,
        "columns": {GEOMETRY_COLUMN: column},
    }


@cache
def _describe_crs84() -> dict[str, Any]:
    """OGC:CRS84 as PROJJSON."""
    description: dict[str, Any] = pyproj.CRS.from_user_input("OGC:CRS84").to_json_dict()
    return description
