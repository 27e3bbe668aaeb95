"""Formats of vector files: suffixes and signatures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pinpoint.errors import BadManifestError

FormatName = Literal["GeoParquet", "GeoPackage", "FlatGeobuf", "Shapefile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFormat:
    """One format that a vector file may have."""

    name: FormatName
    suffixes: tuple[str, ...]
    signature: bytes
    """First bytes of each file."""
    driver: str | None
    """The only driver of GDAL that may open such a file; None: pyarrow reads it."""


VECTOR_FORMATS: Final = (
    VectorFormat(
        name="GeoParquet", suffixes=(".parquet", ".geoparquet"), signature=b"PAR1", driver=None
    ),
    VectorFormat(
        name="GeoPackage",
        suffixes=(".gpkg",),
        signature=b"SQLite format 3\x00",
        driver="GPKG",
    ),
    VectorFormat(
        name="FlatGeobuf", suffixes=(".fgb",), signature=b"fgb\x03fgb", driver="FlatGeobuf"
    ),
    VectorFormat(
        name="Shapefile",
        suffixes=(".shp",),
        signature=b"\x00\x00\x27\x0a",
        driver="ESRI Shapefile",
    ),
)
LON: Final = "\x1flongitude"
LAT: Final = "\x1flatitude"
ALTITUDE: Final = "\x1faltitude_m"
FAULT: Final = "\x1ffault"
"""Columns that the child adds: the position in WGS84, and why the geometry of a row is not a
position. The names begin with a control character, so no field has them."""
GEOMETRY_KEY: Final = b"has_geometry"
"""Key of the metadata of the schema that the child writes; `1` if the rows have geometries."""
REFUSED: Final = 3
"""Exit status of the child after a refusal, whose message is on stderr."""
VECTOR_SUFFIXES: Final = frozenset(suffix for entry in VECTOR_FORMATS for suffix in entry.suffixes)


def find_format(path: Path) -> VectorFormat:
    """The format of a file by its suffix, which its first bytes must confirm.

    The check keeps every other driver of GDAL, such as those that open remote files, from opening
    the file.

    Raises:
        BadManifestError: The file has another content than its suffix says, or cannot be opened.
    """
    suffix = path.suffix.lower()
    file_format = next(entry for entry in VECTOR_FORMATS if suffix in entry.suffixes)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(file_format.signature))
    except OSError as error:
        raise BadManifestError(f"{path.name} cannot be opened: {error.strerror}") from error
    if head != file_format.signature:
        raise BadManifestError(f"{path.name} is not a {file_format.name} file")
    return file_format
