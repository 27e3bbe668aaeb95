"""`/v1/jobs`: many photos located asynchronously."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.datastructures import FormData, UploadFile

from pinpoint import deadline
from pinpoint.api import forms, problems, rate_limits
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.idempotency import idempotent
from pinpoint.api.v1 import cursors, job_files
from pinpoint.api.v1.batches import to_external_id
from pinpoint.api.v1.job_access import VisibleJobId, sees_own_jobs_only
from pinpoint.api.v1.job_answers import parse_job_parameters
from pinpoint.api.v1.job_lines import read_lines
from pinpoint.api.v1.media_types import NDJSON, choose_media_type
from pinpoint.api.v1.query_parameters import to_search_filter
from pinpoint.api.v1.schemas.jobs import (
    JobForm,
    JobItemOut,
    JobItemsOut,
    JobOut,
    JobsOut,
    JobUploadForm,
    JobUploadsOut,
)
from pinpoint.bootstrap import Services
from pinpoint.errors import DatabaseUnavailableError, InvalidRequestError
from pinpoint.records import Caller
from pinpoint.records.jobs import Job, JobItemState, NewJob, NewJobItem, UploadStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_FILE_SCHEMA = {"schema": {"type": "string", "format": "binary"}}

_UPLOAD_RULE = BodyRule(
    lane="uploads",
    max_bytes=lambda settings: settings.api.max_upload_bytes + forms.MAX_UPLOAD_FIELDS_BYTES,
    limit_name="PINPOINT_API_MAX_UPLOAD_BYTES",
    stated_bytes=lambda settings: settings.api.max_upload_bytes,
)


@reads_body(_UPLOAD_RULE)
async def job_form(request: Request, services: AppServices) -> AsyncIterator[FormData]:
    """Read the form; large files are spooled to disk."""
    form = await forms.read_form(
        request,
        max_files=services.settings.api.max_upload_files + 1,
        fields_bytes=forms.MAX_UPLOAD_FIELDS_BYTES,
    )
    try:
        yield form
    finally:
        await form.close()


JobFormData = Annotated[FormData, Depends(job_form)]


def _describe_job_body() -> dict[str, Any]:
    body = forms.openapi_body(JobForm, file="files", many=True, required=False)
    schema = body["requestBody"]["content"]["multipart/form-data"]["schema"]
    schema["properties"]["lines"] = {
        "type": "string",
        "format": "binary",
        "description": "JSONL file; each line has `custom_id`, `url` or `upload` (the name of an "
        "uploaded file), and `parameters`.",
    }
    return body


@router.post(
    "/locate",
    operation_id="create_locate_job",
    status_code=201,
    summary="Create a job that locates many photos",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=_describe_job_body(),
)
@idempotent
def create_locate_job(
    request: Request, caller: LocateCaller, services: AppServices, form: JobFormData
) -> JobUploadsOut:
    """Create a job from files, or from a JSONL file whose lines refer to URLs or uploaded files.

    Each photo is stored until its item ends, and is then deleted. An invalid line is a failed item
    with its line number.
    """
    services.key_limiter.require_free_job(
        caller.key_id, services.jobs.count_open_jobs(caller.organization_id, caller.key_id)
    )
    fields = forms.form_fields(form, JobForm)
    parameters = _parse_parameters(fields.parameters, caller, services)
    lines, files = _split_files(form)
    settings = services.settings.jobs
    items: Iterable[NewJobItem] = ()
    if lines is None:
        rate_limits.take_photos(request, caller, services, len(files))
    else:
        items = _count_lines(lines, request, caller, services)
    new_job = NewJob(
        organization_id=caller.organization_id,
        key_id=caller.key_id,
        parameters=parameters,
        has_lines=lines is not None,
        expiry_s=settings.expiry_hours * 3_600,
        start=fields.start,
    )

    def create(uploads: Mapping[str, str]) -> tuple[Job, Mapping[str, UploadStatus]]:
        return services.jobs.create(new_job, items, uploads)

    return _store_uploads(files, caller, services, create)


@router.post(
    "/{job_id}/files",
    operation_id="upload_job_files",
    status_code=202,
    summary="Upload photos to a job that has not started",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=forms.openapi_body(JobUploadForm, file="files", many=True, required=True),
)
def upload_job_files(
    request: Request,
    job_id: VisibleJobId,
    caller: LocateCaller,
    services: AppServices,
    form: JobFormData,
) -> JobUploadsOut:
    """Add photos. A file whose name the job has already changes nothing: repeat uploads freely."""
    forms.form_fields(form, JobUploadForm)
    files = forms.form_files(form, "files")
    if not files:
        raise InvalidRequestError("the form has no file in the field 'files'")
    # The lines of a JSONL file are counted already.
    if not services.jobs.job(caller.organization_id, job_id).has_lines:
        rate_limits.take_photos(request, caller, services, len(files))

    def add(uploads: Mapping[str, str]) -> tuple[Job, Mapping[str, UploadStatus]]:
        return services.jobs.add_files(
            caller.organization_id, job_id, uploads, max_items=services.settings.jobs.max_items
        )

    return _store_uploads(files, caller, services, add)


@router.post(
    "/{job_id}/start",
    operation_id="start_job",
    summary="Start a job",
    responses=problems.problem_responses(401, 403, 404, 409, 422, 503),
)
def start_job(job_id: VisibleJobId, caller: LocateCaller, services: AppServices) -> JobOut:
    """Start a job: it accepts no more files, and lines without an uploaded photo fail."""
    return JobOut.of(services.jobs.start(caller.organization_id, job_id))


@router.get(
    "",
    operation_id="list_jobs",
    summary="Jobs, newest first",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_jobs(
    request: Request,
    response: Response,
    caller: LocateCaller,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: cursors.Cursor = None,
) -> JobsOut:
    """List jobs, newest first, one page at a time."""
    page = services.jobs.list_jobs(
        caller.organization_id,
        # One extra row shows whether there is another page.
        limit=limit + 1,
        before=cursors.decode_time_cursor(cursor, "jobs"),
        key_id=caller.key_id if sees_own_jobs_only(caller, services) else None,
    )
    jobs = page[:limit]
    last = (jobs[-1].created_at, jobs[-1].id) if len(page) > limit else None
    next_link = cursors.build_time_link(request, "jobs", last)
    cursors.add_link_header(response, next_link)
    return JobsOut(
        jobs=[JobOut.of(job) for job in jobs],
        next=next_link,
    )


@router.get(
    "/{job_id}",
    operation_id="get_job",
    summary="State and counts of a job",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def get_job(job_id: VisibleJobId, caller: LocateCaller, services: AppServices) -> JobOut:
    """Return one job with its counts."""
    return JobOut.of(services.jobs.job(caller.organization_id, job_id))


@router.get(
    "/{job_id}/items",
    operation_id="list_job_items",
    summary="Items of a job",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def list_job_items(
    job_id: VisibleJobId,
    caller: LocateCaller,
    services: AppServices,
    state: Annotated[JobItemState | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="`next` of the previous page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> JobItemsOut:
    """List items in order, one page at a time, with the errors of failed ones."""
    page = services.jobs.items(
        caller.organization_id, job_id, state=state, after=after, limit=limit
    )
    return JobItemsOut(
        items=[JobItemOut.of(item) for item in page],
        next=page[-1].position if len(page) == limit else None,
    )


@router.get(
    "/{job_id}/results",
    operation_id="get_job_results",
    summary="Results of a job so far",
    response_class=Response,
    responses={
        200: {
            "description": "One JSON object for each completed item, in order; `answer` is the "
            "answer of `/v1/locate`. With `Accept: application/vnd.apache.parquet` a GeoParquet "
            "file of the items with a position.",
            "content": {NDJSON: _FILE_SCHEMA, job_files.PARQUET: _FILE_SCHEMA},
        },
        **problems.problem_responses(401, 403, 404, 406, 422, 503),
    },
)
def get_job_results(
    job_id: VisibleJobId,
    caller: LocateCaller,
    services: AppServices,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Return the results that exist now; they are kept when the job is canceled or expires."""
    media_type = choose_media_type(accept, (NDJSON, job_files.PARQUET))
    return job_files.respond_with_results(
        job_id, ["completed"], media_type, caller, services, request.app.state.export_slots
    )


@router.get(
    "/{job_id}/errors",
    operation_id="get_job_errors",
    summary="Errors of a job so far",
    response_class=Response,
    responses={
        200: {
            "description": "One JSON object for each failed or canceled item, in order.",
            "content": {NDJSON: _FILE_SCHEMA},
        },
        **problems.problem_responses(401, 403, 404, 422, 503),
    },
)
def get_job_errors(
    job_id: VisibleJobId, caller: LocateCaller, services: AppServices, request: Request
) -> Response:
    """Return the failed and canceled items with line number, error code and message."""
    return job_files.respond_with_results(
        job_id,
        ["failed", "canceled"],
        NDJSON,
        caller,
        services,
        request.app.state.export_slots,
    )


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    responses=problems.problem_responses(401, 403, 404, 409, 422, 503),
)
def cancel_job(job_id: VisibleJobId, caller: LocateCaller, services: AppServices) -> JobOut:
    """Cancel the items that no worker has started; the others end, and results are kept."""
    return JobOut.of(services.jobs.cancel(caller.organization_id, job_id))


@router.delete(
    "/{job_id}",
    operation_id="delete_job",
    status_code=204,
    summary="Delete a job with its results",
    responses=problems.problem_responses(401, 403, 404, 422, 503),
)
def delete_job(job_id: VisibleJobId, caller: LocateCaller, services: AppServices) -> None:
    """Delete a job: it disappears at once, and a worker deletes its photos and rows."""
    services.jobs.delete(caller.organization_id, job_id)


def _parse_parameters(text: str | None, caller: Caller, services: Services) -> dict[str, Any]:
    """Parse and check the parameters of a job.

    Raises:
        InvalidRequestError: They are not an object with valid fields of `/v1/locate`.
        NotFoundError: A source does not exist.
    """
    if text is None:
        return {}
    value = forms.parse_json(text, "parameters")
    if not isinstance(value, dict):
        raise InvalidRequestError("the field 'parameters' must be a JSON object")
    parameters = parse_job_parameters(value)
    with services.database.read(caller.organization_id) as catalog:
        to_search_filter(parameters, catalog)
    return value


def _count_lines(
    lines: UploadFile, request: Request, caller: Caller, services: Services
) -> Iterator[NewJobItem]:
    """Yield the items of a JSONL file, and count the valid ones as photos of the key at the end.

    A line is a query, with a URL or an upload that several lines may have in common. The caller
    reads the items in the transaction that creates the job, so a refused job leaves nothing.

    Raises:
        TooLargeError: The file has too many lines.
        QuotaExceededError: The key may not locate as many photos.
    """
    settings = services.settings.jobs
    num_photos = 0
    for item in read_lines(
        lines.file,
        max_items=settings.max_items,
        max_line_bytes=settings.max_line_bytes,
        allows_urls=services.url_fetcher is not None,
    ):
        num_photos += item.error_code is None
        yield item
    rate_limits.take_photos(request, caller, services, num_photos)


def _split_files(form: FormData) -> tuple[UploadFile | None, list[UploadFile]]:
    """The JSONL file of a form, if there is one, and its photos.

    Raises:
        InvalidRequestError: A file is in another field, or there are several JSONL files.
    """
    lines = [value for value in form.getlist("lines") if isinstance(value, UploadFile)]
    if len(lines) > 1:
        raise InvalidRequestError("the form has several files in the field 'lines'; give one")
    others = FormData([(key, value) for key, value in form.multi_items() if key != "lines"])
    return (lines[0] if lines else None), forms.form_files(others, "files")


def _store_uploads(
    files: Sequence[UploadFile],
    caller: Caller,
    services: Services,
    add: Callable[[Mapping[str, str]], tuple[Job, Mapping[str, UploadStatus]]],
) -> JobUploadsOut:
    """Store photos as blobs, add them to the job, and delete those that the job does not use."""
    names = [
        to_external_id(file.filename, file.headers.get("content-disposition", "")) for file in files
    ]
    if len(set(names)) < len(names):
        raise InvalidRequestError("two files of this upload have the same name")
    uploads: dict[str, str] = {}
    try:
        # Copying time depends on the disk alone, and reading lines on the size of the file.
        with deadline.pause_clock():
            for name, file in zip(names, files, strict=True):
                uploads[name] = services.blobs.put_file(caller.organization_id, file.file)
            job, statuses = add(uploads)
    except DatabaseUnavailableError:
        # The outcome of a lost commit is unknown; `prune` deletes what no row references.
        raise
    except Exception:
        for uri in uploads.values():
            services.blobs.delete(uri)
        raise
    for name, uri in uploads.items():
        if statuses[name] != "stored":
            services.blobs.delete(uri)
    return JobUploadsOut.of(job, statuses)
