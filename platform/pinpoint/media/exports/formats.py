"""Formats of exports: endings, media types, and whether a file can be sent while it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pinpoint.errors import BadRequestError

ExportSuffix = Literal["parquet", "fgb", "gpkg", "geojsons", "csv"]
EXPORT_SUFFIXES: Final[tuple[ExportSuffix, ...]] = get_args(ExportSuffix)

GeoParquetVersion = Literal["1.1", "2.0"]
GEOPARQUET_VERSIONS: Final[tuple[GeoParquetVersion, ...]] = get_args(GeoParquetVersion)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format of exports."""

    suffix: ExportSuffix
    name: str
    media_type: str
    driver: str | None = None
    """Driver of GDAL that writes a whole file; None: the file is sent while it is written."""


EXPORT_FORMATS: Final[dict[ExportSuffix, ExportFormat]] = {
    entry.suffix: entry
    for entry in (
        ExportFormat(
            suffix="parquet", name="GeoParquet", media_type="application/vnd.apache.parquet"
        ),
        ExportFormat(
            suffix="fgb",
            name="FlatGeobuf",
            media_type="application/flatgeobuf",
            driver="FlatGeobuf",
        ),
        ExportFormat(
            suffix="gpkg",
            name="GeoPackage",
            media_type="application/geopackage+sqlite3",
            driver="GPKG",
        ),
        ExportFormat(
            suffix="geojsons",
            name="GeoJSON text sequence",
            media_type="application/geo+json-seq",
        ),
        ExportFormat(suffix="csv", name="CSV", media_type="text/csv; charset=utf-8"),
    )
}


def find_export_format(suffix: str) -> ExportFormat:
    """Find a format by the ending of its files, without the dot, in any case.

    Raises:
        BadRequestError: No format has this ending.
    """
    for known in EXPORT_SUFFIXES:
        if suffix.lower() == known:
            return EXPORT_FORMATS[known]
    raise BadRequestError(
        f"the format of an export is one of {', '.join(EXPORT_SUFFIXES)}, not {suffix[:40]!r}"
    )
