"""`/v1/batches/{batch_id}/urls` and `/prefix`: files of a batch at URLs and in buckets."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pinpoint.api import problems
from pinpoint.api.body_limits import JSON_RULE, reads_body
from pinpoint.api.dependencies import AppServices, IngestCaller
from pinpoint.api.v1.batches import BatchId
from pinpoint.api.v1.schemas.batch_urls import PrefixIn, PrefixOut, UrlsIn, UrlsOut
from pinpoint.api.v1.schemas.catalog import BatchOut
from pinpoint.errors import BadRequestError
from pinpoint.ingest.register_urls import make_url_item

router = APIRouter(prefix="/v1/batches", tags=["ingest"])

JSON_TYPE: Final = "application/json"
JSON_LINES_TYPES: Final = ("application/jsonl", "application/x-ndjson")


@reads_body(JSON_RULE)
async def read_urls_body(request: Request) -> tuple[str, bytes]:
    """Media type and bytes of the body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (JSON_TYPE, *JSON_LINES_TYPES):
        raise HTTPException(415, f"send {JSON_TYPE} or {JSON_LINES_TYPES[0]}")
    return media_type, await request.body()


@router.post(
    "/{batch_id}/urls",
    operation_id="add_urls",
    status_code=202,
    summary="Add files at URLs to an open batch",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON_TYPE: {"schema": {"$ref": "#/components/schemas/UrlsIn"}},
                JSON_LINES_TYPES[0]: {
                    "schema": {
                        "type": "string",
                        "description": "One JSON object per line: the entries of `urls`.",
                    },
                    "example": '{"url": "https://example.org/a.jpg", "lat": 48.85, "lon": 2.35}\n',
                },
            },
        }
    },
)
def add_urls(
    batch_id: BatchId,
    caller: IngestCaller,
    services: AppServices,
    body: Annotated[tuple[str, bytes], Depends(read_urls_body)],
) -> UrlsOut:
    """Queue files at URLs for ingest; a worker downloads them.

    A URL is the id of its file in the source. Repeating a request adds nothing twice, so an
    interrupted list can be sent again. A URL that is not allowed becomes a rejected item.
    """
    urls = _parse_urls(*body).urls
    items = [
        make_url_item(
            entry.url, services.remote_files, entry.external_id, entry.metadata_override()
        )
        for entry in urls
    ]
    with services.database.write(caller.organization_id) as catalog:
        ids = catalog.add_items(batch_id, items, skip_existing=True)
        batch = catalog.batch(batch_id)
    return UrlsOut(items=ids, skipped=len(urls) - len(ids), batch=BatchOut.of(batch))


@router.post(
    "/{batch_id}/prefix",
    operation_id="add_prefix",
    status_code=202,
    summary="Add all images of a bucket or prefix to an open batch",
    responses=problems.problem_responses(400, 401, 403, 404, 409, 422, 503),
)
def add_prefix(
    batch_id: BatchId, caller: IngestCaller, services: AppServices, body: PrefixIn
) -> PrefixOut:
    """Have a worker list the keys and add them; the batch can be closed at once.

    A closed batch stays open for the worker until the listing ends. An interrupted listing
    continues after the last key.
    """
    with services.database.write(caller.organization_id) as catalog:
        # An id of another organization is 404 before the URL is looked at.
        catalog.batch(batch_id)
        listing_id = catalog.add_listing(batch_id, services.remote_files.check_prefix(body.url))
        batch = catalog.batch(batch_id)
    return PrefixOut(listing_id=listing_id, batch=BatchOut.of(batch))


def _parse_urls(media_type: str, body: bytes) -> UrlsIn:
    """Parse the body.

    Raises:
        BadRequestError: It is not JSON.
        RequestValidationError: An entry has an invalid value.
    """
    try:
        if media_type == JSON_TYPE:
            value: Any = json.loads(body)
        else:
            value = {"urls": [json.loads(line) for line in body.splitlines() if line.strip()]}
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not valid JSON, or has a line that is not") from error
    try:
        return UrlsIn.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**field_error, "loc": ("body", *field_error["loc"])}
                for field_error in problems.list_field_errors(error)
            ]
        ) from error
