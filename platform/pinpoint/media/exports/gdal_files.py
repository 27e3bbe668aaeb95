"""FlatGeobuf and GeoPackage of exports, written by GDAL as whole files with a spatial index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from pinpoint.errors import UnavailableError
from pinpoint.media.exports.point_columns import GEOMETRY, place_geometry, replace_position
from pinpoint.records import ExportRows

LAYER: Final = "images"
_WRITE_ERRORS: Final = (
    DataLayerError,
    DataSourceError,
    FeatureError,
    pa.ArrowException,
    OSError,
)


def write_gdal_file(
    path: Path, rows: ExportRows, driver: str, check_space: Callable[[], None]
) -> None:
    """Write one layer of points in WGS84 (EPSG:4326). GDAL stores times to the millisecond.

    Args:
        path: A new file; FlatGeobuf needs twice its size in the folder while it is written.
        rows: The rows; without embeddings, for which these formats have no type.
        driver: `FlatGeobuf` or `GPKG`.
        check_space: Called before each batch; its error ends the export.

    Raises:
        UnavailableError: The file cannot be written, such as for lack of disk space.
    """
    source = _Source(rows.batches, check_space)
    reader = pa.RecordBatchReader.from_batches(place_geometry(rows.schema), source)
    try:
        pyogrio.write_arrow(
            reader,
            str(path.absolute()),
            layer=LAYER,
            driver=driver,
            geometry_name=GEOMETRY,
            geometry_type="Point",
            crs="EPSG:4326",
            layer_options={"SPATIAL_INDEX": "YES"},
        )
    except (*_WRITE_ERRORS, RuntimeError) as error:
        if source.error is not None:
            # GDAL knows only that the source failed, and pyogrio raises a RuntimeError.
            raise source.error from error
        if not isinstance(error, _WRITE_ERRORS):
            raise
        raise UnavailableError(
            "the file of the export cannot be written; is the disk full?", reason="export_failed"
        ) from error


class _Source:
    """Batches with a geometry, in the form of GDAL; keeps the error that ended them."""

    def __init__(self, batches: Iterator[pa.RecordBatch], check_space: Callable[[], None]) -> None:
        self._batches, self._check_space = batches, check_space
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for batch in self._batches:
                self._check_space()
                yield replace_position(batch)
        except BaseException as error:
            self.error = error
            raise
