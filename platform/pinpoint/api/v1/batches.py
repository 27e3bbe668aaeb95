"""`/v1/batches`: batches (batches), their files and the status of each file."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import FormData

from pinpoint import deadline
from pinpoint.api import conditional, forms, problems
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.dependencies import AppServices, IngestCaller, ReadCaller
from pinpoint.api.idempotency import idempotent
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.image_filter_parameters import IdPrefix
from pinpoint.api.v1.schemas.catalog import (
    BatchesOut,
    BatchIn,
    BatchOut,
    CanceledOut,
    ItemOut,
    ItemQuery,
    ItemsOut,
    MetadataOverrideIn,
    RetriedOut,
    UploadedOut,
)
from pinpoint.errors import ConflictError, DatabaseUnavailableError, InvalidRequestError
from pinpoint.records import AuditEntry, Caller, NewItem

router = APIRouter(prefix="/v1/batches", tags=["ingest"])

MAX_FILE_NAME: Final = 512
_WINDOWS_DRIVE: Final = re.compile(r'filename="?[A-Za-z]:\\')
_OVERRIDES_ADAPTER: Final = TypeAdapter(dict[str, MetadataOverrideIn])

BatchId = Annotated[
    UUID,
    Path(description="Id of the batch.", examples=["7fcfefbb-6cf6-48f0-8d5d-853426d0ee9f"]),
]
_BATCH_LIST: Final = "batches"
_ITEM_LIST: Final = "items"


class UploadForm(BaseModel):
    """Form fields that may accompany the uploaded files."""

    model_config = ConfigDict(extra="forbid")

    metadata_overrides: str | None = Field(
        default=None,
        description="JSON object: file name → known metadata of the file (lat, lon, captured_at, "
        "heading_deg, field_of_view_deg, altitude_m, creator, sequence, license, panorama_id, "
        "attributes).",
        examples=['{"a.jpg": {"lat": 48.8566, "lon": 2.3522}}'],
    )


_UPLOAD_RULE = BodyRule(
    lane="uploads",
    max_bytes=lambda settings: settings.api.max_upload_bytes + forms.MAX_UPLOAD_FIELDS_BYTES,
    limit_name="PINPOINT_API_MAX_UPLOAD_BYTES",
    stated_bytes=lambda settings: settings.api.max_upload_bytes,
)


@reads_body(_UPLOAD_RULE)
async def upload_form(request: Request, services: AppServices) -> AsyncIterator[FormData]:
    """Read the form; large files are spooled to disk."""
    form = await forms.read_form(
        request,
        max_files=services.settings.api.max_upload_files,
        fields_bytes=forms.MAX_UPLOAD_FIELDS_BYTES,
    )
    try:
        yield form
    finally:
        await form.close()


@router.post(
    "",
    operation_id="open_batch",
    status_code=201,
    summary="Open a batch for a source",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
@idempotent
def open_batch(caller: IngestCaller, services: AppServices, body: BatchIn) -> BatchOut:
    """Open a batch. Then upload files to it and close it."""
    with services.database.write(caller.organization_id) as catalog:
        batch = catalog.open_batch(catalog.source(body.source).id)
        catalog.log_access(
            AuditEntry(operation="open_batch", key_id=caller.key_id, target_id=batch.id)
        )
    return BatchOut.of(batch)


@router.post(
    "/{batch_id}/images",
    operation_id="upload_images",
    status_code=202,
    summary="Add files to an open batch",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=forms.openapi_body(UploadForm, file="files", many=True, required=True),
)
def upload_images(
    batch_id: BatchId,
    caller: IngestCaller,
    services: AppServices,
    form: Annotated[FormData, Depends(upload_form)],
    request_meters: Annotated[Meters, Depends(get_meters)],
) -> UploadedOut:
    """Store the files and queue them for ingest; a file's name is its identity in the source.

    A name is a path with `/`. Names with a backslash or a leading `/` are rejected, so that two
    names never become the same id.
    """
    files = forms.form_files(form, "files")
    names = [
        to_external_id(file.filename, file.headers.get("content-disposition", "")) for file in files
    ]
    metadata_overrides = _parse_overrides(
        forms.form_fields(form, UploadForm).metadata_overrides, names
    )
    if not files:
        raise InvalidRequestError("the form has no file in the field 'files'")
    with services.database.read(caller.organization_id) as catalog:
        # Checked before the first byte is stored, so that a wrong id leaves no data behind.
        if catalog.batch(batch_id).state == "closed":
            raise ConflictError("this batch is closed and accepts no more files; open another one")
    uris: list[str] = []
    try:
        # Copying time depends on the disk alone and does not count against the deadline.
        with deadline.pause_clock():
            for file in files:
                uris.append(services.blobs.put_file(caller.organization_id, file.file))
        items = [
            NewItem(
                external_id=name,
                file=name,
                uri=uri,
                metadata_override=metadata_overrides[name].record()
                if name in metadata_overrides
                else None,
            )
            for name, uri in zip(names, uris, strict=True)
        ]
        with services.database.write(caller.organization_id) as catalog:
            ids = catalog.add_items(batch_id, items)
            catalog.log_access(_make_upload_entry(caller, batch_id, len(ids)))
    except DatabaseUnavailableError:
        # After a connection loss during commit the outcome is unknown: rows may reference these
        # bytes. `prune` removes unreferenced bytes.
        raise
    except Exception:
        # No row references these bytes, so no later step would remove them.
        for uri in uris:
            services.blobs.delete(uri)
        raise
    request_meters.observe_upload([file.size or 0 for file in files])
    with services.database.read(caller.organization_id) as catalog:
        batch = catalog.batch(batch_id)
    return UploadedOut(items=ids, batch=BatchOut.of(batch))


@router.post(
    "/{batch_id}/close",
    operation_id="close_batch",
    summary="Close a batch for uploads",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def close_batch(batch_id: BatchId, caller: IngestCaller, services: AppServices) -> BatchOut:
    """Close a batch: it accepts no more files. Repeating the call has no effect."""
    with services.database.write(caller.organization_id) as catalog:
        return BatchOut.of(catalog.close_batch(batch_id))


@router.get(
    "",
    operation_id="list_batches",
    summary="Batches, newest first",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_batches(
    request: Request,
    response: Response,
    caller: ReadCaller,
    services: AppServices,
    limit: Annotated[
        int, Query(ge=1, le=500, description="Maximum number of batches per page.")
    ] = 50,
    cursor: cursors.Cursor = None,
    id_prefix: Annotated[
        IdPrefix | None,
        Query(description="Only batches whose id has this prefix; at least 6 hex digits."),
    ] = None,
) -> BatchesOut:
    """List batches, newest first, one page at a time."""
    with services.database.read(caller.organization_id) as catalog:
        # One extra row shows whether there is another page.
        page = catalog.batches(
            limit + 1, None if cursor is None else _decode_batch_position(cursor), id_prefix
        )
    batches = page[:limit]
    next_link = None
    if len(page) > limit:
        next_cursor = cursors.encode_cursor(_BATCH_LIST, batches[-1].id.hex)
        next_link = cursors.build_next_link(request, next_cursor)
    cursors.add_link_header(response, next_link)
    return BatchesOut(batches=[BatchOut.of(batch) for batch in batches], next=next_link)


@router.get(
    "/{batch_id}",
    operation_id="get_batch",
    summary="Status of a batch",
    response_model=BatchOut,
    responses={
        **conditional.NOT_MODIFIED_RESPONSES,
        **problems.problem_responses(401, 403, 404, 422, 503),
    },
)
def get_batch(
    request: Request,
    response: Response,
    batch_id: BatchId,
    caller: ReadCaller,
    services: AppServices,
    if_none_match: conditional.IfNoneMatch = None,
) -> BatchOut | Response:
    """Return one batch with its counts."""
    with services.database.read(caller.organization_id) as catalog:
        batch = catalog.batch(batch_id)
        has_errors = batch.rejected + batch.failed > 0
        batch_out = BatchOut.of(batch, catalog.error_counts(batch_id) if has_errors else None)
    return conditional.make_conditional_response(request, response, batch_out) or batch_out


@router.get(
    "/{batch_id}/items",
    operation_id="list_items",
    summary="The files of a batch",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def list_items(
    request: Request,
    response: Response,
    batch_id: BatchId,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[ItemQuery, Query()],
) -> ItemsOut:
    """List files in order of arrival, one page at a time, with the errors of rejected files."""
    with services.database.read(caller.organization_id) as catalog:
        # One extra row shows whether there is another page.
        page = catalog.batch_items(
            batch_id, status=query.status, after=_find_position(query), limit=query.limit + 1
        )
        items = page[: query.limit]
        names = catalog.image_labels([item.image_ids[0] for item in items if item.image_ids])
    next_link = None
    if len(page) > query.limit:
        next_cursor = cursors.encode_cursor(_ITEM_LIST, str(items[-1].position))
        next_link = cursors.build_next_link(request, next_cursor)
    cursors.add_link_header(response, next_link)
    return ItemsOut(items=ItemOut.all_of(items, names), next=next_link)


def _decode_batch_position(cursor: str) -> UUID:
    """Decode the id in a cursor; raises `BadRequestError` if it is not one of this list."""
    (batch_id,) = cursors.decode_cursor(cursor, _BATCH_LIST, 1)
    try:
        return UUID(hex=batch_id)
    except ValueError as error:
        raise cursors.make_cursor_error() from error


def _find_position(query: ItemQuery) -> int:
    """Find the position after which a page begins.

    Raises:
        BadRequestError: The cursor is not one of this list.
    """
    if query.cursor is None:
        return query.after_position
    (position,) = cursors.decode_cursor(query.cursor, _ITEM_LIST, 1)
    if not (position.isascii() and position.isdigit() and len(position) < 19):
        raise cursors.make_cursor_error()
    return max(int(position), query.after_position)


@router.post(
    "/{batch_id}/retry",
    operation_id="retry_batch",
    summary="Retry failed and canceled files",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def retry_batch(batch_id: BatchId, caller: IngestCaller, services: AppServices) -> RetriedOut:
    """Queue each failed or canceled file once more; waiting and running files are unaffected."""
    with services.database.write(caller.organization_id) as catalog:
        retried = catalog.retry_batch(batch_id)
        batch = catalog.batch(batch_id)
    return RetriedOut(retried=retried, batch=BatchOut.of(batch))


@router.post(
    "/{batch_id}/cancel",
    operation_id="cancel_batch",
    summary="Cancel files that no worker has started",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def cancel_batch(batch_id: BatchId, caller: IngestCaller, services: AppServices) -> CanceledOut:
    """Close a batch and cancel its waiting files; files in progress finish."""
    with services.database.write(caller.organization_id) as catalog:
        canceled = catalog.cancel_batch(batch_id)
        catalog.log_access(
            AuditEntry(
                operation="cancel_batch",
                key_id=caller.key_id,
                target_id=batch_id,
                num_rows=canceled,
            )
        )
        batch = catalog.batch(batch_id)
    return CanceledOut(canceled=canceled, batch=BatchOut.of(batch))


def _make_upload_entry(caller: Caller, batch_id: UUID, num_files: int) -> AuditEntry:
    return AuditEntry(
        operation="upload_images",
        key_id=caller.key_id,
        target_id=batch_id,
        num_rows=num_files,
    )


def to_external_id(name: str | None, disposition: str) -> str:
    """Convert the file name of a form to an id; the mapping is injective.

    Args:
        name: File name from the form parser.
        disposition: Its Content-Disposition header; the parser drops the folders of Windows paths.

    Raises:
        InvalidRequestError: The name is empty, too long or not usable as an id.
    """
    # Clients escape a quotation mark in a form's file name as browsers do.
    file_name = (name or "").replace("%22", '"')
    if not file_name or len(file_name) > MAX_FILE_NAME:
        raise InvalidRequestError(f"every file needs a name of 1 to {MAX_FILE_NAME} characters")
    if "\\" in file_name or file_name.startswith("/") or _WINDOWS_DRIVE.search(disposition):
        raise InvalidRequestError(
            f"the file name {file_name[:80]!r} cannot be used: name the file by its path below its "
            "folder, with / between folders and no backslash"
        )
    if not file_name.isprintable() or ".." in file_name.split("/"):
        raise InvalidRequestError(
            f"the file name {file_name[:80]!r} cannot be used: control characters or .."
        )
    return file_name


def _parse_overrides(text: str | None, names: list[str]) -> Mapping[str, MetadataOverrideIn]:
    if text is None:
        return {}
    value: Any = forms.parse_json(text, "metadata_overrides")
    # Checked first, so that at most one override per file is validated.
    unknown_names = sorted(set(value) - set(names)) if isinstance(value, dict) else []
    if unknown_names:
        unknown_name = problems.shorten(unknown_names[0])
        raise InvalidRequestError(
            f"metadata_overrides name {unknown_name!r}, but this upload has no such file"
        )
    try:
        metadata_overrides = _OVERRIDES_ADAPTER.validate_python(value)
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**field_error, "loc": ("body", "metadata_overrides", *field_error["loc"])}
                for field_error in problems.list_field_errors(error)
            ]
        ) from error
    return metadata_overrides
