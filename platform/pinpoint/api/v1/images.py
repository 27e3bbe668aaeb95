"""`/v1/images`: gallery rows, their thumbnails and neighbors, corrections and deletion."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from pinpoint.api import problems
from pinpoint.api.auth import can_see_paths
from pinpoint.api.dependencies import AppServices, IngestCaller, ReadCaller
from pinpoint.api.v1 import cursors
from pinpoint.api.v1.schemas.catalog import ImageUpdateIn
from pinpoint.api.v1.schemas.images import (
    ImageOut,
    ImageQuery,
    ImagesOut,
    NeighborOut,
    NeighborsOut,
)
from pinpoint.records import ImageFilter, SourceKind

router = APIRouter(prefix="/v1/images", tags=["images"])


ImageId = Annotated[
    UUID,
    Path(description="Id of the image.", examples=["6a799744-9e3a-5ad3-9ee6-87a60f83d975"]),
]

_PROBLEMS = problems.problem_responses(401, 403, 404, 422, 503)


@router.get(
    "",
    operation_id="list_images",
    summary="List images",
    responses=problems.problem_responses(400, 401, 403, 404, 422, 503),
)
def list_images(
    caller: ReadCaller, services: AppServices, query: Annotated[ImageQuery, Query()]
) -> ImagesOut:
    """List images by source name, file name and id, with a link to the next page."""
    with services.database.read(caller.organization_id) as catalog:
        page = catalog.list_images(
            ImageFilter(
                source_ids=tuple(catalog.source(name).id for name in query.source),
                source_kinds=tuple(query.source_kind),
                file_name=query.file_name,
                states=tuple(query.state),
                id_prefix=cursors.normalize_id_prefix(query.id_prefix),
            ),
            # One extra row shows whether there is another page.
            limit=query.limit + 1,
            after=None if query.cursor is None else cursors.decode_cursor(query.cursor),
        )
    images = page[: query.limit]
    return ImagesOut(
        images=ImageOut.all_of(images, paths=can_see_paths(caller)),
        next=cursors.build_next_link(query, images[-1]) if len(page) > query.limit else None,
    )


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
