"""`/v1/images/{image_id}/file`: the original or rendition of an image, without metadata."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final
from urllib.parse import quote

import PIL
from fastapi import APIRouter, Query, Request, Response

from pinpoint.api import problems
from pinpoint.api.byte_ranges import make_range_response
from pinpoint.api.conditional import is_not_modified
from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.v1.image_access import check_image_access
from pinpoint.api.v1.images import ImageId
from pinpoint.errors import NotFoundError
from pinpoint.media.panoramas import FACES
from pinpoint.records import AuditEntry, Image

router = APIRouter(prefix="/v1/images", tags=["images"])

MIN_FILE_WIDTH_PX: Final = 16
MAX_FILE_WIDTH_PX: Final = 16_384
FILE_MEDIA_TYPE: Final = "image/jpeg"
FACE_NOT_IN_GALLERY: Final = "face_not_in_gallery"
"""Reason for a panorama of which a face was deleted or failed."""

_CONVERSION: Final = f"1:{PIL.__version__}"
"""Changes whenever the same file may be converted to other bytes."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME_CHARS: Final = 100

FILE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {FILE_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
    206: {
        "description": "The requested range",
        "content": {FILE_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client has this version"},
    **problems.problem_responses(401, 403, 404, 409, 416, 422, 503),
}

FileWidth = Annotated[
    int | None,
    Query(
        ge=MIN_FILE_WIDTH_PX,
        le=MAX_FILE_WIDTH_PX,
        description="Maximum width in pixels; a smaller image is not enlarged. Without it, the "
        "image has its full size.",
        examples=[1024],
    ),
]
WholePanorama = Annotated[
    bool,
    Query(
        description="Return the equirectangular panorama that a face was cut from, if its original "
        "is stored."
    ),
]


@router.head("/{image_id}/file", include_in_schema=False)
@router.get(
    "/{image_id}/file",
    operation_id="get_image_file",
    summary="File of an image",
    response_class=Response,
    responses=FILE_RESPONSES,
)
def get_image_file(
    request: Request,
    image_id: ImageId,
    caller: ReadCaller,
    services: AppServices,
    width: FileWidth = None,
    panorama: WholePanorama = False,
) -> Response:
    """Return an image as a JPEG without metadata (EXIF, GPS, XMP, IPTC, comments, previews).

    An original that is a JPEG is not encoded again at full size: its pixels, color profile and
    orientation stay. Scaled images and other formats are upright sRGB. An image of a source that
    keeps renditions has the size of its rendition.
    """
    with services.database.read(caller.organization_id) as catalog:
        image = catalog.image(image_id)
    check_image_access(image, caller, "full")
    if panorama and image.cubemap_face is not None:
        with services.gallery.read(caller.organization_id) as gallery:
            num_faces = gallery.count_faces(image_id)
        # The panorama would also show what was deleted.
        if num_faces < len(FACES):
            raise NotFoundError(
                f"the panorama of image {image_id} is not shown, because a face of it is not in "
                "the gallery",
                reason=FACE_NOT_IN_GALLERY,
            )
    etag = _make_etag(image, width, panorama)
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _make_disposition(image, panorama),
        "X-Content-Type-Options": "nosniff",
    }
    if is_not_modified(request, etag):
        return Response(status_code=304, headers={**headers, "ETag": etag})
    jpeg = services.gallery_files.read_jpeg(image, width=width, panorama=panorama)
    with services.database.write(caller.organization_id) as catalog:
        catalog.log_access(
            AuditEntry(operation="get_image_file", key_id=caller.key_id, target_id=image_id)
        )
    return make_range_response(request, jpeg, etag, headers, FILE_MEDIA_TYPE)


def _make_etag(image: Image, width: int | None, panorama: bool) -> str:
    key = (image.id, image.version, image.sha256, width, panorama, _CONVERSION)
    return f'"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"'


def _make_disposition(image: Image, panorama: bool) -> str:
    """`Content-Disposition` with the stem of the file name, also for clients without RFC 8187."""
    stem = image.file_name.rpartition(".")[0] or image.file_name
    stem = "".join(character for character in stem if character.isprintable())
    if image.cubemap_face is not None and not panorama:
        stem = f"{stem}-{image.cubemap_face}"
    stem = stem[:_MAX_NAME_CHARS]
    plain = _UNSAFE.sub("_", stem).strip("._") or str(image.id)
    encoded = quote(f"{stem}.jpg", safe="")
    return f"inline; filename=\"{plain}.jpg\"; filename*=UTF-8''{encoded}"
