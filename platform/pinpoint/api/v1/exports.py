"""`/v1/exports`: the rows of the gallery as a file."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter

from pinpoint.api import problems
from pinpoint.api.auth import can_see_paths
from pinpoint.api.dependencies import AppServices, ExportCaller
from pinpoint.api.export_stream import ExportResponse, ExportSlots, ExportStream
from pinpoint.api.v1.image_filter_parameters import to_image_filter
from pinpoint.api.v1.schemas.exports import ExportQuery
from pinpoint.bootstrap import Services
from pinpoint.errors import InvalidRequestError, TooLargeError
from pinpoint.http_headers import ROWS_HEADER
from pinpoint.media.exports.formats import EXPORT_FORMATS, ExportFormat, ExportSuffix
from pinpoint.media.exports.geoparquet import stream_geoparquet
from pinpoint.media.exports.temporary_files import measure_files, open_temporary_folder
from pinpoint.media.exports.text_files import stream_csv, stream_geojson_sequence
from pinpoint.records import AuditEntry, Caller, EmbeddingColumn, ExportRequest, ExportRows
from pinpoint.stack.paths import StackPaths

router = APIRouter(prefix="/v1/exports", tags=["exports"])

Suffix = Annotated[
    ExportSuffix, PathParameter(description="Format of the file.", examples=["parquet"])
]
_FILE_SCHEMA: Final = {"schema": {"type": "string", "format": "binary"}}
_READ_BYTES: Final = 1 << 20


@router.get(
    "/images.{suffix}",
    operation_id="export_images",
    summary="Export images",
    response_class=Response,
    responses={
        200: {
            "description": "The file. The connection is closed early if the export fails.",
            "content": {entry.media_type: _FILE_SCHEMA for entry in EXPORT_FORMATS.values()},
            "headers": {
                ROWS_HEADER: {"description": "Number of rows.", "schema": {"type": "integer"}}
            },
        },
        **problems.problem_responses(400, 401, 403, 404, 413, 422, 503),
    },
)
def export_images(
    suffix: Suffix,
    caller: ExportCaller,
    services: AppServices,
    query: Annotated[ExportQuery, Query()],
    request: Request,
) -> Response:
    """Return all images that match as one file: one state of the gallery, in the order of H3 cells.

    Every row has license and attribution. GeoParquet, GeoJSON text sequences and CSV are sent while
    they are written; FlatGeobuf and GeoPackage are written first. The number of concurrent exports
    is limited (503). Each export is written to the audit log.
    """
    export_format = EXPORT_FORMATS[suffix]
    query.check_format(suffix)
    with services.database.read(caller.organization_id) as catalog:
        image_filter = to_image_filter(query, catalog)
    settings = services.settings.export
    rows_request = ExportRequest(
        image_filter=image_filter,
        has_paths=can_see_paths(caller),
        embedding=_find_embedding(query, services),
    )
    slots: ExportSlots = request.app.state.export_slots
    export = ExportStream(
        slots.occupy(caller.organization_id, settings.max_running),
        lambda: services.gallery.export(caller.organization_id, rows_request, settings.timeout_s),
        partial(_write_parts, export_format, query, services),
        partial(_log_rows, export_format, query, caller, services),
    )
    return ExportResponse(export, settings.timeout_s, export_format.media_type, f"images.{suffix}")


@router.head("/images.{suffix}", include_in_schema=False)
def describe_export(
    suffix: Suffix, caller: ExportCaller, query: Annotated[ExportQuery, Query()]
) -> Response:
    """Return the content type of an export."""
    query.check_format(suffix)
    return Response(
        media_type=EXPORT_FORMATS[suffix].media_type,
        headers={"Content-Disposition": f'attachment; filename="images.{suffix}"'},
    )


def _find_embedding(query: ExportQuery, services: Services) -> EmbeddingColumn | None:
    if query.embeddings is None:
        return None
    contract = services.index.info().contract
    if contract is None:
        raise InvalidRequestError("the index is empty, so no image has an embedding")
    return EmbeddingColumn(contract=contract, channel=query.embeddings, type=query.embedding_type)


def _write_parts(
    export_format: ExportFormat,
    query: ExportQuery,
    services: Services,
    rows: ExportRows,
    stack: ExitStack,
) -> tuple[Generator[bytes], int | None]:
    """Parts of the file, and its size if it is a whole file."""
    if export_format.driver is not None:
        path = _write_file(export_format, services, rows, stack)
        return _read_parts(path), path.stat().st_size
    if export_format.suffix == "parquet":
        return stream_geoparquet(rows, query.geoparquet_version), None
    if export_format.suffix == "csv":
        return stream_csv(rows), None
    return stream_geojson_sequence(rows), None


def _write_file(
    export_format: ExportFormat, services: Services, rows: ExportRows, stack: ExitStack
) -> Path:
    """Write a whole file into a temporary folder, which is deleted when the export is closed."""
    # Loading GDAL takes a second, which the start of the API should not wait for.
    from pinpoint.media.exports.gdal_files import write_gdal_file

    root = StackPaths(services.settings.services.home).exports_dir
    max_bytes = services.settings.export.max_disk_bytes
    # FlatGeobuf is written twice: in the order of the rows, then in that of its index.
    factor = 2 if export_format.suffix == "fgb" else 1

    def check_space() -> None:
        if factor * measure_files(root) > max_bytes:
            raise TooLargeError(
                f"the temporary files of exports would exceed {max_bytes} bytes "
                "(PINPOINT_EXPORT_MAX_DISK_BYTES); GeoParquet needs no temporary file"
            )

    folder = stack.enter_context(open_temporary_folder(root))
    path = folder / f"images.{export_format.suffix}"
    write_gdal_file(path, rows, str(export_format.driver), check_space)
    return path


def _read_parts(path: Path) -> Generator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            yield part


def _log_rows(
    export_format: ExportFormat,
    query: ExportQuery,
    caller: Caller,
    services: Services,
    num_rows: int,
) -> None:
    parameters = query.model_dump(mode="json", exclude_unset=True)
    with services.database.write(caller.organization_id) as catalog:
        catalog.log_access(
            AuditEntry(
                operation="export",
                key_id=caller.key_id,
                num_rows=num_rows,
                image_filter={"format": export_format.suffix, **parameters},
            )
        )
