"""`/v1/images`: gallery rows, their thumbnails and neighbors, corrections and deletion."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response

from pinpoint.api import conditional, problems
from pinpoint.api.auth import can_see_paths
from pinpoint.api.dependencies import AppServices, IngestCaller, ReadCaller
from pinpoint.api.v1 import cursors, image_formats, media_types
from pinpoint.api.v1.image_access import check_image_access
from pinpoint.api.v1.image_filter_parameters import to_image_filter
from pinpoint.api.v1.schemas.catalog import ImageUpdateIn
from pinpoint.api.v1.schemas.images import (
    ImageFeatures,
    ImageOut,
    ImageQuery,
    ImagesOut,
    NeighborOut,
    NeighborsOut,
)
from pinpoint.records import AuditEntry, ImagePosition, SourceKind

router = APIRouter(prefix="/v1/images", tags=["images"])


ImageId = Annotated[
    UUID,
    Path(description="Id of the image.", examples=["6a799744-9e3a-5ad3-9ee6-87a60f83d975"]),
]

_LIST: Final = "images"
_LIST_TYPES: Final = (media_types.JSON, media_types.GEOJSON, media_types.CSV)
_PROBLEMS = problems.problem_responses(401, 403, 404, 422, 503)


@router.get(
    "",
    operation_id="list_images",
    summary="List images",
    response_model=ImagesOut,
    responses={
        200: {
            "description": "A page of images: JSON, or by the header `Accept` GeoJSON or CSV. The "
            'header `Link` has the next page as `rel="next"`.',
            "content": {
                media_types.GEOJSON: {"schema": media_types.refer_to_schema(ImageFeatures)},
                media_types.CSV: {"schema": {"type": "string"}},
            },
        },
        **problems.problem_responses(400, 401, 403, 404, 406, 422, 503),
    },
)
def list_images(
    request: Request,
    response: Response,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[ImageQuery, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> ImagesOut | Response:
    """List images by file name and id, with a link to the next page."""
    media_type = media_types.choose_media_type(accept, _LIST_TYPES)
    with services.database.read(caller.organization_id) as catalog:
        page = catalog.list_images(
            to_image_filter(query, catalog),
            # One extra row shows whether there is another page.
            limit=query.limit + 1,
            after=None if query.cursor is None else _decode_position(query.cursor),
        )
    images = ImageOut.all_of(page[: query.limit], paths=can_see_paths(caller))
    next_link = None
    if len(page) > query.limit:
        last = page[query.limit - 1]
        cursor = cursors.encode_cursor(_LIST, last.file_name, last.id.hex)
        next_link = cursors.build_next_link(request, cursor)
    match media_type:
        case media_types.GEOJSON:
            formatted: ImagesOut | Response = image_formats.format_geojson(images, next_link)
        case media_types.CSV:
            formatted = image_formats.format_csv(images)
        case _:
            formatted = ImagesOut(images=images, next=next_link)
    page_response = formatted if isinstance(formatted, Response) else response
    page_response.headers["Vary"] = "Accept"
    cursors.add_link_header(page_response, next_link)
    return formatted


def _decode_position(cursor: str) -> ImagePosition:
    """Decode the position in a cursor; raises `BadRequestError` if it is not one of this list."""
    file_name, image_id = cursors.decode_cursor(cursor, _LIST, 2)
    try:
        return ImagePosition(file_name=file_name, image_id=UUID(hex=image_id))
    except ValueError as error:
        raise cursors.make_cursor_error() from error


@router.get(
    "/{image_id}",
    operation_id="get_image",
    summary="One image",
    response_model=ImageOut,
    responses={**conditional.NOT_MODIFIED_RESPONSES, **_PROBLEMS},
)
def get_image(
    request: Request,
    response: Response,
    image_id: ImageId,
    caller: ReadCaller,
    services: AppServices,
    if_none_match: conditional.IfNoneMatch = None,
) -> ImageOut | Response:
    """Return one gallery row; a deleted image is not found."""
    with services.database.read(caller.organization_id) as catalog:
        image_out = ImageOut.of(catalog.image(image_id), paths=can_see_paths(caller))
    return conditional.make_conditional_response(request, response, image_out) or image_out


@router.patch(
    "/{image_id}",
    operation_id="update_image",
    summary="Correct an image",
    responses=problems.problem_responses(400, 401, 403, 404, 412, 422, 503),
)
def update_image(
    response: Response,
    image_id: ImageId,
    caller: IngestCaller,
    services: AppServices,
    body: ImageUpdateIn,
    if_match: conditional.IfMatch = None,
) -> ImageOut:
    """Set or clear manual values of an image; they take precedence over all other origins.

    The image's version is incremented and the index is updated.
    """
    paths = can_see_paths(caller)
    with services.database.write(caller.organization_id) as catalog:
        version = None
        if if_match is not None:
            image = catalog.image(image_id)
            conditional.check_if_match(if_match, ImageOut.of(image, paths=paths))
            version = image.version
        image_out = ImageOut.of(
            catalog.update_image(image_id, body.record(), version=version), paths=paths
        )
        catalog.log_access(
            AuditEntry(operation="update_image", key_id=caller.key_id, target_id=image_id)
        )
    response.headers["ETag"] = conditional.make_etag(image_out)
    return image_out


@router.delete(
    "/{image_id}",
    operation_id="delete_image",
    status_code=204,
    summary="Delete an image",
    responses=_PROBLEMS,
)
def delete_image(image_id: ImageId, caller: IngestCaller, services: AppServices) -> None:
    """Delete an image: readers lose it at once; a worker erases index point and bytes."""
    with services.database.write(caller.organization_id) as catalog:
        catalog.delete_image(image_id)
        catalog.log_access(
            AuditEntry(operation="delete_image", key_id=caller.key_id, target_id=image_id)
        )


@router.get(
    "/{image_id}/thumbnail",
    operation_id="get_thumbnail",
    summary="Thumbnail of an image",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **_PROBLEMS,
    },
)
def get_thumbnail(image_id: ImageId, caller: ReadCaller, services: AppServices) -> Response:
    """Return a small JPEG without metadata."""
    with services.database.read(caller.organization_id) as catalog:
        check_image_access(catalog.image(image_id), caller, "thumbnail")
        data = catalog.thumbnail(image_id)
    return Response(
        data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"}
    )


@router.get(
    "/{image_id}/neighbors",
    operation_id="list_neighbors",
    summary="Images near an image",
    responses=_PROBLEMS,
)
def list_neighbors(
    image_id: ImageId,
    caller: ReadCaller,
    services: AppServices,
    radius_m: Annotated[
        float, Query(gt=0, le=50_000, description="Radius in meters.", examples=[250])
    ] = 250.0,
    source_kind: Annotated[list[SourceKind], Query(max_length=2)] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> NeighborsOut:
    """List images within `radius_m` of an image (great-circle distance), nearest first."""
    with services.database.read(caller.organization_id) as catalog:
        neighbors = catalog.neighbors(
            image_id, radius_m=radius_m, source_kinds=source_kind, limit=limit
        )
    images_out = ImageOut.all_of([image for image, _ in neighbors], paths=can_see_paths(caller))
    return NeighborsOut(
        neighbors=[
            NeighborOut(image=image, distance_m=distance_m)
            for image, (_, distance_m) in zip(images_out, neighbors, strict=True)
        ]
    )
