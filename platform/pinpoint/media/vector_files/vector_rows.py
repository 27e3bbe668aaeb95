"""Rows of a vector file, from a child process with limits (docs/explanation/hostile-files.md).

GDAL and Arrow parse untrusted binary files, so they run in a process of their own: without the
environment, without network drivers, with limited memory, and without writing to files.
"""

from __future__ import annotations

import io
import json
import math
import select
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pinpoint.errors import BadManifestError
from pinpoint.media.decoding.child_environment import build_child_environment
from pinpoint.media.files import is_below
from pinpoint.media.vector_files.formats import (
    ALTITUDE,
    FAULT,
    GEOMETRY_KEY,
    LAT,
    LON,
    REFUSED,
    find_format,
)
from pinpoint.settings import MediaSettings

STALL_S: Final = 60.0
"""Maximum time in which the child writes nothing."""
_GDAL_ENVIRONMENT: Final = {
    "GDAL_DRIVER_PATH": "disable",
    "OGR_SQLITE_LOAD_EXTENSIONS": "",
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "GDAL_SKIP": "OGR_VRT,GPSBABEL,HTTP,WFS,OAPIF,CSW,DODS,PostgreSQL,MySQL,ODBC,MSSQLSpatial",
    "PROJ_NETWORK": "OFF",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_SIDE_FILES: Final = (".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx")


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFields:
    """Fields of a vector file."""

    names: tuple[str, ...]
    has_geometry: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRow:
    """One feature of a vector file."""

    cells: tuple[Any, ...]
    """Values of the fields, in their order: text, number, boolean, None, or a list or map of
    these; times are ISO 8601 texts."""
    lon: float | None
    """Degrees in WGS84; None without a geometry."""
    lat: float | None
    altitude_m: float | None
    fault: str | None
    """Why the geometry is not a position, for users; None if it is one."""


def open_vector_file(
    path: Path, settings: MediaSettings
) -> tuple[VectorFields, Iterator[VectorRow]]:
    """Open a vector file: its fields, and its features in their order, in constant memory.

    The child process ends with the iterator.

    Args:
        path: GeoParquet, GeoPackage, FlatGeobuf or Shapefile.
        settings: `memory_mb` applies.

    Raises:
        BadManifestError: It cannot be read, or declares no usable reference system. The iterator
            raises it as well.
    """
    stream = _open_stream(path, settings)
    reader = next(stream)
    fields = VectorFields(
        names=_list_fields(reader.schema),
        has_geometry=(reader.schema.metadata or {}).get(GEOMETRY_KEY) == b"1",
    )
    return fields, _read_rows(stream, fields)


def _read_rows(stream: Iterator[Any], fields: VectorFields) -> Iterator[VectorRow]:
    for batch in stream:
        positions = [batch.column(name).to_pylist() for name in (LON, LAT, ALTITUDE, FAULT)]
        columns = [_to_values(batch.column(index)) for index in range(len(fields.names))]
        rows = zip(*columns, strict=True) if columns else [()] * batch.num_rows
        for cells, lon, lat, altitude_m, fault in zip(rows, *positions, strict=True):
            yield VectorRow(cells=cells, lon=lon, lat=lat, altitude_m=altitude_m, fault=fault)


def _list_fields(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(name for name in schema.names if name not in (LON, LAT, ALTITUDE, FAULT))


def _to_values(column: pa.Array) -> list[Any]:
    """Values of a column as JSON could hold them; binary values are omitted."""
    if pa.types.is_temporal(column.type):
        return [None if value is None else _to_iso(value) for value in column.to_pylist()]
    if pa.types.is_floating(column.type):
        # NaN marks a missing number in files of pandas.
        return [None if v is None or math.isnan(v) else v for v in column.to_pylist()]
    if _is_plain(column.type):
        return list(column.to_pylist())
    return [None] * len(column)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a type holds text, numbers and booleans only."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    checks = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(check(kind) for check in checks)


def _to_iso(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _open_stream(path: Path, settings: MediaSettings) -> Generator[Any, None, None]:
    """Start the child; yields the reader of its stream, then its batches."""
    path = path.absolute()
    find_format(path)
    _check_side_files(path)
    request = {"path": str(path), "memory_mb": settings.memory_mb}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pinpoint.media.vector_files", json.dumps(request)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=build_child_environment() | _GDAL_ENVIRONMENT,
        start_new_session=True,
    )
    try:
        if process.stdout is None:
            raise BadManifestError(f"{path.name} cannot be read: its reader has no pipe")
        stream = io.BufferedReader(_StallingPipe(process.stdout.fileno()), 1 << 20)
        try:
            reader = pa.ipc.open_stream(stream)
            yield reader
            yield from reader
        except _StallError as error:
            raise BadManifestError(
                f"{path.name} cannot be read: nothing was read for {STALL_S:g} s"
            ) from error
        except (pa.ArrowException, EOFError) as error:
            raise BadManifestError(_explain_end(path, process)) from error
        if process.wait(timeout=STALL_S):
            raise BadManifestError(_explain_end(path, process))
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _explain_end(path: Path, process: subprocess.Popen[bytes]) -> str:
    """Explain to users why the child has ended."""
    try:
        status = process.wait(timeout=STALL_S)
    except subprocess.TimeoutExpired:
        status = None
    text = process.stderr.read(100_000).decode("utf-8", "replace") if process.stderr else ""
    if status == REFUSED:
        # Libraries may have written before.
        return str(json.loads(text[text.rindex('{"message"') :])["message"])
    return f"{path.name} cannot be read: the file brought its reader down (status {status})"


def _check_side_files(path: Path) -> None:
    """Raise `BadManifestError` if a file next to a Shapefile is a link to another folder."""
    if path.suffix.lower() != ".shp":
        return
    folder = path.parent.resolve()
    for suffix in _SIDE_FILES:
        side_file = path.with_suffix(suffix)
        if side_file.is_symlink() and not is_below(side_file, folder):
            raise BadManifestError(f"{side_file.name} is a link to a file outside of its folder")


class _StallError(OSError):
    """The child has written nothing for `STALL_S` seconds."""


class _StallingPipe(io.RawIOBase):
    """A pipe whose reads wait at most `STALL_S` seconds."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        ready, _, _ = select.select([self._fd], [], [], STALL_S)
        if not ready:
            raise _StallError("the reader of a vector file writes nothing")
        return io.FileIO(self._fd, closefd=False).readinto(buffer) or 0
