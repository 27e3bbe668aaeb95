"""GeoParquet 1.0, 1.1 and 2.0 as Arrow batches (https://geoparquet.org/releases/)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from pinpoint.errors import BadManifestError
from pinpoint.geo.reference_systems import Wgs84Transform

DEFAULT_SYSTEM: Final = "OGC:CRS84"
"""Reference system of a geometry column without the key `crs`, by the specification."""
ENCODINGS: Final = ("wkb", "point")
_BUFFER_BYTES: Final = 1 << 20
"""Column chunks are read in parts of this size, so a large row group needs little memory."""
_MAX_METADATA_BYTES: Final = 16_000_000


@contextmanager
def open_geoparquet(
    path: Path, batch_rows: int
) -> Iterator[tuple[pa.Schema, str | None, Wgs84Transform | None, Iterator[pa.RecordBatch]]]:
    """Open a Parquet file: schema, geometry column and its reference system, and the batches.

    A Parquet file without a geometry is a table; its positions are in columns.

    Args:
        path: The file.
        batch_rows: Maximum rows of a batch.

    Raises:
        BadManifestError: The metadata of GeoParquet cannot be used, or the geometry declares no
            reference system.
        pyarrow.ArrowException: It is not a Parquet file.
    """
    with parquet.ParquetFile(
        path,
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES,
        thrift_string_size_limit=_MAX_METADATA_BYTES,
    ) as file:
        schema = file.schema_arrow
        geometry, definition = _find_geometry(path, file)
        system = None if geometry is None else _read_system(path, definition)
        # The bbox covering repeats the geometry.
        columns = [
            field.name
            for field in schema
            if field.name == geometry or not pa.types.is_nested(field.type) or field.name != "bbox"
        ]
        yield (
            pa.schema([schema.field(name) for name in columns]),
            geometry,
            system,
            file.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False),
        )


def _find_geometry(path: Path, file: parquet.ParquetFile) -> tuple[str | None, Any]:
    """Name of the primary geometry column, and the definition of its reference system.

    Raises:
        BadManifestError: The metadata cannot be used.
    """
    text = (file.schema_arrow.metadata or {}).get(b"geo")
    if text is None:
        return _find_native_geometry(file)
    try:
        document = json.loads(text)
        name = document["primary_column"]
        column = document["columns"][name]
        encoding = str(column["encoding"]).lower()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadManifestError(
            f"{path.name} has GeoParquet metadata that cannot be read"
        ) from error
    if not isinstance(name, str) or name not in file.schema_arrow.names:
        raise BadManifestError(f"{path.name} does not have the geometry column that it names")
    if encoding not in ENCODINGS:
        raise BadManifestError(
            f"{path.name} has geometries in the encoding {encoding[:20]!r}; read are WKB and point"
        )
    return name, column.get("crs", DEFAULT_SYSTEM)


def _find_native_geometry(file: parquet.ParquetFile) -> tuple[str | None, Any]:
    """The first column of the logical type GEOMETRY or GEOGRAPHY (Parquet 2.11)."""
    for index in range(len(file.schema)):
        column = file.schema.column(index)
        logical_type = json.loads(column.logical_type.to_json())
        if str(logical_type.get("Type", "")).lower() in ("geometry", "geography"):
            definition = logical_type.get("crs") or DEFAULT_SYSTEM
            if isinstance(definition, str) and definition.startswith("srid:"):
                definition = f"EPSG:{definition.removeprefix('srid:')}"
            return column.name, definition
    return None, None


def _read_system(path: Path, definition: Any) -> Wgs84Transform:
    if definition is None:
        raise BadManifestError(
            f"{path.name} says that its coordinate reference system is unknown (crs: null): assign "
            "one, or convert the file to WGS84 (OGC:CRS84)"
        )
    return Wgs84Transform(json.dumps(definition) if isinstance(definition, dict) else definition)
