"""`/v1/images`: gallery rows, their thumbnails and neighbors, corrections and deletion."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response

from pinpoint.api import problems
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
from pinpoint.records import SourceKind

router = APIRouter(prefix="/v1/images", tags=["images"])


ImageId = Annotated[
    UUID,
    Path(description="Id of the image.", examples=["6a799744-9e3a-5ad3-9ee6-87a60f83d975"]),
]

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
            after=None if query.cursor is None else cursors.decode_cursor(query.cursor),
        )
    images = ImageOut.all_of(page[: query.limit], paths=can_see_paths(caller))
    next_link = None
    if len(page) > query.limit:
        last = page[query.limit - 1]
        next_link = cursors.build_next_link(request.url.path, request.query_params, last)
    match media_type:
        case media_types.GEOJSON:
            formatted: ImagesOut | Response = image_formats.format_geojson(images, next_link)
        case media_types.CSV:
            formatted = image_formats.format_csv(images)
        case _:
            formatted = ImagesOut(images=images, next=next_link)
    headers = formatted.headers if isinstance(formatted, Response) else response.headers
    headers["Vary"] = "Accept"
    if next_link is not None:
        headers["Link"] = f'<{next_link}>; rel="next"'
    return formatted


@router.get("/{image_id}", operation_id="get_image", summary="One image", responses=_PROBLEMS)
def get_image(image_id: ImageId, caller: ReadCaller, services: AppServices) -> ImageOut:
    """Return one gallery row; a deleted image is not found."""
    with services.database.read(caller.organization_id) as catalog:
        return ImageOut.of(catalog.image(image_id), paths=can_see_paths(caller))


@router.patch(
    "/{image_id}",
    operation_id="update_image",
    summary="Correct an image",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def update_image(
    image_id: ImageId, caller: IngestCaller, services: AppServices, body: ImageUpdateIn
) -> ImageOut:
    """Set or clear manual values of an image; they take precedence over all other origins.

    The image's version is incremented and the index is updated.
    """
    with services.database.write(caller.organization_id) as catalog:
        image = catalog.update_image(image_id, body.record())
    return ImageOut.of(image, paths=can_see_paths(caller))


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
